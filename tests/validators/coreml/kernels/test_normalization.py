"""Normalisations against PyTorch and coremltools' value inference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F


def draw(rng, *shape):
    return (rng.normal(size=shape) * 2 + 0.5).astype(np.float32)


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 4, 5), (2, 3, 2, 3, 4)])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("epsilon", [None, 0.1])
def test_batch_norm(run_op, rng, shape, affine, epsilon):
    x, mean, variance, gamma, beta = draw(rng, *shape), draw(rng, 3), np.abs(draw(rng, 3)), draw(rng, 3), draw(rng, 3)
    options = {"gamma": gamma, "beta": beta} if affine else {}
    if epsilon is not None:
        options["epsilon"] = np.float32(epsilon)
    expected = F.batch_norm(
        *map(torch.from_numpy, (x, mean, variance)),
        *(map(torch.from_numpy, (gamma, beta)) if affine else ()),
        eps=epsilon or 1e-5,
    )
    result = run_op("batch_norm", {"x": x}, mean=mean, variance=variance, **options)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 4, 5)])
@pytest.mark.parametrize("affine", [True, False])
def test_instance_norm(run_op, rng, shape, affine):
    x, gamma, beta = draw(rng, *shape), draw(rng, 3), draw(rng, 3)
    options = {"gamma": gamma, "beta": beta} if affine else {}
    expected = F.instance_norm(
        torch.from_numpy(x),
        **{name: torch.from_numpy(options[key]) for name, key in (("weight", "gamma"), ("bias", "beta")) if affine},
    )
    np.testing.assert_allclose(run_op("instance_norm", {"x": x}, **options), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axes", [[0, 1, 2], [-1], [1, 2], [-2, -1], [1], [0, 2], [2, 0, 1]])
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(infer_op, rng, axes, affine):
    x = draw(rng, 3, 4, 5)
    normalised = sorted(axis % 3 for axis in axes)
    shape = [x.shape[axis] for axis in normalised]
    options = {"gamma": draw(rng, *shape), "beta": draw(rng, *shape)} if affine else {}
    result, expected = infer_op("layer_norm", x=x, axes=axes, **options)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_layer_norm_variance_is_biased(run_op):
    result = run_op("layer_norm", {"x": np.array([[1.0, 3.0]], np.float32)}, axes=[-1], epsilon=np.float32(0.0))
    np.testing.assert_allclose(result, [[-1.0, 1.0]])


@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 2, 3, 4), (2, 3, 2, 3, 4)])
@pytest.mark.parametrize("epsilon", [1e-6, 4.0])
def test_l2_norm(infer_op, rng, shape, epsilon):
    result, expected = infer_op("l2_norm", x=draw(rng, *shape), epsilon=np.float32(epsilon))
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 6, 4), (2, 6, 3, 4)])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_local_response_norm(run_op, rng, shape, size):
    x = draw(rng, *shape)
    result = run_op(
        "local_response_norm", {"x": x}, size=size, alpha=np.float32(0.5), beta=np.float32(0.7), k=np.float32(2.0)
    )
    padded = np.pad(np.square(x.astype(np.float64)), [(0, 0), ((size - 1) // 2,) * 2, *[(0, 0)] * (len(shape) - 2)])
    sums = sum(padded[:, shift : shift + x.shape[1]] for shift in range((size - 1) // 2 * 2 + 1))
    np.testing.assert_allclose(result, x / (2.0 + 0.5 / size * sums) ** 0.7, rtol=1e-5)


def test_parameters_may_differ_in_type_from_ios17_on(run_op, rng):
    x = draw(rng, 2, 3, 8).astype(np.float16)
    result = run_op("instance_norm", {"x": x}, "iOS17", gamma=np.ones(3, np.float32), beta=np.zeros(3, np.float32))
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, F.instance_norm(torch.from_numpy(x).float()), rtol=2e-3, atol=1e-3)
