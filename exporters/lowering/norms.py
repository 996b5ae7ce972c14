"""Batch norm, folded into the convolution before it, through an average pooling where one stands between.

In evaluation mode a norm is an affine map of each channel, with s = weight / sqrt(variance + eps):

    norm(y) = s y + (bias - s mean)

A convolution is linear in its kernel: norm(W * x + b) has the kernel s W and the bias s (b - mean) + bias. An average
over places of one channel is linear too and keeps a constant, so that norm(pool(y)) = pool(norm(y)). It keeps none
where zeros of a padding are counted, nor a product where a divisor of its own is set; those are left alone.
"""

from collections.abc import Iterator
from copy import copy

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from exporters.lowering.graph import change_layer, feeds_only, layer, nodes, place, same_kind, take_over

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_POOLINGS = (nn.AvgPool1d, nn.AvgPool2d)


def fold_norms(graph: GraphModule) -> Iterator[str]:
    """Fold each norm that stands behind a convolution; yields where."""
    for node in nodes(graph):
        norm = layer(node)
        if not isinstance(norm, _NORMS) or norm.running_var is None:
            continue
        (source,) = node.all_input_nodes
        before = source
        if keeps_constants(layer(source)) and feeds_only(source, node):
            (before,) = source.all_input_nodes
        conv = layer(before)
        if not isinstance(conv, _CONVOLUTIONS) or not feeds_only(before, source if before is not source else node):
            continue
        where = f"{place(node)} into {place(before)}"
        change_layer(before, _folded(conv, *affine(norm)))
        take_over(source, node)
        yield where


def affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift of each channel, in float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -scale * norm.running_mean.double()
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    return scale, shift


def keeps_constants(pool: nn.Module | None) -> bool:
    """Whether a layer is an average that leaves a constant as it is."""
    if not isinstance(pool, _POOLINGS) or getattr(pool, "divisor_override", None) is not None:
        return False
    sides = pool.padding if isinstance(pool.padding, tuple) else (pool.padding,)
    return not pool.count_include_pad or not any(sides)


def _folded(conv: nn.Conv1d | nn.Conv2d, scale: Tensor, shift: Tensor) -> nn.Module:
    new = copy(conv)
    new._parameters = dict(conv._parameters)
    weight = conv.weight.double()
    bias = torch.zeros_like(shift) if conv.bias is None else conv.bias.double()
    new.weight = same_kind(weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), conv.weight)
    new.bias = same_kind(scale * bias + shift, conv.weight)
    return new
