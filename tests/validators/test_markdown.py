"""Checks as Markdown: the verdict first, the worst of each output in tables, and nothing of a stranger's as markup."""

from dataclasses import replace

import numpy as np
import pytest
from markdown_it import MarkdownIt

from recipes.base.tensor import Tolerance
from validators.compare import Sampled, compare
from validators.markdown import escaped, write
from validators.results import Check

NEARLY = Tolerance(1e-4, 0, "small numbers of a test")
NEAR = compare(Sampled.of(np.zeros(4)), np.full(4, 1e-6), NEARLY, "feature")
FAR = compare(Sampled.of(np.zeros(4)), np.full(4, 1.0), NEARLY, "feature")
PASSED = Check("model.onnx", "onnxruntime", "fp32", "rich", "clipwise", "values", "passed", "", NEAR)
FAILED = Check("model.onnx", "tract", "fp32", "rich", "clipwise", "values", "failed", "4 values are over", FAR)
UNSEEN = Check("model.mlpackage", "coreml", "mixed", "", "", "values", "not verified", "Apple's runtime is on macOS")


def _html(text: str) -> str:
    """As GitHub's own: with tables and addresses that become links; what is no Markdown is shown as it stands."""
    return MarkdownIt("gfm-like", {"linkify": False}).render(text)


def test_the_verdict_comes_first_and_each_runtime_has_a_table() -> None:
    text = write([PASSED, FAILED, UNSEEN], ["fp16 is coarse"], ["a note"])
    assert text.startswith("### FAILED: 1 passed, 1 failed, 1 NOT VERIFIED")
    html = _html(text)
    assert html.count("<table>") == 2
    assert "<strong>model.onnx, onnxruntime, fp32</strong>" in html
    assert '<td style="text-align:right">1.00e-06</td>' in html
    assert '<td style="text-align:left">FAILED</td>' in html
    assert "<li><strong>FAILED</strong> model.onnx, tract, fp32, rich, clipwise, values: 4 values are over</li>" in html
    assert (
        "<li><strong>NOT VERIFIED</strong> model.mlpackage, coreml, mixed, values: Apple's runtime is on macOS</li>"
        in html
    )
    assert "<li>fp16 is coarse</li>" in html
    assert html.index("FAILED: 1 passed") < html.index("<li>") < html.index("<table>") < html.index("a note")


HOSTILE = [
    "a | b",
    "<script>alert(1)</script>",
    "<!-- gone",
    "![x](https://evil.example/p.png)",
    "[x](javascript:alert(1))",
    "https://evil.example and www.evil.example",
    "`code` *bold* _it_ ~~no~~ \\",
    "# head",
    "1. list",
    "2) list",
    "+ item",
    "    - deep",
    "---",
    "> quoted",
    "__init__ and _x_ and a__b__",
    "a*b*c",
    "www.evil.example",
    "x@evil.example and @someone",
    "- item",
    "&lt;b&gt;",
    "line\nbreak | more",
    "</details>",
    "=====",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_strangers_name_is_shown_as_it_stands(name: str) -> None:
    """In a cell, in a line, and as a note."""
    checks = [replace(PASSED, output=name), replace(FAILED, artifact=name, message=name)]
    html = _html(write(checks, [name], [name]))
    plain = _html(write([PASSED, FAILED], ["x"], ["x"]))
    for tag in (
        "<a ",
        "<img",
        "<script",
        "<em",
        "<code",
        "<s>",
        "<h1",
        "<h2",
        "<ol",
        "<br",
        "<p",
        "<td",
        "<li",
        "<tr",
        "<hr",
        "<strong",
        "<blockquote",
    ):
        assert html.count(tag) == plain.count(tag), (tag, html)


def test_numbers_and_words_stay_readable() -> None:
    name = "x86_64/c.melspec, values: 2 of 8 (atol 0.01 + rtol 1e-3) over; see full_scale_tone, -1.5e-07"
    assert escaped(name) == name
    assert escaped("-1.5") == "-1.5"
    assert escaped("1.23e-06") == "1.23e-06"
    assert escaped("99.9%") == "99.9%"
    assert escaped("batch of 2, rich") == "batch of 2, rich"
