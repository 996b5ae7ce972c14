"""Checks go to JSON and back, and add up to an exit code in which unchecked is not passed."""

import json
import pickle
from dataclasses import asdict, replace
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.base.tensor import Tolerance
from validators.compare import Sampled, compare
from validators.report import badness
from validators.results import Check, Comparison, exit_code, unverified

PASSED = Check("model.onnx", "onnxruntime", "fp32", "rich", "clipwise", "values", "passed")
ABSENT = Check("model.onnx", "tract", "fp32", "", "", "values", "not verified", "pip install tract")
FAILED = replace(PASSED, status="failed", message="far off")


def test_a_check_survives_json_and_pickle() -> None:
    zeros = np.zeros((1, 3), np.float32)
    comparison = compare(Sampled.of(zeros), zeros + 1, Tolerance(0.5, 0.0, "for this test"), "logit")
    for check in (ABSENT, replace(FAILED, comparison=comparison)):
        data = json.loads(json.dumps(asdict(check), allow_nan=False))
        figures = data.pop("comparison")
        assert Check(**data, comparison=figures and Comparison(**figures)) == check
        assert pickle.loads(pickle.dumps(check)) == check


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ([], 3),
        ([PASSED], 0),
        ([PASSED, ABSENT], 0),
        ([ABSENT, PASSED], 0),
        ([ABSENT], 3),
        ([PASSED, FAILED], 1),
        ([ABSENT, FAILED], 1),
        ([PASSED, replace(PASSED, kind="rules", status="failed")], 1),
        ([PASSED, replace(ABSENT, artifact="model.mlpackage")], 3),
        ([PASSED, replace(PASSED, artifact="model.mlpackage", kind="shape")], 3),
        ([replace(PASSED, artifact="", kind="checksum")], 3),
        ([replace(PASSED, artifact="", kind="checksum"), PASSED], 0),
        ([replace(PASSED, artifact="", kind="checksum", status="failed"), PASSED], 1),
    ],
)
def test_exit_code(checks: list[Check], code: int) -> None:
    assert exit_code(checks) == code
    assert exit_code(iter(checks)) == code


def test_unverified_artifacts_are_named_once() -> None:
    other = replace(ABSENT, artifact="model.mlpackage")
    assert unverified([other, PASSED, ABSENT, other]) == ["model.mlpackage"]


def test_values_that_are_wrong_were_compared_and_those_that_no_runtime_gave_were_not() -> None:
    assert unverified([FAILED, ABSENT]) == []
    for nothing in (replace(FAILED, output=""), replace(FAILED, kind="shape"), replace(FAILED, status="not verified")):
        assert unverified([nothing, ABSENT]) == ["model.onnx"]


@pytest.mark.parametrize(
    ("error", "tolerance", "used"),
    [(0.5, (2.0, 0.0), 0.25), (3.0, (1.5, 0.0), 2.0), (1e-6, (0.0, 0.0), inf), (0.0, (0.0, 0.0), 0.0)],
)
def test_how_much_of_its_tolerance_a_comparison_uses(error: float, tolerance: tuple[float, float], used: float) -> None:
    assert _off(error, *tolerance).used == pytest.approx(used)


@given(st.floats(-100, 100, width=32), st.floats(0, 1, width=32), st.sampled_from([0, 0.3]))
def test_what_passed_uses_no_more_than_all_of_its_tolerance(right: float, off: float, rtol: float) -> None:
    """To the last bit, where a difference was rounded, too."""
    expected, actual = Sampled.of(np.array([right])), np.array([right + off])
    enough = compare(expected, actual, Tolerance(0.0, rtol, "for this test"), "logit").passing_atol
    for atol in (enough, np.nextafter(enough, 0), 2 * enough, enough / 2):
        found = compare(expected, actual, Tolerance(float(atol), rtol, "for this test"), "logit")
        assert (found.used <= 1) is found.passed


def test_without_an_atol_the_greater_error_is_the_worse() -> None:
    small, great = (replace(FAILED, case=f"{error}", comparison=_off(error, 0, 0)) for error in (1e-6, 10.0))
    for checks in ((small, great), (great, small)):
        assert max(checks, key=badness) is great
    # And the same of outputs of which one may be further off than the other.
    loose, tight = replace(FAILED, comparison=_off(5, 2, 0)), replace(FAILED, comparison=_off(1, 0.1, 0))
    assert max((loose, tight), key=badness) is tight


def _off(error: float, atol: float, rtol: float) -> Comparison:
    return compare(Sampled.of(np.zeros(1)), np.array([error]), Tolerance(atol, rtol, "for this test"), "logit")
