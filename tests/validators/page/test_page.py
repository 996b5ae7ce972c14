"""The page of a report: the verdict first, everything escaped, nothing fetched, whatever was measured."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.base.shown import shown
from recipes.base.tensor import Tolerance
from tests.reading import Element, read
from tests.validators.page.pages import HOSTILE, TOLERANCE, answer_of, checks_of, evidence_of, held_of, whole
from validators.compare import Sampled
from validators.divergence import Divergence, Growth
from validators.page import Answer, Evidence, Held, Located, Outcome, Wrote, missing, write
from validators.report import verdict
from validators.results import Check, exit_code
from validators.traces import Op


def _page(checks: Sequence[Check], evidence: Evidence, command: str = "convert check a") -> Element:
    return read(write(checks, evidence, command))


def test_the_verdict_comes_first_and_is_that_of_the_exit_code() -> None:
    good, bad = answer_of(), answer_of(error=0.1)
    unseen = Check("b.mlpackage", "coreml", "mixed", "", "", "values", "not verified", "Apple's runtime is on macOS")
    cases: list[tuple[list[Check], str]] = [
        (checks_of(good), "PASSED"),
        ([*checks_of(good), replace(unseen, artifact="model.onnx")], "PASSED"),
        ([*checks_of(good), unseen], "NOT VERIFIED"),
        ([], "NOT VERIFIED"),
        ([*checks_of(good, bad), unseen], "FAILED"),
    ]
    for checks, word in cases:
        page = _page(checks, Evidence("a"))
        (banner,) = page.of("verdict")
        assert banner.text.split("\n")[0].strip(" ✓✗?").startswith(word)
        assert verdict(checks).partition(": ")[2] in banner.text
        assert f"Exit code {exit_code(checks)}." in banner.text
        assert word.lower().replace(" ", "-") in banner.attributes["class"].split()
        (title,) = page.all("title")
        assert title.text == f"{word if word != 'PASSED' else 'passed'}: a"
        (main,) = page.all("main")
        assert [element.tag for element in main.all()][:3] == ["header", "h1", "p"]


def test_what_failed_stands_before_what_was_not_verified_and_that_before_what_passed() -> None:
    unseen = Check("b.mlpackage", "coreml", "mixed", "", "", "values", "not verified", "Apple's runtime is on macOS")
    page = _page([*checks_of(answer_of("tract")), unseen, *checks_of(answer_of("executor", 0.1))], Evidence("a"))
    (faults,) = page.of("faults")
    items = list(faults.all("li"))
    assert [item.attributes["class"] for item in items] == ["failed", "failed", "not-verified"]
    assert "values are over atol" in items[0].text
    assert "Apple's runtime is on macOS" in items[2].text
    overview = next(page.all("tbody"))
    statuses = [row.of("status")[0].text for row in overview.all("tr")]
    assert statuses == ["✗ FAILED", "? NOT VERIFIED", "✓ passed"]


def test_right_values_under_a_wrong_name_have_not_passed() -> None:
    good = checks_of(answer_of("tract"))
    page = _page([*good, replace(good[0], kind="names", status="failed", message="no 'logits'")], Evidence("a"))
    overview = next(page.all("tbody"))
    assert [row.of("status")[0].text for row in overview.all("tr")] == ["✗ FAILED"]


def test_values_of_no_file_have_a_whole_sentence() -> None:
    page = _page([replace(check, artifact="") for check in checks_of(answer_of("pytorch"))], Evidence("a"))
    assert "The worst case of each output in pytorch" in [caption.text for caption in page.all("caption")]


def test_bars_show_how_much_of_the_tolerance_is_used() -> None:
    held = Held("x", (2,), "feature", TOLERANCE, np.zeros(2, np.float32), np.array([0, 2.5e-4], np.float32))
    answer = Answer("m", "r", "fp32", "c", (held,))
    for scale, share, width, status in ((1, "25 %", 25.0, "passed"), (8, "200 %", 100.0, "failed")):
        one = replace(answer, outputs=(replace(held, actual=scale * held.actual),))
        bar = _page(checks_of(one), Evidence("a")).of("bar")[0]
        track, used = bar.all("rect")
        assert track.attributes["width"] == "100"
        assert float(used.attributes["width"]) == pytest.approx(width, abs=0.1)
        assert used.attributes["class"] == status
        texts = [cell.text for cell in _page(checks_of(one), Evidence("a")).of("used")]
        assert texts[0].strip() == share


def test_what_rtol_alone_allows_uses_no_share_of_atol() -> None:
    tolerance = Tolerance(1e-3, 0.1, "for this test")
    held = Held("x", (2,), "feature", tolerance, np.ones(2, np.float32), np.full(2, 1.01, np.float32))
    for actual, words in ((held.actual, "rtol alone"), (held.expected, "0 %")):
        answer = Answer("m", "r", "fp32", "c", (replace(held, actual=actual),))
        overview = next(_page(checks_of(answer), Evidence("a")).all("tbody"))
        assert next(overview.all("tr")).text.strip().endswith(words)


def test_what_does_not_differ_is_said_and_not_drawn() -> None:
    answer = answer_of()
    melspec, scores = answer.outputs
    one = replace(answer, outputs=(replace(melspec, actual=melspec.expected), scores))
    page = _page(checks_of(one), evidence_of(one))
    assert "no known value of melspec differs" in page.text
    assert [figure.text[:6] for figure in page.all("figcaption")] == ["scores"]
    missing_one = scores.expected.copy()
    missing_one[0, 0] = np.nan
    for held in (replace(scores, actual=missing_one), replace(scores, expected=missing_one, actual=missing_one)):
        bad = replace(answer, outputs=(held,))
        assert "differs: there" not in _page([], evidence_of(bad)).text


def test_the_worst_case_of_the_worst_file_alone_is_unfolded() -> None:
    good, bad = answer_of("a"), answer_of("b", 5e-4)
    answers = [replace(one, case=case) for one in (good, bad) for case in ("silence", "rich")]
    page = _page(checks_of(*answers), evidence_of(*answers))
    folds = [fold for fold in page.all("details") if "Pictures of" in fold.text]
    assert ["open" in fold.attributes for fold in folds] == [True, False, False, False]
    assert [head.text.split(",")[0] for head in page.all("h3")] == ["b", "a"]


def test_weights_that_were_never_trained_are_said_beside_the_title() -> None:
    for synthetic in (True, False):
        (head,) = _page([], Evidence("a", synthetic=synthetic)).all("h1")
        assert ("synthetic weights" in head.text) is synthetic


def test_values_that_are_no_numbers_are_drawn_and_said() -> None:
    answer = answer_of()
    for bad, places in ((np.inf, slice(0, 1)), (np.nan, slice(None))):
        broken = [replace(held, actual=held.actual.copy()) for held in answer.outputs]
        for held in broken:
            held.actual.reshape(-1)[places] = bad
        one = replace(answer, outputs=tuple(broken))
        page = _page(checks_of(one), evidence_of(one))
        assert len(page.of("chart")) == 6
        assert any("of 24 values are NaN or infinite" in figure.text for figure in page.all("figure"))
    assert "NaN" in page.of("top")[0].text


def test_the_first_classes_are_shown_on_both_sides() -> None:
    expected = np.arange(8, dtype=np.float32)[None] / 10
    actual = expected.copy()
    actual[0, [6, 7]] = actual[0, [7, 6]]
    held = Held("scores", ("batch", 8), "probability", TOLERANCE, expected, actual)
    answer = Answer("m", "r", "fp32", "rich", (held,))
    (top,) = _page(checks_of(answer), evidence_of(answer)).of("top")
    rows = [[cell.text.split() for cell in row.children if isinstance(cell, Element)] for row in top.all("tr")][1:]
    assert rows[0] == [["1", "→", "2"], ["class", "7"], ["0.7000"], ["0.6000"]]
    assert rows[1] == [["2", "→", "1"], ["class", "6"], ["0.6000"], ["0.7000"]]
    assert rows[2][0] == ["3"]
    assert len(rows) == 5
    assert "they differ" in top.text
    same = replace(answer, outputs=(replace(held, actual=expected),))
    assert "the same, in the same order" in _page(checks_of(same), evidence_of(same)).of("top")[0].text


def test_the_sound_is_drawn_on_both_sides_with_low_bins_at_the_bottom() -> None:
    answer = answer_of()
    titles = [figure.text for figure in _page(checks_of(answer), evidence_of(answer)).all("figcaption")]
    assert titles[:5] == [
        "melspec: expected",
        "melspec: actual",
        "melspec: difference",
        "melspec: error over time",
        "melspec: error over bins",
    ]
    assert titles[5].startswith("scores, clip ")
    assert titles[5].endswith("of 2: error over classes")


def test_what_a_reference_keeps_in_part_is_drawn_as_far_as_it_is_known() -> None:
    whole_one = held_of("melspec", ("batch", "frames", 4), "feature", (2, 6, 4))
    for stride, known in ((3, 8), (5, 5), (47, 1)):
        part = Sampled.of(whole_one.expected, stride).spread()
        actual = whole_one.actual.copy()
        actual.reshape(-1)[1] += 100
        one = Answer("m", "r", "fp32", "c", (replace(whole_one, expected=part, actual=actual),))
        check = Check("m", "r", "fp32", "c", "melspec", "values", "passed")
        words = [figure.text for figure in _page([check], evidence_of(one)).all("figure")]
        assert any(f"{known} of 24 values are known" in text for text in words)
        assert any("all within what is allowed" in text for text in words)
        assert not any("NaN" in text for text in words)


def test_nothing_is_fetched_run_or_styled_from_elsewhere() -> None:
    text = write(*whole(), "convert")
    page = read(text)
    (policy,) = (m for m in page.all("meta") if m.attributes.get("http-equiv") == "Content-Security-Policy")
    (style,) = page.all("style")
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    assert policy.attributes["content"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"url\(|@import|http", style.text)
    assert {element.tag for element in page.all()} <= _KNOWN
    for element in page.all():
        for name, value in element.attributes.items():
            assert name != "style"
            assert not name.startswith("on")
            if name in ("href", "src"):
                assert value.startswith(("#", "data:image/png;base64,")), value[:80]
            elif name != "content":
                assert "url(" not in value or value.startswith("url(#")


_TAGS = """
    html head meta title style body main header footer section h1 h2 h3 h4 p ul li a q strong span code details summary
    div figure figcaption table caption thead tbody tr th td svg g defs path use rect image text clippath
