"""Pools over [N, C, *spatial] with one to three spatial dimensions (coremltools `iOS15/pool.py`)."""

from math import inf, prod

import torch
import torch.nn.functional as F
from torch import Tensor

from validators.coreml.kernels.conv import Pads, padded, spatial_pads
from validators.coreml.registry import ints, kernel

_AVG_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def _window_pads(
    x: Tensor, kernel_sizes: list[int], strides: list[int], pad_type: str, pad: Tensor, ceil_mode: Tensor
) -> Pads:
    """Padding by which the windows cover each spatial dimension exactly; what no window reaches is cropped.

    With `ceil_mode` a last window may hang over the end, but where there is padding it must start before the padding
    at the end (coremltools `ops/defs/_utils.py`, `spatial_dimensions_out_shape`).
    """
    sizes = list(x.shape[2:])
    pads = []
    for size, window, stride, (before, after) in zip(
        sizes, kernel_sizes, strides, spatial_pads(pad_type, pad, sizes, kernel_sizes, strides), strict=True
    ):
        room = size + before + after - window
        count = (room + stride - 1 if bool(ceil_mode) else room) // stride + 1
        if bool(ceil_mode) and before + after > 0 and (count - 1) * stride >= size + (before + after) / 2:
            count -= 1
        pads.append((before, (count - 1) * stride + window - size - before))
    return pads


def _fits(pads: Pads, kernel_sizes: list[int], strides: list[int]) -> bool:
    """Whether torch's own padding gives the same windows: as much after as before, and no more than half a window."""
    return all(
        before <= window // 2 and before - stride < after <= before
        for (before, after), window, stride in zip(pads, kernel_sizes, strides, strict=True)
    )


@kernel("max_pool")
def max_pool(
    *, x: Tensor, kernel_sizes: Tensor, strides: Tensor, pad_type: str, pad: Tensor, ceil_mode: Tensor
) -> Tensor:
    """Padding never wins."""
    window, stride = ints(kernel_sizes), ints(strides)
    pads = _window_pads(x, window, stride, pad_type, pad, ceil_mode)
    if _fits(pads, window, stride):
        return _MAX_POOL[len(pads)](x, window, stride, [before for before, _ in pads])
    return _MAX_POOL[len(pads)](padded(x, pads, -inf), window, stride)


@kernel("avg_pool")
def avg_pool(
    *,
    x: Tensor,
    kernel_sizes: Tensor,
    strides: Tensor,
    pad_type: str,
    pad: Tensor,
    ceil_mode: Tensor,
    exclude_padding_from_average: Tensor,
) -> Tensor:
    """Divides by the size of the window, what hangs over the end included, or by the elements of x within it."""
    window, stride = ints(kernel_sizes), ints(strides)
    pads = _window_pads(x, window, stride, pad_type, pad, ceil_mode)
    pool = _AVG_POOL[len(pads)]
    if _fits(pads, window, stride):
        counted = not bool(exclude_padding_from_average)
        return pool(x, window, stride, [before for before, _ in pads], count_include_pad=counted)
    average = pool(padded(x, pads), window, stride)
    if not bool(exclude_padding_from_average):
        return average
    share = pool(padded(torch.ones_like(x[:1, :1]), pads), window, stride)
    return average / share


@kernel("l2_pool")
def l2_pool(
    *, x: Tensor, kernel_sizes: Tensor, strides: Tensor, pad_type: str, pad: Tensor, ceil_mode: Tensor
) -> Tensor:
    """`sqrt(sum(x^2))` of each window."""
    window, stride = ints(kernel_sizes), ints(strides)
    squares = padded(x.square(), _window_pads(x, window, stride, pad_type, pad, ceil_mode))
    return torch.sqrt(_AVG_POOL[len(window)](squares, window, stride) * prod(window))
