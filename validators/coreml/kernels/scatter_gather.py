"""Gather and scatter (coremltools `scatter_gather.py` of iOS 15 to 17).

Up to iOS 16 a negative index counts from the end. From iOS 17 on it is out of bounds, and so are indices past the end:
`validate_indices` makes that an error, else the result is undefined but safe. Then a gather here reads as before, as
coremltools' own constant folding does, with indices past the end clamped, and a scatter writes nothing, as coremltools'
tests of the runtime have it (`ops/tests/iOS17/test_scatter_gather.py`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from validators.coreml.registry import kernel

_ACCUMULATE: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _from_start(indices: Tensor, size: int) -> Tensor:
    """int64 indices with the negative ones counted from the end."""
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)


def _within(indices: Tensor, sizes: Sequence[int]) -> Tensor:
    """Which indices are in bounds; the last dimension of `indices` runs over the axes of `sizes`."""
    return ((indices >= 0) & (indices < torch.tensor(sizes))).all(-1)


def _checked(indices: Tensor, sizes: Sequence[int], validate: bool) -> Tensor:
    """Indices safe to read with from iOS 17 on. Raises `IndexError` on the first one out of bounds if asked to."""
    if validate and not bool((within := _within(indices, sizes)).all()):
        raise IndexError(f"index {indices[~within][0].tolist()} is out of bounds for size {list(sizes)}")
    limits = torch.tensor(sizes)
    indices = torch.where(indices < 0, indices + limits, indices.long())
    return torch.minimum(indices.clamp(min=0), limits - 1)


@kernel("gather")
@kernel("gather", opset="iOS16")
def gather(*, x: Tensor, indices: Tensor, axis: Tensor, batch_dims: Tensor | None = None) -> Tensor:
    """Slices of x along `axis`, [*batch, *before, *indices, *after] for indices of shape [*batch, *indices]."""
    dim = int(axis) % x.dim()
    return _gather(x, _from_start(indices, x.shape[dim]), dim, 0 if batch_dims is None else int(batch_dims))


@kernel("gather", opset="iOS17")
def gather_validated(
    *, x: Tensor, indices: Tensor, axis: Tensor, batch_dims: Tensor, validate_indices: Tensor
) -> Tensor:
    dim = int(axis) % x.dim()
    safe = _checked(indices.unsqueeze(-1), (x.shape[dim],), bool(validate_indices)).squeeze(-1)
    return _gather(x, safe, dim, int(batch_dims))


def _gather(x: Tensor, indices: Tensor, axis: int, batch_dims: int) -> Tensor:
    if batch_dims == 0:
        picked = x.index_select(axis, indices.reshape(-1))
        return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    moved = x.movedim(axis, batch_dims)  # [*batch, axis, *before, *after]
    picked = moved[(*_batch_grid(indices, batch_dims), indices)]  # [*batch, *indices, *before, *after]
    inner = indices.dim() - batch_dims
    places = range(batch_dims, batch_dims + inner)
    return picked.movedim(tuple(places), tuple(range(axis, axis + inner)))


def _batch_grid(indices: Tensor, batch_dims: int) -> list[Tensor]:
    """For each batch dimension its own positions, shaped to broadcast against `indices`."""
    grid = []
    for dim in range(batch_dims):
        shape = [1] * indices.dim()
        shape[dim] = indices.shape[dim]
        grid.append(torch.arange(indices.shape[dim]).reshape(shape))
    return grid


@kernel("gather_along_axis")
def gather_along_axis(*, x: Tensor, indices: Tensor, axis: Tensor) -> Tensor:
    """`numpy.take_along_axis`."""
    return torch.gather(x, int(axis), _from_start(indices, x.shape[int(axis)]))


@kernel("gather_along_axis", opset="iOS17")
def gather_along_axis_validated(*, x: Tensor, indices: Tensor, axis: Tensor, validate_indices: Tensor) -> Tensor:
    safe = _checked(indices.unsqueeze(-1), (x.shape[int(axis)],), bool(validate_indices)).squeeze(-1)
    return torch.gather(x, int(axis), safe)


@kernel("gather_nd")
@kernel("gather_nd", opset="iOS16")
def gather_nd(*, x: Tensor, indices: Tensor, batch_dims: Tensor | None = None) -> Tensor:
    """The last dimension of `indices` addresses the dimensions of x that follow the batch."""
    skipped = 0 if batch_dims is None else int(batch_dims)
    sizes = torch.tensor(x.shape[skipped : skipped + indices.shape[-1]])
    return _gather_nd(x, torch.where(indices < 0, indices + sizes, indices.long()), skipped)


@kernel("gather_nd", opset="iOS17")
def gather_nd_validated(*, x: Tensor, indices: Tensor, batch_dims: Tensor, validate_indices: Tensor) -> Tensor:
    skipped = int(batch_dims)
    sizes = x.shape[skipped : skipped + indices.shape[-1]]
    return _gather_nd(x, _checked(indices, sizes, bool(validate_indices)), skipped)


def _gather_nd(x: Tensor, indices: Tensor, batch_dims: int) -> Tensor:
    addresses = indices.unbind(-1)
    return x[(*_batch_grid(indices[..., 0], batch_dims), *addresses)]


@kernel("scatter")
def scatter(*, data: Tensor, indices: Tensor, updates: Tensor, axis: Tensor, mode: str) -> Tensor:
    """Updates are [*before, len(indices), *after]; duplicate indices take effect one after the other."""
    dim = int(axis) % data.dim()
    return _scattered(data, updates, (slice(None),) * dim + (_from_start(indices, data.shape[dim]),), mode)


@kernel("scatter", opset="iOS17")
def scatter_validated(
    *, data: Tensor, indices: Tensor, updates: Tensor, axis: Tensor, mode: str, validate_indices: Tensor
) -> Tensor:
    dim = int(axis) % data.dim()
    kept = _kept(indices.unsqueeze(-1), (data.shape[dim],), bool(validate_indices)).nonzero().squeeze(-1)
    return _scattered(data, updates.index_select(dim, kept), (slice(None),) * dim + (indices[kept].long(),), mode)


@kernel("scatter_along_axis")
def scatter_along_axis(*, data: Tensor, indices: Tensor, updates: Tensor, axis: Tensor, mode: str) -> Tensor:
    """`numpy.put_along_axis`, with modes."""
    dim = int(axis) % data.dim()
    grid: list[Any] = list(np.indices(indices.shape, sparse=True))
    grid[dim] = _from_start(indices, data.shape[dim])
    return _scattered(data, updates, tuple(grid), mode)


@kernel("scatter_along_axis", opset="iOS17")
def scatter_along_axis_validated(
    *, data: Tensor, indices: Tensor, updates: Tensor, axis: Tensor, mode: str, validate_indices: Tensor
) -> Tensor:
    dim = int(axis) % data.dim()
    kept = _kept(indices.unsqueeze(-1), (data.shape[dim],), bool(validate_indices))
    grid = list(kept.nonzero(as_tuple=True))
    grid[dim] = indices[kept].long()
    return _scattered(data, updates[kept], tuple(grid), mode)


@kernel("scatter_nd")
def scatter_nd(*, data: Tensor, indices: Tensor, updates: Tensor, mode: str) -> Tensor:
    """Updates are [*indices.shape[:-1], *rest] where the last dimension of `indices` addresses data's first ones."""
    sizes = torch.tensor(data.shape[: indices.shape[-1]])
    return _scattered(data, updates, torch.where(indices < 0, indices + sizes, indices.long()).unbind(-1), mode)


