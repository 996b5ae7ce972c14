"""The comparator, mostly on known-bad outputs: each fault must be found, and all of them at once."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.base.tensor import Output, Tolerance
from validators.compare import Sampled, axis_faults, compare, compare_outputs, rounded_up
from validators.results import Check

TOLERANCE = Tolerance(atol=1e-4, rtol=0.0, reason="for these tests")
TOLERANCES = {"clipwise": TOLERANCE, "segment_clipwise": TOLERANCE, "framewise": TOLERANCE, "melspec": TOLERANCE}


def _output(name: str, axes: tuple[str | int, ...], kind: str) -> Output:
    every = {"fp32": TOLERANCE, "mixed": TOLERANCE, "fp16": TOLERANCE}
    return Output(name=name, axes=axes, kind=kind, description=name, tolerances=every)  # type: ignore[arg-type]


OUTPUTS = (
    _output("clipwise", ("batch", 8), "probability"),
    _output("segment_clipwise", ("batch", 8), "probability"),
    _output("framewise", ("batch", "frames", 8), "probability"),
    _output("melspec", ("batch", "frames", 4), "feature"),
)

Arrays = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def good() -> Arrays:
    random = np.random.RandomState(1)
    shapes = {"clipwise": (2, 8), "segment_clipwise": (2, 8), "framewise": (2, 6, 8), "melspec": (2, 6, 4)}
    return {name: random.uniform(0.01, 0.99, shape).astype(np.float32) for name, shape in shapes.items()}


def _compare(expected: Mapping[str, np.ndarray | Sampled], actual: Arrays, **tolerances: Tolerance) -> list[Check]:
    return compare_outputs(
        expected,
        actual,
        OUTPUTS,
        TOLERANCES | tolerances,
        artifact="model.onnx",
        runtime="onnxruntime",
        precision="fp32",
        case="rich",
    )


def _failed(checks: list[Check]) -> list[tuple[str, str]]:
    return [(check.kind, check.output) for check in checks if check.status == "failed"]


def _message(checks: list[Check], kind: str, output: str) -> str:
    (message,) = [check.message for check in checks if (check.kind, check.output) == (kind, output)]
    return message


def test_equal_outputs_pass_every_check_in_order(good: Arrays) -> None:
    checks = _compare(good, good)
    kinds = ("names", "dtype", "shape", "axes", "values")
    assert [(c.kind, c.output) for c in checks] == [(kind, output.name) for kind in kinds for output in OUTPUTS]
    assert {check.status for check in checks} == {"passed"}
    assert {(c.artifact, c.runtime, c.precision, c.case) for c in checks} == {
        ("model.onnx", "onnxruntime", "fp32", "rich")
    }
    comparison = checks[-4].comparison
    assert comparison is not None
    assert (comparison.max_abs, comparison.passing_atol, comparison.flips, comparison.top_k_agreement) == (0, 0, 0, 1)
    assert comparison.snr_db is None
    assert comparison.cosine == pytest.approx(1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["expected", "actual", "both"])
def test_nan_and_infinity_fail_even_where_both_have_them(good: Arrays, value: float, side: str) -> None:
    bad = good["framewise"].copy()
    bad[1, 2, 3] = value
    expected = good | {"framewise": bad} if side != "actual" else good
    actual = good | {"framewise": bad} if side != "expected" else good
    checks = _compare(expected, actual)
    assert _failed(checks) == [("values", "framewise")]
    for named in ("expected", "actual") if side == "both" else (side,):
        message = f"1 of 96 {named} values are NaN or infinite, the first at [1, 2, 3]"
        assert message in _message(checks, "values", "framewise")


def test_values_beyond_float32_fail_without_warnings(good: Arrays) -> None:
    checks = _compare(good, good | {"clipwise": good["clipwise"].astype(np.float64) * 1e300})
    assert _failed(checks) == [("dtype", "clipwise"), ("values", "clipwise")]


def test_a_missing_output_fails_and_its_values_are_not_verified(good: Arrays) -> None:
    checks = _compare(good, {name: array for name, array in good.items() if name != "framewise"})
    assert _failed(checks) == [("names", "framewise")]
    (values,) = [check for check in checks if (check.kind, check.output) == ("values", "framewise")]
    assert values.status == "not verified"
    assert "missing" in values.message


def test_an_extra_output_fails(good: Arrays) -> None:
    assert _failed(_compare(good, good | {"bonus": good["melspec"]})) == [("names", "bonus")]
    assert _failed(_compare(good | {"stale": good["melspec"]}, good)) == [("names", "stale")]


def test_an_output_that_the_reference_lacks_fails(good: Arrays) -> None:
    expected = {name: array for name, array in good.items() if name != "melspec"}
    assert _failed(_compare(expected, good)) == [("names", "melspec")]


def test_no_outputs_at_all_fail_for_every_name(good: Arrays) -> None:
    checks = _compare(good, {})
    assert _failed(checks) == [("names", output.name) for output in OUTPUTS]
    assert not [check for check in checks if check.kind == "values" and check.status == "passed"]


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, np.bool_, np.complex64, np.str_])
def test_any_dtype_but_float32_fails(good: Arrays, dtype: type) -> None:
    ones = {name: np.ones_like(array) for name, array in good.items()}
    checks = _compare(ones, ones | {"melspec": ones["melspec"].astype(dtype)})
    assert ("dtype", "melspec") in _failed(checks)
    comparable = dtype in (np.float64, np.float16, np.int64)
    assert (("values", "melspec") in _failed(checks)) is not comparable


def test_a_wrong_shape_fails_and_is_not_broadcast(good: Arrays) -> None:
    checks = _compare(good, good | {"clipwise": good["clipwise"][:1]})
    assert ("shape", "clipwise") in _failed(checks)
    assert _message(checks, "shape", "clipwise") == "[1, 8], expected [2, 8]"
    assert _message(checks, "values", "clipwise") == "not compared: the shapes differ"


def test_a_batch_that_differs_between_outputs_fails_on_the_axes(good: Arrays) -> None:
    expected = good | {"clipwise": good["clipwise"][:1]}
    checks = _compare(expected, expected)
    assert set(_failed(checks)) == {("axes", output.name) for output in OUTPUTS}
    assert _message(checks, "axes", "melspec") == "batch is 2, but 1 in clipwise"


def test_of_very_many_that_differ_a_few_are_listed() -> None:
    """All of each would take a file of a megabyte minutes."""
    many = [replace(OUTPUTS[0], name=f"y{place}", axes=("batch",)) for place in range(20_000)]
    found = axis_faults({output.name: (place + 1,) for place, output in enumerate(many)}, many)
    assert found["y0"] == ["batch is 1, but 2 in y1, 3 in y2, 4 in y3, 5 in y4, 6 in y5 and more"]
    assert len(found["y19999"]) == 1


def test_frames_that_differ_between_outputs_fail_on_the_axes(good: Arrays) -> None:
    expected = good | {"melspec": good["melspec"][:, :5]}
    assert _failed(_compare(expected, expected)) == [("axes", "framewise"), ("axes", "melspec")]


def test_a_fixed_axis_must_have_its_size(good: Arrays) -> None:
    expected = good | {"melspec": good["melspec"][..., :3]}
    checks = _compare(expected, expected)
    assert _failed(checks) == [("axes", "melspec")]
    assert _message(checks, "axes", "melspec") == "axis 2 is 3, not 4"


def test_a_squeezed_batch_axis_fails(good: Arrays) -> None:
    expected = good | {"clipwise": good["clipwise"][0]}
    checks = _compare(expected, expected)
    assert _failed(checks) == [("axes", "clipwise")]
    assert _message(checks, "axes", "clipwise") == "has 1 axes, not 2: batch, 8"


def test_empty_arrays_fail(good: Arrays) -> None:
    empty = {name: array[:0] for name, array in good.items()}
    checks = _compare(empty, empty)
    assert _failed(checks) == [("values", output.name) for output in OUTPUTS]
    assert _message(checks, "values", "melspec") == "the expected array is empty; the actual array is empty"


def test_an_output_without_a_tolerance_fails(good: Arrays) -> None:
    few = {"clipwise": TOLERANCE}
    checks = compare_outputs(good, good, OUTPUTS, few, artifact="m", runtime="r", precision="fp32", case="c")
    assert _failed(checks) == [("values", output.name) for output in OUTPUTS[1:]]


def test_every_fault_is_listed_not_only_the_first(good: Arrays) -> None:
    bad = {"clipwise": good["clipwise"] + 1, "framewise": good["framewise"][:, :5], "melspec": good["melspec"] * np.nan}
    checks = _compare(good, bad | {"bonus": good["melspec"]})
    assert _failed(checks) == [
        ("names", "segment_clipwise"),
        ("names", "bonus"),
        ("shape", "framewise"),
        ("axes", "framewise"),
        ("axes", "melspec"),
        ("values", "clipwise"),
        ("values", "melspec"),
    ]


@pytest.mark.parametrize(("off", "status"), [(0.9999e-4, "passed"), (1.0001e-4, "failed")])
@pytest.mark.parametrize("sign", [1, -1])
def test_just_under_and_just_over_atol(good: Arrays, off: float, status: str, sign: int) -> None:
    expected = np.zeros((2, 6, 4), np.float32)
    actual = expected.copy()
    actual[1, 5, 0] = sign * off
    checks = _compare(good | {"melspec": expected}, good | {"melspec": actual})
    assert checks[-1].status == status
    comparison = checks[-1].comparison
    assert comparison is not None
    assert comparison.worst == [1, 5, 0]
    assert comparison.worst_actual == pytest.approx(sign * off)
    assert comparison.exceeding == (status == "failed")
    assert comparison.max_rel is None


def test_rtol_is_relative_to_what_is_expected() -> None:
    tolerance = Tolerance(atol=0.0, rtol=0.5, reason="for this test")
    ten, sixteen = (np.full((1, 1), value, np.float32) for value in (10, 16))
    assert not compare(Sampled.of(ten), sixteen, tolerance, "feature").passed
    assert compare(Sampled.of(sixteen), ten, tolerance, "feature").passed


def test_the_worst_element_is_the_one_that_needs_the_most_atol() -> None:
    expected, actual = np.array([[1000.0, 0.0]]), np.array([[1001.0, 0.5]])
    comparison = compare(Sampled.of(expected), actual, Tolerance(0.1, 0.01, "for this test"), "feature")
    assert (comparison.max_abs, comparison.worst, comparison.passing_atol) == (1.0, [0, 1], 0.5)


def test_figures_of_a_known_error() -> None:
    expected = np.array([[3.0, 4.0]], np.float32)
    comparison = compare(Sampled.of(expected), expected * 1.5, Tolerance(10.0, 0.0, "for this test"), "logit")
    assert comparison.max_rel == pytest.approx(0.5)
    assert comparison.mean_abs == pytest.approx(1.75)
    assert comparison.cosine == pytest.approx(1)
    assert comparison.snr_db == pytest.approx(20 * np.log10(2))
    assert comparison.q999 == pytest.approx(2.0, abs=1e-3)


def test_decisions_and_ranks() -> None:
    expected = np.array([[0.9, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]], np.float32)
    actual = expected.copy()
    actual[0, 1], actual[0, 7] = 0.45, 0.7
    loose = Tolerance(1.0, 0.0, "for this test")
    as_probability = compare(Sampled.of(expected), actual, loose, "probability")
    assert (as_probability.flips, as_probability.top_k, as_probability.top_k_agreement) == (2, 5, 0.8)
    as_logit = compare(Sampled.of(expected), actual, loose, "logit")
    assert as_logit.flips == 1
    as_feature = compare(Sampled.of(expected), actual, loose, "feature")
    assert (as_feature.flips, as_feature.top_k, as_feature.top_k_agreement) == (None, None, None)


def test_where_one_class_is_there_at_a_time_a_decision_is_the_first_one() -> None:
    expected = np.array([[3.0, 2.0, -5.0], [1.0, 1.0, 0.0], [0.0, -1.0, -2.0]], np.float32)
    loose = Tolerance(10.0, 0.0, "for this test")
    actual = expected.copy()
    assert compare(Sampled.of(expected), actual, loose, "multiclass_logit").flips == 0
    actual[0] = [2.0, 3.0, -5.0]
    actual[1] = [1.0, 1.1, 0.0]  # which of the two is first was open
    actual[2] = [-0.5, -1.0, -2.0]
    compared = compare(Sampled.of(expected), actual, loose, "multiclass_logit")
    assert (compared.flips, compared.top_k) == (1, 3)
    half = Sampled.of(expected, 2)
    assert compare(half, actual, loose, "multiclass_logit").flips is None


def test_ties_are_no_disagreement() -> None:
    ones = np.ones((1, 527), np.float32)
    assert compare(Sampled.of(ones), ones, TOLERANCE, "probability").top_k_agreement == 1


@given(
    st.lists(st.tuples(st.floats(-100, 100, width=32), st.floats(-100, 100, width=32)), min_size=1, max_size=20),
    st.sampled_from([0.0, 1e-5, 0.3]),
)
def test_the_passing_atol_passes_and_a_little_less_does_not(pairs: list[tuple[float, float]], rtol: float) -> None:
    expected, actual = (np.array([side], np.float32) for side in zip(*pairs, strict=True))
    atol = compare(Sampled.of(expected), actual, Tolerance(0.0, rtol, "for this test"), "feature").passing_atol
    assert compare(Sampled.of(expected), actual, Tolerance(atol, rtol, "for this test"), "feature").passed
    if atol > 1e-9:
        less = Tolerance(atol * (1 - 1e-5), rtol, "for this test")
        assert not compare(Sampled.of(expected), actual, less, "feature").passed


@given(st.floats(0, 1e30))
def test_the_tolerance_that_is_told_passes(atol: float) -> None:
    told = float(f"{rounded_up(atol):.2e}")
    assert atol <= told <= atol * 1.011


def test_swapped_outputs_are_named(good: Arrays) -> None:
    swapped = {"clipwise": good["segment_clipwise"], "segment_clipwise": good["clipwise"]}
    checks = _compare(good, good | swapped)
    assert _failed(checks) == [("values", "clipwise"), ("values", "segment_clipwise")]
    assert "'segment_clipwise', and that one with this: are they swapped?" in _message(checks, "values", "clipwise")
    assert "are they swapped?" in _message(checks, "values", "segment_clipwise")


def test_two_wrong_outputs_are_not_called_swapped(good: Arrays) -> None:
    half = {"clipwise": good["segment_clipwise"], "segment_clipwise": good["segment_clipwise"] + 1}
    assert not any("swapped" in check.message for check in _compare(good, good | half))


@pytest.mark.parametrize("by", [1, -1])
def test_a_shift_by_one_is_named(good: Arrays, by: int) -> None:
    checks = _compare(good, good | {"melspec": np.roll(good["melspec"], by, axis=1)})
    assert "agrees when shifted by 1 along frames: off-by-one padding?" in _message(checks, "values", "melspec")


def test_no_shift_is_claimed_for_a_bad_end_or_a_longer_way(good: Arrays) -> None:
    constant = np.full_like(good["melspec"], 0.5)
    bad_end = constant.copy()
    bad_end[:, -1] = 1
    checks = _compare(good | {"melspec": constant}, good | {"melspec": bad_end})
    assert _failed(checks) == [("values", "melspec")]
    assert "shifted" not in _message(checks, "values", "melspec")
    checks = _compare(good, good | {"melspec": np.roll(good["melspec"], 2, axis=1)})
    assert "shifted" not in _message(checks, "values", "melspec")


def test_sampled_references_compare_the_same_elements(good: Arrays) -> None:
    expected = good | {"framewise": Sampled.of(good["framewise"], 5)}
    assert _failed(_compare(expected, good)) == []
    bad = good["framewise"].copy()
    bad[0, 1, 2] += 1  # element 10, the third that is kept
    checks = _compare(expected, good | {"framewise": bad})
    assert _failed(checks) == [("values", "framewise")]
    comparison = next(check.comparison for check in checks if (check.kind, check.output) == ("values", "framewise"))
    assert comparison is not None
    assert (comparison.worst, comparison.top_k) == ([0, 1, 2], None)
    checks = _compare(expected, good | {"framewise": bad[:, :5]})
    assert ("shape", "framewise") in _failed(checks)


def test_the_rule_does_not_depend_on_memory_order(good: Arrays) -> None:
    assert _failed(_compare(good, {name: np.asfortranarray(array) for name, array in good.items()})) == []


def test_a_sampled_array_stays_as_it_is(good: Arrays) -> None:
    sampled = Sampled.of(good["melspec"], 3)
    assert Sampled.of(sampled) is sampled
