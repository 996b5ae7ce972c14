"""Reductions (coremltools `iOS15/reduction.py`; iOS 17 adds the output type of the index ops).

Integers are reduced in float64 where the result is not an integer, and truncated by their declared type.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from validators.coreml.registry import ints, kernel


def _reduced(
    reduce: Callable[..., Tensor], x: Tensor, axes: Tensor | None, keep_dims: Tensor, **options: Any
) -> Tensor:
    """`reduce` over `axes`, over all dimensions when there are none given, over none when the list is empty."""
    rank = x.dim()
    dims = tuple(range(rank)) if axes is None else tuple({axis % rank for axis in ints(axes)})
    if not dims:  # torch takes an empty tuple for all dimensions
        return reduce(x.unsqueeze(-1), dim=(-1,), keepdim=False, **options)
    return reduce(x, dim=dims, keepdim=bool(keep_dims), **options)


def _fractional(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.double()


@kernel("reduce_sum")
def reduce_sum(*, x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(torch.sum, x, axes, keep_dims, dtype=x.dtype)


@kernel("reduce_l1_norm")
def reduce_l1_norm(*, x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(torch.sum, x.abs(), axes, keep_dims, dtype=x.dtype)


@kernel("reduce_sum_square")
def reduce_sum_square(*, x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(torch.sum, x * x, axes, keep_dims, dtype=x.dtype)


@kernel("reduce_l2_norm")
def reduce_l2_norm(*, x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(torch.sum, _fractional(x).square(), axes, keep_dims).sqrt()


@kernel("reduce_log_sum")
def reduce_log_sum(*, x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(torch.sum, _fractional(x), axes, keep_dims).log()


@kernel("reduce_log_sum_exp")
def reduce_log_sum_exp(*, x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(torch.logsumexp, _fractional(x), axes, keep_dims)


@kernel("reduce_mean")
def reduce_mean(*, x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(torch.mean, _fractional(x), axes, keep_dims)


@kernel("reduce_max")
def reduce_max(*, x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(torch.amax, x, axes, keep_dims)


@kernel("reduce_min")
def reduce_min(*, x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(torch.amin, x, axes, keep_dims)


@kernel("reduce_prod")
def reduce_prod(*, x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(_prod, x, axes, keep_dims)


def _prod(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """torch multiplies along one dimension at a time: the last ones first, so that the others keep their place."""
    for axis in sorted(dim, reverse=True):
        x = torch.prod(x, axis, keepdim=keepdim, dtype=x.dtype)
    return x


@kernel("reduce_argmax")
def reduce_argmax(*, x: Tensor, axis: Tensor, keep_dims: Tensor, output_dtype: str = "int32") -> Tensor:
    """The first of several equal maxima, as NumPy has it; MIL leaves the choice open."""
    return torch.argmax(x, int(axis), keepdim=bool(keep_dims))


@kernel("reduce_argmin")
def reduce_argmin(*, x: Tensor, axis: Tensor, keep_dims: Tensor, output_dtype: str = "int32") -> Tensor:
    """The first of several equal minima, as NumPy has it; MIL leaves the choice open."""
    return torch.argmin(x, int(axis), keepdim=bool(keep_dims))
