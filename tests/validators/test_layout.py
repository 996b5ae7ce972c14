"""NHWC is undone where shapes or values show it; any other order of the axes is named and never undone."""

import numpy as np
import pytest

from recipes.base.tensor import Tolerance
from validators.compare import Sampled
from validators.layout import NCHW, NHWC, Pair, explained, undone

TOLERANCE = Tolerance(atol=1e-4, rtol=0.0, reason="for these tests")
RANDOM = np.random.RandomState(3)
OBLONG = RANDOM.randn(1, 3, 4, 5).astype(np.float32)
SQUARE = RANDOM.randn(1, 4, 4, 4).astype(np.float32)
FLAWED = "beyond the tolerance, as a quantised model's answers are"


def _pair(expected: np.ndarray | Sampled, actual: np.ndarray, flat: bool = False) -> Pair:
    return Pair(Sampled.of(expected), np.ascontiguousarray(actual), flat)


@pytest.mark.parametrize("noise", [0, 0.1], ids=["exact", FLAWED])
@pytest.mark.parametrize("array", [OBLONG, SQUARE], ids=["oblong", "square"])
@pytest.mark.parametrize("order", [NHWC, NCHW])
def test_the_order_is_undone_and_told(array: np.ndarray, order: tuple[int, ...], noise: float) -> None:
    other = array.transpose(order) + np.float32(noise) * RANDOM.randn(*array.transpose(order).shape).astype(np.float32)
    found, told = undone(_pair(array, other), TOLERANCE)
    np.testing.assert_allclose(found.actual, array, atol=5 * noise)
    assert found.expected.shape == array.shape
    theirs, ours = ("NHWC", "NCHW") if order == NHWC else ("NCHW", "NHWC")
    assert told == f"GOT is {theirs} where EXPECTED is {ours}: put into {ours} {list(array.shape)}"


@pytest.mark.parametrize("order", [NHWC, NCHW])
def test_numbers_without_a_shape_of_their_own(order: tuple[int, ...]) -> None:
    """On either side they have the other side's shape, which says nothing of their order."""
    found, told = undone(_pair(OBLONG, OBLONG.transpose(order).reshape(OBLONG.shape)), TOLERANCE)
    np.testing.assert_array_equal(found.actual, OBLONG)
    assert told
    found, told = undone(_pair(OBLONG.transpose(order).reshape(OBLONG.shape), OBLONG, flat=True), TOLERANCE)
    np.testing.assert_array_equal(found.actual, found.expected.values.reshape(found.expected.shape))
    assert told


def test_a_sample_shows_it_too() -> None:
    found, told = undone(_pair(Sampled.of(OBLONG, 7), OBLONG.transpose(NHWC)), TOLERANCE)
    np.testing.assert_array_equal(found.actual, OBLONG)
    assert told


def test_where_no_value_fits_the_shape_decides() -> None:
    found, told = undone(_pair(OBLONG, RANDOM.randn(1, 4, 5, 3).astype(np.float32)), TOLERANCE)
    assert found.actual.shape == OBLONG.shape
    assert told


@pytest.mark.parametrize("array", [OBLONG, SQUARE, OBLONG[0]])
def test_nothing_is_done_to_what_fits(array: np.ndarray) -> None:
    pair = _pair(array, array)
    assert undone(pair, TOLERANCE) == (pair, "")


def test_nothing_is_done_where_only_the_values_are_wrong() -> None:
    wrong = _pair(OBLONG, RANDOM.randn(*OBLONG.shape).astype(np.float32))
    assert undone(wrong, TOLERANCE) == (wrong, "")
    assert explained(wrong, TOLERANCE) == ""
    nan = _pair(SQUARE, np.full_like(SQUARE, np.nan))
    assert undone(nan, TOLERANCE) == (nan, "")
    assert explained(nan, TOLERANCE) == ""


def test_what_is_empty_has_no_order() -> None:
    empty = _pair(np.zeros((1, 0), np.float32), np.zeros((1, 0), np.float32))
    assert explained(empty, TOLERANCE) == ""


@pytest.mark.filterwarnings("error")
def test_what_is_infinite_has_no_usual_error_and_says_nothing_beside() -> None:
    endless = _pair(np.full((2, 3), np.inf, np.float32), np.zeros((3, 2), np.float32))
    assert explained(endless, TOLERANCE) == ""


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_constants_have_no_order(constant: float) -> None:
    flat = _pair(np.full((1, 2, 3, 4), constant, np.float32), np.full((1, 2, 3, 4), constant + 1, np.float32))
    assert undone(flat, TOLERANCE) == (flat, "")
    assert explained(flat, TOLERANCE) == ""


@pytest.mark.parametrize("noise", [0, 0.1], ids=["exact", FLAWED])
@pytest.mark.parametrize("array", [OBLONG, SQUARE, OBLONG[0], OBLONG[0, 0]], ids=str)
def test_a_swap_is_named_and_not_undone(array: np.ndarray, noise: float) -> None:
    last = array.ndim - 1
    swapped = array.swapaxes(last - 1, last)
    noisy = swapped + np.float32(noise) * RANDOM.randn(*swapped.shape).astype(np.float32)
    for actual in (noisy, noisy.reshape(array.shape)):
        pair = _pair(array, actual)
        assert undone(pair, TOLERANCE) == (pair, "")
        assert explained(pair, TOLERANCE) == f"agrees when its axes {last - 1} and {last} are swapped"


def test_a_swap_that_has_the_shape_of_nhwc_is_no_nhwc() -> None:
    array = RANDOM.randn(1, 3, 4, 3).astype(np.float32)
    pair = _pair(array, array.swapaxes(1, 2))
    assert pair.actual.shape == array.transpose(NHWC).shape
    assert undone(pair, TOLERANCE) == (pair, "")
    assert explained(pair, TOLERANCE) == "agrees when its axes 1 and 2 are swapped"


def test_other_orders_are_named() -> None:
    pair = _pair(OBLONG[0], OBLONG[0].transpose(2, 0, 1))
    assert explained(pair, TOLERANCE) == "agrees when its axes are read in the order [2, 0, 1] of those expected"


def test_a_sample_of_the_other_side_shows_no_order() -> None:
    """Of most elements nothing is known."""
    pair = Pair(Sampled.of(OBLONG, 7), np.ascontiguousarray(OBLONG.transpose(NHWC)), whole=False)
    assert undone(pair, TOLERANCE) == (pair, "")
