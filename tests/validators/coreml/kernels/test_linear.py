"""Matrix products against coremltools' value inference and NumPy."""

import numpy as np
import pytest


def draw(rng, *shape, dtype=np.float32):
    return (rng.normal(size=shape) * 3).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 5)])
@pytest.mark.parametrize("biased", [True, False])
def test_linear(infer_op, rng, shape, biased, dtype):
    bias = {"bias": draw(rng, 3, dtype=dtype)} if biased else {}
    result, expected = infer_op("linear", x=draw(rng, *shape, dtype=dtype), weight=draw(rng, 3, 5, dtype=dtype), **bias)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_linear_mixes_types_from_ios17_on(run_op, rng):
    x, weight = draw(rng, 2, 5).astype(np.float16), draw(rng, 3, 5)
    result = run_op("linear", {"x": x}, "iOS17", weight=weight, bias=draw(rng, 3) * 0)
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, (x.astype(np.float32) @ weight.T).astype(np.float16), rtol=1e-3)


SHAPES = [
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (6, 3, 4)),
    ((1, 5, 2, 3), (7, 1, 3, 4)),
    ((3,), (3, 4)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize(("left", "right"), SHAPES)
@pytest.mark.parametrize(("transpose_x", "transpose_y"), [(False, False), (True, False), (False, True), (True, True)])
def test_matmul(infer_op, rng, left, right, transpose_x, transpose_y, dtype):
    transpose_x = transpose_x and len(left) > 1
    x, y = draw(rng, *left, dtype=dtype), draw(rng, *right, dtype=dtype)
    x = np.ascontiguousarray(np.swapaxes(x, -1, -2)) if transpose_x else x
    y = np.ascontiguousarray(np.swapaxes(y, -1, -2)) if transpose_y else y
    result, expected = infer_op("matmul", x=x, y=y, transpose_x=transpose_x, transpose_y=transpose_y)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_matmul_accumulates_float16_in_float32(run_op):
    x, y = np.full((1, 4096), 1.0, np.float16), np.full((4096, 1), 1.0, np.float16)
    assert run_op("matmul", {"x": x, "y": y}) == 4096  # adding ones in float16 ends at 2048


def test_matmul_takes_the_type_of_what_is_not_constant_from_ios17_on(run_op, rng):
    x, y = draw(rng, 2, 3).astype(np.float16), draw(rng, 3, 4)
    result = run_op("matmul", {"x": x}, "iOS17", y=y)
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, x.astype(np.float32) @ y, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("nchw,nwhu->nchu", (2, 3, 4, 5), (2, 5, 4, 6)),
        ("bcij,bjik->bcik", (1, 3, 4, 5), (2, 5, 1, 6)),
        ("chw,whr->chr", (3, 4, 5), (5, 4, 6)),
        ("chw,whr->chr", (3, 1, 5), (5, 4, 6)),
    ],
)
def test_einsum(infer_op, rng, equation, left, right):
    result, expected = infer_op("einsum", values=(draw(rng, *left), draw(rng, *right)), equation=equation)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
