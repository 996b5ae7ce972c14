"""Ops that move elements without changing them (coremltools `tensor_transformation.py` of iOS 15 to 18)."""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from validators.coreml.registry import ints, kernel


@kernel("expand_dims")
def expand_dims(*, x: Tensor, axes: Tensor) -> Tensor:
    """`axes` count in the result."""
    rank = x.dim() + axes.numel()
    for axis in sorted(axis % rank for axis in ints(axes)):
        x = x.unsqueeze(axis)
    return x


@kernel("squeeze")
def squeeze(*, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Leaves axes whose size is not one."""
    return x.squeeze() if axes is None else x.squeeze(tuple(ints(axes)))


@kernel("transpose")
def transpose(*, x: Tensor, perm: Tensor) -> Tensor:
    return x.permute(ints(perm)) if x.dim() else x


@kernel("reshape")
def reshape(*, x: Tensor, shape: Tensor) -> Tensor:
    """A 0 keeps the dimension of x in the same place, which needs equal ranks; -1 takes what is left."""
    sizes = ints(shape)
    if 0 in sizes and len(sizes) != x.dim():
        raise ValueError(f"shape {sizes} has a 0, so its length must be the rank of x, {x.dim()}")
    return x.reshape([size or x.shape[dim] for dim, size in enumerate(sizes)])


@kernel("reshape", opset="iOS17")
def reshape_right_aligned(*, x: Tensor, shape: Tensor) -> Tensor:
    """A 0 keeps the dimension of x at the same distance from the end, 1 where x has none; -1 takes what is left."""
    sizes = ints(shape)
    aligned = [1] * (len(sizes) - x.dim()) + list(x.shape[max(0, x.dim() - len(sizes)) :])
    return x.reshape([size or kept for size, kept in zip(sizes, aligned, strict=True)])


@kernel("reshape_like", opset="iOS16")
def reshape_like(
    *,
    x: Tensor,
    ref_tensors: tuple[Tensor, ...],
    begins: tuple[Tensor, ...],
    ends: tuple[Tensor, ...],
    end_masks: tuple[Tensor, ...],
) -> Tensor:
    """The shape is put together from a range of dimensions of each reference."""
    sizes: list[int] = []
    for reference, begin, end, end_mask in zip(ref_tensors, begins, ends, end_masks, strict=True):
        sizes += reference.shape[int(begin) : None if bool(end_mask) else int(end)]
    return x.reshape(sizes)


@kernel("reverse")
def reverse(*, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """All axes where none are given."""
    return x.flip(list(range(x.dim())) if axes is None else ints(axes))


@kernel("reverse_sequence")
def reverse_sequence(*, x: Tensor, lengths: Tensor, seq_axis: Tensor, batch_axis: Tensor) -> Tensor:
    """Reverses the first `lengths[i]` elements along `seq_axis` of the i-th slice along `batch_axis`."""
    sequence, batch = int(seq_axis) % x.dim(), int(batch_axis) % x.dim()
    steps = torch.arange(x.shape[sequence])
    lengths = lengths.long().unsqueeze(-1)
    source = torch.where(steps < lengths, lengths - 1 - steps, steps)
    shape = [1] * x.dim()
    shape[batch], shape[sequence] = source.shape
    source = (source if batch < sequence else source.T).reshape(shape)
    return torch.gather(x, sequence, source.expand(x.shape))


def _axis_range(
    size: int, begin: int, end: int, stride: int, begin_mask: bool, end_mask: bool, squeeze_mask: bool
) -> range:
    """The indices that one axis of `slice_by_index` selects.

    As NumPy's, but for a negative stride a negative `end` reaches no further than index 0, which stays excluded, and an
    axis of size one comes out whole unless both bounds count from its start: so the file's types say (coremltools
    `ops/defs/_utils.py`, `solve_slice_by_index_shape`).
    """
    first = begin if begin >= 0 else max(0, begin + size)
    if squeeze_mask:
        index = (0 if stride > 0 else size - 1) if begin_mask else first
        if not 0 <= index < size:
            raise IndexError(f"begin {begin} is outside an axis of size {size}")
        return range(index, index + 1)
    stop = end if end >= 0 else max(0, end + size)
    if stride > 0:
        picked = range(0 if begin_mask else first, size if end_mask else min(stop, size), stride)
    else:
        picked = range(size - 1 if begin_mask else min(first, size - 1), -1 if end_mask else stop, stride)
    from_start = begin >= 0 and end >= 0 and stride > 0
    return range(1) if size == 1 and not picked and not from_start else picked


def _selected(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None,
    begin_mask: Tensor | None,
    end_mask: Tensor | None,
    squeeze_mask: Tensor | None,
) -> tuple[tuple[slice, ...], list[int], list[int]]:
    """What `slice_by_index` selects: slices with positive steps, the axes to flip then, and those to squeeze."""
    rank = x.dim()

    def flags(mask: Tensor | None) -> list[bool]:
        return [False] * rank if mask is None else mask.tolist()

    strides = [1] * rank if stride is None else ints(stride)
    squeezed = flags(squeeze_mask)
    ranges = [
        _axis_range(*axis)
        for axis in zip(
            x.shape, ints(begin), ints(end), strides, flags(begin_mask), flags(end_mask), squeezed, strict=True
        )
    ]
    slices = tuple(_ascending(picked) for picked in ranges)
    flipped = [axis for axis, picked in enumerate(ranges) if picked.step < 0]
    return slices, flipped, [axis for axis, gone in enumerate(squeezed) if gone]


def _ascending(picked: range) -> slice:
    """The elements of `picked` in ascending order as a slice."""
    if not picked:
        return slice(0, 0)
    low, high = sorted((picked[0], picked[-1]))
    return slice(low, high + 1, abs(picked.step))


@kernel("slice_by_index")
def slice_by_index(
    *,
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """A set mask means from, or to, the far end in the direction of the stride; a squeezed axis takes `begin` alone."""
    slices, flipped, squeezed = _selected(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    window = x[slices]
    if flipped:
        window = window.flip(flipped)
    return window.squeeze(tuple(squeezed)) if squeezed else window


@kernel("slice_update", opset="iOS18")
def slice_update(
    *,
    x: Tensor,
    update: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """x with `update` written where `slice_by_index` would read."""
    slices, flipped, squeezed = _selected(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    result = x.clone()
    for axis in squeezed:
        update = update.unsqueeze(axis)
    result[slices] = update.flip(flipped)
    return result


@kernel("slice_by_size")
def slice_by_size(*, x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    """A size of -1 takes all that is left; a negative `begin` counts from the end."""
    for axis, (start, length) in enumerate(zip(ints(begin), ints(size), strict=True)):
        start = start if start >= 0 else start + x.shape[axis]
        x = x.narrow(axis, start, x.shape[axis] - start if length == -1 else length)
    return x


@kernel("sliding_windows")
def sliding_windows(*, x: Tensor, axis: Tensor, size: Tensor, stride: Tensor) -> Tensor:
    """Windows of `size` along `axis`, their elements in a new dimension after it."""
    dim = int(axis) % x.dim()
    return x.unfold(dim, int(size), int(stride)).movedim(-1, dim + 1)


@kernel("depth_to_space")
def depth_to_space(*, x: Tensor, block_size: Tensor) -> Tensor:
    """The block's place is the slower part of the channel, as in TensorFlow; `pixel_shuffle` has it the other way."""
    block = int(block_size)
    batch, channels, height, width = x.shape
    split = x.reshape(batch, block, block, channels // block**2, height, width)
    return split.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // block**2, height * block, width * block)


@kernel("space_to_depth")
def space_to_depth(*, x: Tensor, block_size: Tensor) -> Tensor:
    """The inverse of `depth_to_space`."""
    block = int(block_size)
    batch, channels, height, width = x.shape
    split = x.reshape(batch, channels, height // block, block, width // block, block)
    return split.permute(0, 3, 5, 1, 2, 4).reshape(batch, channels * block**2, height // block, width // block)


@kernel("pixel_shuffle")
def pixel_shuffle(*, x: Tensor, upscale_factor: Tensor) -> Tensor:
    return F.pixel_shuffle(x, int(upscale_factor))


@kernel("pixel_unshuffle", opset="iOS16")
def pixel_unshuffle(*, x: Tensor, downscale_factor: Tensor) -> Tensor:
    return F.pixel_unshuffle(x, int(downscale_factor))


@kernel("space_to_batch")
def space_to_batch(*, x: Tensor, block_shape: Tensor, paddings: Tensor) -> Tensor:
    """x is [N, C, H, W]; the block's place is the slower part of the new batch, as in TensorFlow."""
    block = ints(block_shape)
    (top, bottom), (left, right) = paddings.tolist()
    x = F.pad(x, (left, right, top, bottom))
    split = x.reshape(*x.shape[:2], *_tiled(x.shape[2:], block))
    batch, channels, rows, _, columns, _ = split.shape
    return split.permute(3, 5, 0, 1, 2, 4).reshape(batch * prod(block), channels, rows, columns)


def _tiled(sizes: Sequence[int], block: list[int]) -> list[int]:
    """Each size as the number of blocks and the size of a block."""
    return [part for size, step in zip(sizes, block, strict=True) for part in (size // step, step)]


@kernel("batch_to_space")
def batch_to_space(*, x: Tensor, block_shape: Tensor, crops: Tensor) -> Tensor:
    """The inverse of `space_to_batch`."""
    block = ints(block_shape)
    (top, bottom), (left, right) = crops.tolist()
    batch, channels, rows, columns = x.shape
    split = x.reshape(*block, batch // prod(block), channels, rows, columns).permute(2, 3, 4, 0, 5, 1)
    whole = split.reshape(batch // prod(block), channels, rows * block[0], columns * block[1])
    return whole[:, :, top : whole.shape[2] - bottom, left : whole.shape[3] - right]
