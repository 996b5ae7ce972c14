"""The proof of the lowered model: what passes it, and that a small wrong in float64 does not."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recipes.base.tensor import Output, Tolerance
from validators.lowered import RUNTIME, check_float32, check_float64, in_float64
from validators.results import Check, exit_code
from validators.values import Case

ALLOWED = {precision: Tolerance(atol=1e-4, rtol=0, reason="for this test") for precision in ("fp32", "mixed", "fp16")}
OUTPUTS = (Output(name="sum", axes=("batch",), kind="feature", description="", tolerances=ALLOWED),)


def _sum(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"sum": inputs["waveform"].sum(axis=1)}


def _off(by: float) -> Callable[..., dict[str, np.ndarray]]:
    return lambda inputs: {name: value + value.dtype.type(by) for name, value in _sum(inputs).items()}


def _case(name: str, scale: float = 0.25) -> Case:
    waveform = np.full((2, 8), scale, np.float32)
    return Case(name, {"waveform": waveform}, _sum({"waveform": waveform}))


def _failed(checks: list[Check]) -> set[tuple[str, str]]:
    return {(check.case, check.kind) for check in checks if check.status == "failed"}


def test_checks_say_what_was_compared_and_name_no_artifact() -> None:
    single = check_float32(_sum, [_case("a")], OUTPUTS)
    double = check_float64(_sum, in_float64(_sum, [_case("a")]), OUTPUTS, rounded=False, note="without x")
    assert {(c.artifact, c.runtime, c.precision) for c in single} == {("", RUNTIME, "fp32")}
    assert {(c.artifact, c.runtime, c.precision) for c in double} == {("", f"{RUNTIME}, without x", "fp64")}
    assert {check.status for check in (*single, *double)} == {"passed"}
    # They verify no file.
    assert exit_code([*single, *double]) == 3


def test_float64_finds_what_float32_has_to_allow() -> None:
    wrong = _off(1e-6)
    assert _failed(check_float32(wrong, [_case("a")], OUTPUTS)) == set()
    assert _failed(check_float64(wrong, in_float64(_sum, [_case("a"), _case("b")]), OUTPUTS, rounded=False)) == {
        ("a", "values"),
        ("b", "values"),
    }


@pytest.mark.parametrize(("by", "failed"), [(9e-5, set()), (1.1e-4, {("a", "values")})])
def test_what_was_rounded_is_held_to_the_tolerance_of_float32(by: float, failed: set[Any]) -> None:
    assert _failed(check_float64(_off(by), in_float64(_sum, [_case("a")]), OUTPUTS, rounded=True)) == failed
    assert _failed(check_float32(_off(by), [_case("a")], OUTPUTS)) == failed


def test_the_order_of_sums_is_allowed_in_float64_by_the_greatest_number() -> None:
    loud = _case("a", scale=1000)
    assert _failed(check_float64(_off(7e-6), in_float64(_sum, [loud]), OUTPUTS, rounded=False)) == set()
    assert _failed(check_float64(_off(9e-6), in_float64(_sum, [loud]), OUTPUTS, rounded=False)) == {("a", "values")}


def test_no_bound_is_wider_than_that_of_float32() -> None:
    tight = {name: replace(tolerance, atol=1e-12) for name, tolerance in ALLOWED.items()}
    outputs = (replace(OUTPUTS[0], tolerances=tight),)
    assert _failed(check_float64(_off(1e-11), in_float64(_sum, [_case("a")]), outputs, rounded=False)) == {
        ("a", "values")
    }


def test_an_answer_in_the_wrong_precision_fails() -> None:
    def narrow(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: value.astype(np.float32) for name, value in _sum(inputs).items()}

    assert ("a", "dtype") in _failed(check_float64(narrow, in_float64(_sum, [_case("a")]), OUTPUTS, rounded=False))
