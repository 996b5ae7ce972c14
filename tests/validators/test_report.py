"""What people and machines are shown: every fault, no markup that runs, XML that parses."""

import json
from dataclasses import asdict, replace
from io import StringIO
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from recipes.base.tensor import Tolerance
from validators.compare import Sampled, compare
from validators.report import as_json, figures, junit, table, verdict
from validators.results import Check, Status


def _values(error: float, case: str, output: str = "clipwise", **fields: str) -> Check:
    expected = np.full((1, 8), 0.25, np.float32)
    tolerance = Tolerance(atol=1e-4, rtol=0.0, reason="for these tests")
    comparison = compare(Sampled.of(expected), expected + np.float32(error), tolerance, "probability")
    status: Status = "passed" if comparison.passed else "failed"
    message = "" if comparison.passed else "8 values are over"
    check = Check("model.onnx", "onnxruntime", "fp32", case, output, "values", status, message, comparison)
    return replace(check, **fields)  # type: ignore[arg-type]


GOOD = [_values(1e-6, "rich"), _values(5e-5, "silence"), _values(0.0, "rich", "melspec")]
ABSENT = Check("model.onnx", "tract", "fp32", "", "", "values", "not verified", "pip install soundport[tract]")
FAILED = _values(0.5, "impulse")


def _shown(checks: list[Check], verbose: bool = False) -> str:
    console = Console(file=StringIO(), width=200, no_color=True)
    console.print(table(checks, verbose))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_table_shows_the_worst_case_of_each_output() -> None:
    shown = _shown(GOOD)
    assert "model.onnx, onnxruntime, fp32" in shown
    (line,) = [line for line in shown.splitlines() if "clipwise" in line]
    assert line.split() == ["clipwise", "silence", "5.00e-05", "0.0001", "0", "5.01e-05", "passed"]
    assert "melspec" in shown
    assert shown.splitlines()[-1].strip() == "PASSED: 3 passed, 0 failed"


def test_a_failed_case_is_the_worst_whatever_its_figures() -> None:
    stricter = _values(2e-4, "strict")
    looser = replace(_values(1e-6, "loose"), comparison=replace(FAILED.comparison, passed=True))  # type: ignore[type-var]
    (line,) = [line for line in _shown([stricter, looser]).splitlines() if line.strip().startswith("clipwise")]
    assert "strict" in line
    assert "FAILED" in line


@pytest.mark.parametrize("verbose", [False, True])
def test_a_case_that_could_not_be_compared_is_the_worst_of_its_status(verbose: bool) -> None:
    broken = replace(FAILED, case="impulse", comparison=None, message="the actual values are NaN")
    for other in ([FAILED], GOOD, []):
        shown = _shown([*other, broken], verbose)
        figures, *more = [line.split() for line in shown.splitlines() if line.strip().startswith("clipwise")]
        assert figures == ["clipwise", "impulse", *"----", "FAILED"]
        assert more == [["clipwise", *"-------"]] * verbose
    unseen = replace(broken, status="not verified")
    (line,) = [line for line in _shown([*GOOD, unseen]).splitlines() if line.strip().startswith("clipwise")]
    assert "NOT VERIFIED" in line


def test_each_runtime_has_its_own_table() -> None:
    shown = _shown([*GOOD, _values(1e-5, "rich", runtime="tract"), _values(1e-5, "rich", artifact="b.mlpackage")])
    for title in ("model.onnx, onnxruntime, fp32", "model.onnx, tract, fp32", "b.mlpackage, onnxruntime, fp32"):
        assert title in shown


def test_the_tables_fit_a_terminal_of_80_columns() -> None:
    console = Console(file=StringIO(), width=80)
    console.print(table([_values(1e-5, "full_scale_square", "segment_clipwise"), FAILED], verbose=True))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    for word in ("full_scale_square", "segment_clipwise", "passes at", "FAILED", "mean abs", "1.0000000"):
        assert word in shown


