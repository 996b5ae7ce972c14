"""Elementwise binary ops against NumPy and coremltools' value inference."""

import numpy as np
import pytest

ARITHMETIC = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,
    "floor_div": np.floor_divide,
}
COMPARISONS = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
}
SHAPES = [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((3, 1), (1, 4)), ((2, 1, 3, 1, 2), (4, 1, 5, 1)), ((3, 4), (1,))]


def operands(rng, shapes, dtype):
    x, y = (rng.integers(-9, 10, size=shape).astype(dtype) for shape in shapes)
    y[y == 0] = 3
    return x, y


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("name", [*ARITHMETIC, *COMPARISONS])
def test_as_numpy(run_op, rng, name, shapes, dtype):
    x, y = operands(rng, shapes, dtype)
    function = ARITHMETIC.get(name) or COMPARISONS[name]
    result = run_op(name, {"x": x, "y": y})
    assert result.dtype == (np.bool_ if name in COMPARISONS else dtype)
    np.testing.assert_array_equal(result, function(x, y))


@pytest.mark.parametrize("name", ["mod", "floor_div"])
def test_fractions_of_negative_numbers(run_op, name):
    x, y = np.array([7.5, -7.5, 7.5, -7.5, 0.3], np.float32), np.array([2.0, 2.0, -2.0, -2.0, 0.1], np.float32)
    np.testing.assert_allclose(run_op(name, {"x": x, "y": y}), ARITHMETIC[name](x, y), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
def test_real_div_keeps_the_type(run_op, rng, dtype):
    x, y = operands(rng, SHAPES[0], dtype)
    expected = np.trunc(x / y) if dtype == np.int32 else x.astype(np.float64) / y
    np.testing.assert_allclose(run_op("real_div", {"x": x, "y": y}), expected.astype(dtype), rtol=1e-6)


@pytest.mark.parametrize("name", ["real_div", "mod", "floor_div"])
def test_integers_over_zero_are_zero(run_op, name):
    x, y = np.array([5, -5, 0, 7], np.int32), np.array([0, 0, 0, 2], np.int32)
    np.testing.assert_array_equal(run_op(name, {"x": x, "y": y})[:3], [0, 0, 0])


def test_floats_over_zero(run_op):
    x, y = np.array([1.0, -1.0, 0.0], np.float32), np.zeros(3, np.float32)
    np.testing.assert_array_equal(run_op("real_div", {"x": x, "y": y}), [np.inf, -np.inf, np.nan])


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_nan_wins(run_op, name):
    x, y = np.array([np.nan, 1.0], np.float32), np.array([1.0, np.nan], np.float32)
    assert np.isnan(run_op(name, {"x": x, "y": y})).all()


def test_integers_wrap(run_op):
    x = np.array([2**31 - 1, 2**20], np.int32)
    np.testing.assert_array_equal(run_op("mul", {"x": x, "y": x}), x * x)


def test_float16_overflows(run_op):
    x = np.array([300.0], np.float16)
    assert run_op("mul", {"x": x, "y": x}) == np.inf


def test_pow(infer_op):
    for x, y in (
        (np.array([2.0, 0.5, -3.0, 0.0, 4.0], np.float32), np.array([3.0, -2.0, 2.0, 0.0, 0.5], np.float32)),
        (np.array([2, -3, 0, 5], np.int32), np.array([10, 3, 0, 0], np.int32)),
    ):
        result, expected = infer_op("pow", x=x, y=y)
        np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logic(infer_op, name):
    x, y = np.array([[True], [False]]), np.array([True, False])
    result, expected = infer_op(name, x=x, y=y)
    assert result.shape == (2, 2)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", ["real_div", "mod", "floor_div"])
def test_the_least_integer_by_minus_one_ends_nothing(run_op, name):
    """A processor traps this quotient, which no int32 holds; it wraps."""
    x, y = np.full(3, -(2**31), np.int32), np.array([-1, 1, 2], np.int32)
    expected = {"mod": [0, 0, 0]}.get(name, [-(2**31), -(2**31), -(2**30)])
    np.testing.assert_array_equal(run_op(name, {"x": x, "y": y}), expected)
