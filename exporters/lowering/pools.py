"""A convolution and the average pooling behind it, as one strided convolution.

With kernel w, stride s and padding p, then an average of P neighbours at stride P, on one axis:

    z[i] = 1/P sum_a y[P i + a] = 1/P sum_a sum_j w[j] x[s (P i + a) + j - p] = sum_m v[m] x[s P i + m - p]
    v[m] = 1/P sum_a w[m - s a]

v has k + s (P - 1) taps, the stride is s P, and padding and bias stay. The number of results is the same for every
size, odd ones too: floor((n - P) / P) of n = floor((size + 2 p - k) / s) + 1 places is floor((size + 2 p - k -
s (P - 1)) / (s P)). Each axis of a kernel goes by itself, and grouped convolutions alike. Three taps and a pooling by
two make four taps: 16 products in place of 36 for a result of two axes, and nothing is stored in between.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from exporters.lowering.graph import change_layer, feeds_only, layer, nodes, place, same_kind, take_over

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)


def merge_pools(graph: GraphModule) -> Iterator[str]:
    """Merge each average pooling that stands behind a convolution and costs no more so; yields where."""
    for node in nodes(graph):
        pool = layer(node)
        if not isinstance(pool, (nn.AvgPool1d, nn.AvgPool2d)):
            continue
        (before,) = node.all_input_nodes
        conv = layer(before)
        if not isinstance(conv, _CONVOLUTIONS) or not feeds_only(before, node):
            continue
        axes = conv.weight.ndim - 2
        window = _each(pool.kernel_size, axes)
        if not _is_plain(pool, axes) or not _gains(conv, window):
            continue
        where = f"{place(node)} into {place(before)}"
        change_layer(before, _merged(conv, window))
        take_over(before, node)
        yield where


def _each(size: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    return (size,) * axes if isinstance(size, int) else tuple(size) * (axes if len(size) == 1 else 1)


def _is_plain(pool: nn.AvgPool1d | nn.AvgPool2d, axes: int) -> bool:
    """Windows side by side, all of them whole."""
    return (
        _each(pool.stride, axes) == _each(pool.kernel_size, axes)
        and not any(_each(pool.padding, axes))
        and not pool.ceil_mode
        and getattr(pool, "divisor_override", None) is None
    )


def _gains(conv: nn.Conv1d | nn.Conv2d, window: tuple[int, ...]) -> bool:
    """No more products than before, where s <= k on each axis; only numbers and zeros are known of a padding."""
    known = conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and set(conv.dilation) == {1}
    return known and all(s <= k for s, k in zip(conv.stride, conv.kernel_size, strict=True))


def _merged(conv: nn.Conv1d | nn.Conv2d, window: tuple[int, ...]) -> nn.Module:
    weight = conv.weight.double()
    for axis, (places, stride) in enumerate(zip(window, conv.stride, strict=True), start=2):
        weight = _spread(weight, axis, places, stride)
    kind = type(conv)
    new = kind(
        conv.in_channels,
        conv.out_channels,
        tuple(weight.shape[2:]),  # type: ignore[arg-type]
        tuple(s * p for s, p in zip(conv.stride, window, strict=True)),  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
        device="meta",
    )
    new.weight = same_kind(weight, conv.weight)
    new.bias = conv.bias
    return new


def _spread(weight: Tensor, axis: int, places: int, stride: int) -> Tensor:
    """v[m] = 1/P sum_a w[m - s a] on one axis."""
    taps = weight.shape[axis]
    sizes = list(weight.shape)
    sizes[axis] = taps + stride * (places - 1)
    spread = torch.zeros(sizes, dtype=weight.dtype)
    for place_ in range(places):
        spread.narrow(axis, stride * place_, taps).add_(weight)
    return spread / places