def test_verbose_adds_the_other_figures() -> None:
    assert "cosine" not in _shown(GOOD)
    shown = _shown([*GOOD, FAILED], verbose=True)
    for head in ("max rel", "mean abs", "99.9 %", "cosine", "SNR dB", "top-k", "flips"):
        assert head in shown
    assert "100.0%" in shown


def test_failures_and_what_is_not_verified_are_always_listed() -> None:
    checks = [*GOOD, FAILED, ABSENT, replace(FAILED, kind="rules", comparison=None, message="pad is constant")]
    for verbose in (False, True):
        shown = _shown(checks, verbose)
        assert "FAILED model.onnx, onnxruntime, fp32, impulse, clipwise, values: 8 values are over" in shown
        assert "rules: pad is constant" in shown
        assert "NOT VERIFIED model.onnx, tract, fp32, values: pip install soundport[tract]" in shown
        assert shown.splitlines()[-1].startswith("FAILED: 3 passed, 2 failed, 1 NOT VERIFIED")


def test_failures_of_one_kind_are_summed_up() -> None:
    """One line with their number and the worst; `verbose` has them all, as files for machines always do."""
    errors = {"rich": 0.2, "silence": 0.5, "impulse": 0.3}
    failing = [
        replace(_values(error, case, output), message=f"{error} off")
        for output in ("clipwise", "embedding")
        for case, error in errors.items()
    ]
    one = _values(0.25, "rich", "clipwise", runtime="tract")
    checks = [*GOOD, *failing, one, replace(failing[0], kind="shape", comparison=None, message="is [1, 7]")]
    lines = [line for line in _shown(checks).splitlines() if line.startswith("FAILED model")]
    worst = "0.5 off (3 cases, the worst silence)"
    assert lines == [
        f"FAILED model.onnx, onnxruntime, fp32, clipwise, values: {worst}",
        f"FAILED model.onnx, onnxruntime, fp32, embedding, values: {worst}",
        "FAILED model.onnx, tract, fp32, rich, clipwise, values: 8 values are over",
        "FAILED model.onnx, onnxruntime, fp32, rich, clipwise, shape: is [1, 7]",
    ]
    lines = [line for line in _shown(checks, verbose=True).splitlines() if line.startswith("FAILED model")]
    assert len(lines) == 8
    assert "FAILED model.onnx, onnxruntime, fp32, impulse, embedding, values: 0.3 off" in lines
    assert len([check for check in as_json(checks)["checks"] if check["status"] == "failed"]) == 8
    assert junit(checks).count("<failure") == 8


def test_what_is_of_no_case_is_never_summed_up() -> None:
    damaged = [Check("", "", "", "", "", "checksum", "failed", f"{name} was changed") for name in ("a", "b")]
    lines = [line for line in _shown([*GOOD, *damaged]).splitlines() if line.startswith("FAILED ")]
    assert lines == ["FAILED checksum: a was changed", "FAILED checksum: b was changed"]


def test_a_case_that_could_not_be_compared_is_the_one_that_is_told() -> None:
    broken = replace(FAILED, case="silence", comparison=None, message="3 of 8 actual values are NaN or infinite")
    (line,) = [line for line in _shown([FAILED, broken]).splitlines() if line.startswith("FAILED model")]
    assert line.endswith(f"clipwise, values: {broken.message} (2 cases, such as silence)")


def test_what_is_not_verified_is_not_counted_as_failed() -> None:
    unseen = [replace(FAILED, case=case, status="not verified", comparison=None) for case in ("a", "b")]
    lines = _shown([FAILED, *unseen]).splitlines()
    assert len([line for line in lines if line.startswith("FAILED model") and ", impulse, " in line]) == 1
    assert len([line for line in lines if line.startswith("NOT VERIFIED model") and " (2 cases, " in line]) == 1


