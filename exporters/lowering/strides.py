"""Strides along the last axis of depthwise convolutions, taken behind them.

With stride s, every s-th place is computed; here all of them are, and every s-th is kept:

    y[i] = sum_j w[j] x[s i + j - p] = z[s i],    z[i] = sum_j w[j] x[i + j - p]

A pooling of one place with stride s keeps them, and as many for every size: floor((n - 1) / s) + 1 of n = size + 2 p -
k + 1 places is floor((size + 2 p - k) / s) + 1. The products along that axis are s times as many. It gains where a
runtime computes neighbours at once and places apart one by one: tract 0.23 on x86 does
(`core/src/ops/cnn/conv/along_w.rs`). A slice with a step would go back into the convolution there; a pooling stays. The
rows keep their stride, which costs nothing.
"""

from copy import deepcopy
from typing import TypeVar

from torch import nn

_Module = TypeVar("_Module", bound=nn.Module)


def strides_behind(module: _Module) -> tuple[_Module, tuple[str, ...]]:
    """A module with these strides behind its depthwise convolutions, and which; the given one where it has none.

    The module that is given is not changed.
    """
    found = tuple(name for name, layer in module.named_modules() if _is_strided(layer))
    if not found:
        return module, found
    changed = deepcopy(module)
    for name in found:
        conv = changed.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        rows, places = conv.stride
        conv.stride = (rows, 1)
        changed.set_submodule(name, nn.Sequential(conv, nn.MaxPool2d(1, (1, places))).eval())
    return changed, found


def _is_strided(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and 1 < layer.groups == layer.in_channels == layer.out_channels
        and layer.stride[1] > 1
    )
