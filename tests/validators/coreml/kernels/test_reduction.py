"""Reductions against coremltools' value inference, NumPy and SciPy."""

import numpy as np
import pytest
import scipy.special

NAMES = ["l1_norm", "l2_norm", "log_sum", "log_sum_exp", "max", "mean", "min", "prod", "sum", "sum_square"]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("keep_dims", [True, False])
@pytest.mark.parametrize("axes", [None, [0], [-1], [1, -1], [2, 0, 1]])
@pytest.mark.parametrize("name", NAMES)
def test_reduction(infer_op, rng, name, axes, keep_dims, dtype):
    if name == "log_sum_exp" and axes is not None and len(axes) > 1 and not keep_dims:
        axes = axes[:1]  # coremltools squeezes by a list, which NumPy refuses
    x = rng.integers(1, 4, size=(2, 3, 4)).astype(dtype)
    options = {} if axes is None else {"axes": axes}
    result, expected = infer_op(f"reduce_{name}", x=x, keep_dims=keep_dims, **options)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("keep_dims", [True, False])
def test_log_sum_exp_over_several_axes_stays_finite(run_op, rng, keep_dims):
    x = (rng.normal(size=(2, 3, 4)) * 200).astype(np.float32)
    result = run_op("reduce_log_sum_exp", {"x": x}, axes=[0, 2], keep_dims=keep_dims)
    expected = scipy.special.logsumexp(x.astype(np.float64), axis=(0, 2), keepdims=keep_dims)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 4, 5), (2, 1, 3, 2, 2)])
@pytest.mark.parametrize("name", ["sum", "prod", "max"])
def test_ranks(run_op, rng, shape, name):
    x = rng.normal(size=shape).astype(np.float32)
    function = getattr(np, name)
    for axis in range(-len(shape), len(shape)):
        result = run_op(f"reduce_{name}", {"x": x}, axes=[axis], keep_dims=True)
        np.testing.assert_allclose(result, function(x, axis, keepdims=True), rtol=1e-5, atol=1e-6)


def test_the_mean_of_integers_truncates(run_op):
    x = np.array([[1, 2], [-1, -2]], np.int32)
    np.testing.assert_array_equal(run_op("reduce_mean", {"x": x}, axes=[1]), [1, -1])


def test_float16_sums_do_not_saturate_on_the_way(run_op):
    x = np.array([60000.0, 60000.0, -60000.0], np.float16)
    assert run_op("reduce_sum", {"x": x}, axes=[0], keep_dims=True) == np.float16(60000)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("keep_dims", [True, False])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_arg_reductions_take_the_first_of_equals(infer_op, rng, name, axis, keep_dims, dtype):
    x = rng.integers(0, 3, size=(3, 8, 5)).astype(dtype)
    result, expected = infer_op(f"reduce_{name}", x=x, axis=axis, keep_dims=keep_dims)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, expected)


def test_arg_reductions_give_uint16_from_ios17_on(run_op, rng):
    x = rng.normal(size=(3, 4)).astype(np.float32)
    result = run_op("reduce_argmax", {"x": x}, "iOS17", output_dtype="uint16")
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, x.argmax(-1))