def test_a_cause_stands_for_what_follows_from_it() -> None:
    """Once for all cases; what follows is counted, and listed by `verbose` and for machines."""
    shape = [
        replace(FAILED, case=case, kind="shape", comparison=None, message="[1, 8], expected [1, 4]")
        for case in ("rich", "silence")
    ]
    axes = [replace(check, kind="axes", message="axis 1 is 8, not 4") for check in shape]
    values = [
        replace(check, kind="values", status="not verified", message="not compared: the shapes differ")
        for check in shape
    ]
    other = replace(values[0], output="melspec"), replace(axes[0], output="melspec")
    checks = [*shape, *axes, *values, *other]
    lines = [line.rstrip() for line in _shown(checks).splitlines() if line.startswith(("FAILED m", "NOT VERIFIED m"))]
    assert lines == [
        "FAILED model.onnx, onnxruntime, fp32, clipwise, shape: [1, 8], expected [1, 4] (2 cases, such as rich)",
        "NOT VERIFIED model.onnx, onnxruntime, fp32, rich, melspec, values: not compared: the shapes differ",
        "FAILED model.onnx, onnxruntime, fp32, rich, melspec, axes: axis 1 is 8, not 4",
    ]
    assert "FAILED: 0 passed, 5 failed, 3 NOT VERIFIED" in _shown(checks)
    lines = [line for line in _shown(checks, True).splitlines() if line.startswith(("FAILED m", "NOT VERIFIED m"))]
    assert len(lines) == len(as_json(checks)["checks"]) == len(checks)
    assert (junit(checks).count("<failure"), junit(checks).count("<skipped")) == (5, 3)


def test_messages_are_no_markup_and_cannot_steer_the_terminal() -> None:
    shown = _shown([replace(FAILED, message="[bold]x[/nonsense] \x1b[31m\x07 \x9b1m \ud800", artifact="[red].onnx")])
    assert "[bold]x[/nonsense] \\x1b[31m\\x07 \\x9b1m \\ud800" in shown
    assert "[red].onnx" in shown


@pytest.mark.parametrize(
    ("checks", "line"),
    [
        ([], "NOT VERIFIED: 0 passed, 0 failed"),
        (GOOD, "PASSED: 3 passed, 0 failed"),
        ([*GOOD, ABSENT], "PASSED: 3 passed, 0 failed, 1 NOT VERIFIED"),
        ([FAILED, ABSENT], "FAILED: 0 passed, 1 failed, 1 NOT VERIFIED"),
        (
            [replace(FAILED, output="", comparison=None, message="cannot run it")],
            "FAILED: 0 passed, 1 failed; the values of model.onnx were verified by no runtime",
        ),
        (
            [*GOOD, replace(ABSENT, artifact="b.mlpackage")],
            "NOT VERIFIED: 3 passed, 0 failed, 1 NOT VERIFIED; the values of b.mlpackage were verified by no runtime",
        ),
    ],
)
def test_verdict(checks: list[Check], line: str) -> None:
    assert verdict(checks) == line
    assert _shown(checks).splitlines()[-1].strip() == line


def test_json_has_all_figures_and_gives_the_checks_back() -> None:
    checks = [*GOOD, FAILED, ABSENT]
    data = json.loads(json.dumps(as_json(checks), allow_nan=False))
    assert data["verdict"] == "failed"
    assert data["counts"] == {"passed": 3, "failed": 1, "not verified": 1}
    assert data["unverified"] == []
    for written, check in zip(data["checks"], checks, strict=True):
        comparison = written.pop("comparison")
        assert Check(**written) == replace(check, comparison=None)
        if check.comparison is None:
            assert comparison is None
            continue
        assert list(comparison) == list(asdict(check.comparison))
        for name, value in asdict(check.comparison).items():
            assert comparison[name] == (pytest.approx(value, rel=1e-2) if isinstance(value, float) else value), name
    assert as_json([ABSENT])["unverified"] == ["model.onnx"]


def test_json_is_finite_whatever_a_validator_computed() -> None:
    assert FAILED.comparison is not None
    broken = replace(FAILED, comparison=replace(FAILED.comparison, max_abs=float("nan"), worst_actual=float("inf")))
    comparison = json.loads(json.dumps(as_json([broken]), allow_nan=False))["checks"][0]["comparison"]
    assert (comparison["max_abs"], comparison["worst_actual"], comparison["worst"]) == (None, None, [0, 0])


