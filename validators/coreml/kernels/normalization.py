"""Normalisations (coremltools `iOS15/normalization.py`; iOS 17 only frees the types of the parameters)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from validators.coreml.registry import ints, kernel


@kernel("batch_norm")
def batch_norm(
    *,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
) -> Tensor:
    """x is [N, C, ...]; the parameters hold one value for each channel."""
    return F.batch_norm(x, mean, variance, gamma, beta, eps=float(epsilon))


@kernel("instance_norm")
def instance_norm(*, x: Tensor, epsilon: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
    """x is [N, C, ...]; mean and biased variance of each channel of each example."""
    dims = tuple(range(2, x.dim()))
    per_channel = (-1,) + (1,) * len(dims)
    return _affine(_standardised(x, dims, epsilon), gamma, beta, per_channel)


@kernel("layer_norm")
def layer_norm(
    *,
    x: Tensor,
    epsilon: Tensor,
    axes: Tensor | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
) -> Tensor:
    """Mean and biased variance over `axes`, which need not be the last ones; gamma and beta have the shape of those."""
    rank = x.dim()
    dims = sorted(range(rank) if axes is None else {axis % rank for axis in ints(axes)})
    if dims == list(range(rank - len(dims), rank)):
        return F.layer_norm(x, x.shape[dims[0] :], gamma, beta, eps=float(epsilon))
    shape = tuple(size if dim in dims else 1 for dim, size in enumerate(x.shape))
    return _affine(_standardised(x, tuple(dims), epsilon), gamma, beta, shape)


def _standardised(x: Tensor, dims: tuple[int, ...], epsilon: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(variance + epsilon)


def _affine(x: Tensor, gamma: Tensor | None, beta: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    if gamma is not None:
        x = x * gamma.reshape(shape)
    return x if beta is None else x + beta.reshape(shape)


@kernel("l2_norm")
def l2_norm(*, x: Tensor, epsilon: Tensor) -> Tensor:
    """`x / sqrt(sum(x^2) + epsilon)` over the last three dimensions."""
    return x / torch.sqrt(x.square().sum((-3, -2, -1), keepdim=True) + epsilon)


@kernel("local_response_norm")
def local_response_norm(*, x: Tensor, size: Tensor, alpha: Tensor, beta: Tensor, k: Tensor) -> Tensor:
    """`x / (k + alpha / size * sum(x^2))^beta` over the neighbouring channels; x is [N, C, ...].

    The window reaches (size - 1) // 2 channels to each side, so an even size covers one channel less than it divides
    by: so the runtime does, as the fixed numbers in coremltools' test_normalization.py record for size 2.
    """
    width = (int(size) - 1) // 2 * 2 + 1
    return F.local_response_norm(x, width, float(alpha) * width / int(size), float(beta), float(k))