"""
_KNOWN = set(_TAGS.split())


def test_names_in_it_are_its_own_and_lead_somewhere() -> None:
    checks, evidence = whole()
    page = _page(checks, replace(evidence, answers=(*evidence.answers, answer_of(), answer_of("tract"))))
    names = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
    assert len(names) == len(set(names))
    for element in page.all():
        for attribute, value in element.attributes.items():
            if attribute in ("href", "clip-path", "aria-labelledby") and not value.startswith("data:"):
                assert value.removeprefix("url(").strip("#)") in names, value


def test_it_says_what_it_shows_to_those_who_do_not_see_it() -> None:
    page = _page(*whole())
    (root,) = page.all("html")
    assert root.attributes["lang"] == "en"
    for table in page.all("table"):
        assert isinstance(table.children[0] if not isinstance(table.children[0], str) else table.children[1], Element)
        assert len(list(table.all("caption"))) == 1
    for picture in page.all("svg"):
        seen = picture.attributes
        assert seen.get("aria-hidden") == "true" or (seen["role"] == "img" and len(seen["aria-label"]) > 10)
    assert all(head.attributes.get("scope") in ("row", "col") for head in page.all("th"))
    levels = [int(head.tag[1]) for head in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    # A colour never stands alone.
    assert {status.text for status in page.of("status")} <= {"✓ passed", "✗ FAILED", "? NOT VERIFIED"}


def test_names_of_strangers_are_text() -> None:
    checks, evidence = whole(HOSTILE)
    text = write(checks, evidence, HOSTILE, [HOSTILE])
    page = read(text)
    assert {element.tag for element in page.all()} <= _KNOWN
    assert page.text.count(shown(HOSTILE)) > 40
    assert "<script>alert(1)</script>" in page.text
    assert not set("\x1b\u202e\ud800") & set(text)
    assert "49" not in page.of("command")[0].text
    text.encode("utf-8")


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(codec=None), max_size=60))
def test_whatever_a_name_holds_the_page_is_whole(word: str) -> None:
    checks, evidence = whole(word)
    page = read(write(checks, replace(evidence, answers=(), located=()), word))
    assert {element.tag for element in page.all()} <= _KNOWN


def test_a_great_folder_stays_a_small_page() -> None:
    answers = [
        replace(
            answer_of(artifact=f"model-{number}.onnx", error=10.0 if number == 5 else 1e-4),
            outputs=(
                held_of("melspec", ("batch", "frames", 128), "feature", (1, 600, 128), 10.0 if number == 5 else 1e-4),
            ),
        )
        for number in range(9)
    ]
    checks = checks_of(*answers)
    checks += [replace(checks[0], case=f"{number} {'x' * 200}") for number in range(6000)]
    checks += [Check(f"{number}", "r", "fp32", "", "", "file", "failed", "a long word " * 50) for number in range(2000)]
    files = tuple(Wrote(f"reference/{number}.wav", "file", 1, "0" * 64) for number in range(5000))
    text = write(checks, evidence_of(*answers, files=files), "convert check a")
    assert len(text.encode()) < 3_000_000
    page = read(text)
    assert "are left out, so that this page stays small" in page.text
    assert "which --json lists" in page.text
    # What failed is drawn, whatever there is no room for.
    (drawn,) = (s for s in page.of("runtime") if "FAILED" in s.text)
    assert len(drawn.of("chart")) == 5


def test_the_error_along_the_graph_is_drawn_with_its_worst_ops() -> None:
    ops = [Op(f"n{number}", "Conv", (), ()) for number in range(6)]
    errors: list[float | None] = [1e-7, 2e-7, None, 3e-4, 3.1e-4, 0.5]
    steps = tuple(Growth(op, before, after) for op, before, after in zip(ops, [None, *errors], errors, strict=False))
    told = Located("Where it goes wrong", (), Divergence(None, None, (), steps, ()))
    section = next(s for s in _page([], Evidence("a", located=(told,))).all("section") if "Where it goes" in s.text)
    rows = [[cell.text for cell in row.all("td", "th")][:2] for row in section.all("tr")][1:]
    assert rows == [["1", "Conv n5"], ["2", "Conv n3"], ["3", "Conv n4"]]
    (chart,) = section.of("chart")
    assert "6 ops" in chart.attributes["aria-label"]
    for odd in ([None, None], [0.0, 0.0], [float("inf"), 1e-3], [float("nan"), None]):
        growth = tuple(Growth(op, None, error) for op, error in zip(ops, odd, strict=False))
        _page([], Evidence("a", located=(replace(told, divergence=Divergence(None, None, (), growth, ())),)))


def test_a_command_that_compares_graphs_says_itself_how_it_went() -> None:
    for code, word in ((0, "passed"), (1, "failed"), (3, "not-verified")):
        page = _page([], Evidence("a", outcome=Outcome(code, "so it went")))
        (banner,) = page.of("verdict")
        assert word in banner.attributes["class"].split()
        assert "so it went" in banner.text
        assert f"Exit code {code}." in banner.text


def test_the_same_is_drawn_the_same_whatever_the_user_has_set() -> None:
    answer = answer_of()
    first = write(checks_of(answer), evidence_of(answer), "convert")
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "text.color": "blue"}):
        before = dict(matplotlib.rcParams)
        assert write(checks_of(answer), evidence_of(answer), "convert") == first
        assert dict(matplotlib.rcParams) == before


def test_what_is_missing_is_named_with_what_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing() is None
    monkeypatch.setattr("validators.page.page.find_spec", lambda name: None if name == "matplotlib" else object())
    reason = missing()
    assert reason is not None
    assert "matplotlib" in reason
    assert "jinja2" not in reason
    assert 'pip install "soundport[report]"' in reason