@kernel("scatter_nd", opset="iOS17")
def scatter_nd_validated(
    *, data: Tensor, indices: Tensor, updates: Tensor, mode: str, validate_indices: Tensor
) -> Tensor:
    kept = _kept(indices, data.shape[: indices.shape[-1]], bool(validate_indices))
    return _scattered(data, updates[kept], indices[kept].long().unbind(-1), mode)


def _kept(indices: Tensor, sizes: Sequence[int], validate: bool) -> Tensor:
    """Which indices are written from iOS 17 on. Raises `IndexError` on the first one out of bounds if asked to."""
    within = _within(indices, sizes)
    if validate and not bool(within.all()):
        raise IndexError(f"index {indices[~within][0].tolist()} is out of bounds for size {list(sizes)}")
    return within


def _scattered(data: Tensor, updates: Tensor, places: Sequence[Tensor | np.ndarray | slice], mode: str) -> Tensor:
    """`data` with `updates` merged in at `places`, a NumPy index.

    NumPy, not torch: its `ufunc.at` and its assignment take duplicates in order, which torch leaves undefined.
    """
    result = data.numpy().copy()
    index = tuple(place.numpy() if isinstance(place, Tensor) else place for place in places)
    if mode == "update":
        result[index] = updates.numpy()
    elif mode == "div":
        divide: Any = np.divide if data.is_floating_point() else np.floor_divide
        divide.at(result, index, updates.numpy())
    elif mode in _ACCUMULATE:
        _ACCUMULATE[mode].at(result, index, updates.numpy())
    else:
        raise ValueError(f"mode {mode!r} is unknown; expected update, div, {', '.join(_ACCUMULATE)}")
    return torch.from_numpy(result)