def test_figures_have_the_digits_that_mean_something() -> None:
    assert FAILED.comparison is not None
    found = replace(
        FAILED.comparison,
        max_abs=0.000123456789,
        max_rel=None,
        mean_abs=1.23456e-7,
        cosine=0.99999876543210,
        snr_db=61.23456789,
        passing_atol=0.000123456789,
        top_k_agreement=14 / 15,
        worst_expected=float(np.float32(0.1)),
        atol=0.00012345678,
    )
    written = as_json([replace(FAILED, comparison=found)])["checks"][0]["comparison"]
    names = ("max_abs", "max_rel", "mean_abs", "cosine", "snr_db", "passing_atol", "top_k_agreement", "atol")
    assert [written[name] for name in names] == [
        0.0001235,
        None,
        1.235e-7,
        0.999998765,
        61.23,
        0.000124,
        0.9333,
        0.00012345678,
    ]
    assert np.float32(written["worst_expected"]) == np.float32(0.1)


@given(st.lists(st.tuples(st.floats(-10, 10, width=32), st.floats(-0.125, 0.125, width=32)), min_size=2, max_size=50))
def test_the_atol_that_is_written_passes(values: list[tuple[float, float]]) -> None:
    expected, error = np.array(values, np.float32).T[:, None]
    actual = expected + error
    comparison = compare(Sampled.of(expected), actual, Tolerance(1e-9, 1e-6, "for this test"), "feature")
    atol = figures(comparison)["passing_atol"]
    assert compare(Sampled.of(expected), actual, Tolerance(atol, 1e-6, "for this test"), "feature").passed


def test_figures_are_the_same_in_whatever_order_sums_are_added_up() -> None:
    random = np.random.RandomState(0)
    expected = random.standard_normal(10000).astype(np.float32)
    actual = expected + 1e-4 * random.standard_normal(10000).astype(np.float32)
    tolerance = Tolerance(1e-2, 0.0, "for this test")
    found = []
    for seed in range(20):
        order = np.random.RandomState(seed).permutation(10000)
        comparison = compare(Sampled.of(expected[order]), actual[order], tolerance, "feature")
        found.append(replace(comparison, worst=[0]))
    assert len(set(map(repr, found))) > 1
    assert len({json.dumps(figures(comparison)) for comparison in found}) == 1


def test_junit_has_a_case_per_check() -> None:
    root = ElementTree.fromstring(junit([*GOOD, FAILED, ABSENT]))
    assert len(junit([*GOOD, FAILED, ABSENT]).splitlines()) > 7
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    for element in (root, suite):
        counts = [element.get(name) for name in ("tests", "failures", "errors", "skipped")]
        assert counts == ["5", "1", "0", "1"]
    assert [(case.get("classname"), case.get("name")) for case in suite][-2:] == [
        ("model.onnx, onnxruntime, fp32", "impulse, clipwise, values"),
        ("model.onnx, tract, fp32", "values"),
    ]
    children = [[(child.tag, child.get("message")) for child in case] for case in suite]
    assert children == [
        [],
        [],
        [],
        [("failure", "8 values are over")],
        [("skipped", "NOT VERIFIED: pip install soundport[tract]")],
    ]


@given(st.text(st.characters(codec=None), max_size=50))
def test_junit_parses_and_the_table_prints_whatever_a_message_holds(text: str) -> None:
    check = Check(text, text, text, text, text, "values", "failed", text)
    (suite,) = ElementTree.fromstring(junit([check, replace(check, status="not verified")]).encode())
    (failure,), (skipped,) = suite
    assert (failure.tag, skipped.tag) == ("failure", "skipped")
    _shown([check])


def test_control_characters_stay_visible_in_junit() -> None:
    message = "nul \x00, escape \x1b, surrogate \udcff, noncharacter \uffff, <&\"'>"
    (suite,) = ElementTree.fromstring(junit([replace(FAILED, message=message)]))
    failure = suite[0][0]
    assert failure.get("message") == "nul \\x00, escape \\x1b, surrogate \\udcff, noncharacter \\uffff, <&\"'>"
