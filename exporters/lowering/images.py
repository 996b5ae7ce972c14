"""Convolutions over one axis, written as convolutions of images that are one row high.

(batch, channels, length) with a kernel of k taps is (batch, channels, 1, length) with a kernel of 1 x k: the same
products and sums. Runtimes have their fast kernels for images alone: ONNX Runtime's blocked layout, in which channels
lie side by side in memory, takes no other convolution.

The new axis costs nothing where a whole chain has it. It is put on before each convolution and taken off behind, and
what is taken off is carried towards the outputs through all that treats axes alike, where it meets the next and both
are gone: norms, poolings, activations, sums, reflections. Only convolutions are changed of which one reads what another
computed, in more than one channel, and over more than one place: a filter on its own, or a spectrum, stays, and so do
products of matrices, which are fast everywhere.
"""

import operator
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import GraphModule, Node

from exporters.lowering.graph import (
    arguments,
    call,
    call_behind,
    call_layer,
    calls,
    change_layer,
    drop,
    layer,
    marked,
    nodes,
    place,
    same_kind,
    shape,
    take_over,
    varying,
)

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Tanh)
ALIKE = (
    *(torch.relu, F.relu, "relu", F.leaky_relu, F.gelu, F.silu, F.hardswish, torch.sigmoid, "sigmoid"),
    *(operator.add, torch.add, "add", operator.sub, torch.sub, "sub", operator.mul, torch.mul, "mul"),
)
_POOLINGS = (nn.AvgPool1d, nn.MaxPool1d)


def as_images(graph: GraphModule) -> Iterator[str]:
    """Give all convolutions that make a chain their second axis; yields where."""
    chained = _chained(graph)
    for node in nodes(graph):
        if node in chained:
            if isinstance(layer(node), nn.Conv1d):
                yield place(node)
            _turn(node)
        elif _passes(node) and all(_is_row(maker) for maker in node.all_input_nodes):
            _turn(node)


def reflection(node: Node) -> tuple[int, int] | None:
    """By how much a node extends the last axis to the left and to the right, where mirroring it there is all it does.

    None for any other.
    """
    pad = layer(node)
    if isinstance(pad, (nn.ReflectionPad1d, nn.ReflectionPad2d)):
        left, right, *others = pad.padding
    elif calls(node, F.pad):
        given = arguments(node, "input", "pad", "mode", mode="constant")
        if given["mode"] != "reflect":
            return None
        left, right, *others = given["pad"]
    else:
        return None
    return None if any(others) else (left, right)


def _chained(graph: GraphModule) -> set[Node]:
    """The convolutions that read another's channels or are read so, and the reflections before them."""
    chained: set[Node] = set()
    # The convolutions of which a node is computed by nothing but what an image passes.
    makers: dict[Node, set[Node]] = {}
    for node in nodes(graph):
        before = {conv for maker in node.all_input_nodes for conv in makers.get(maker, ())}
        conv = layer(node)
        if marked(node):
            continue
        if isinstance(conv, nn.Conv1d) and conv.padding_mode == "zeros" and not isinstance(conv.padding, str):
            if before and conv.in_channels > 1 and any(_is_long(one) for one in (node, *before)):
                chained |= {node, *before}
            makers[node] = {node}
        elif before and _passes(node):
            makers[node] = before
    return chained | {maker for node in chained for maker in node.all_input_nodes if _passes_alone(maker, node)}


def _is_long(node: Node) -> bool:
    conv = layer(node)
    return isinstance(conv, nn.Conv1d) and conv.kernel_size != (1,)


def _passes_alone(node: Node, user: Node) -> bool:
    return reflection(node) is not None and _passes(node) and set(node.users) == {user}


def _passes(node: Node) -> bool:
    """Whether a node treats an image of one row as it treats the row."""
    if marked(node):
        return False
    known = (nn.BatchNorm1d, *_POOLINGS, *ACTIVATIONS)
    if isinstance(layer(node), known) or reflection(node) is not None:
        return "shape" in node.meta and len(shape(node)) == 3
    return calls(node, *ALIKE) and all("shape" in at.meta and len(shape(at)) == 3 for at in node.all_input_nodes)


def _is_row(node: Node) -> bool:
    """Whether a node takes the height off an image."""
    return calls(node, torch.squeeze) and node.args[1:] == (2,)


def _turn(node: Node) -> None:
    """Let a node read images and give one, behind which its height is taken off."""
    for maker in node.all_input_nodes:
        image = maker.all_input_nodes[0] if _is_row(maker) else call(node, torch.unsqueeze, maker, 2)
        image.meta |= _high(maker)
        node.replace_input_with(maker, image)
        drop(maker)
    old, amounts = layer(node), reflection(node)
    if old is None and amounts is not None:
        pad = call_layer(node, node.name, nn.ReflectionPad2d((*amounts, 0, 0)), node.all_input_nodes[0])
        take_over(pad, node)
        node = pad
    elif old is not None and not isinstance(old, ACTIVATIONS):
        change_layer(node, _image_layer(old))
    row = call_behind(node, torch.squeeze, 2)
    row.meta |= {"shape": shape(node), "varying": varying(node)}
    node.meta |= _high(node)


def _high(node: Node) -> dict[str, object]:
    """What is noted of an image, from what is of its row."""
    batch, channels, length = shape(node)
    return {
        "shape": (batch, channels, 1, length),
        "varying": {axis + 1 if axis == 2 else axis for axis in varying(node)},
    }


def _image_layer(old: nn.Module) -> nn.Module:
    if isinstance(old, nn.Conv1d):
        new = nn.Conv2d(
            old.in_channels,
            old.out_channels,
            (1, old.kernel_size[0]),
            (1, old.stride[0]),
            (0, int(old.padding[0])),
            (1, old.dilation[0]),
            old.groups,
            bias=old.bias is not None,
            device="meta",
        )
        new.weight, new.bias = same_kind(old.weight[:, :, None], old.weight), old.bias
        return new
    if isinstance(old, nn.ReflectionPad1d):
        return nn.ReflectionPad2d((*old.padding, 0, 0))
    if isinstance(old, nn.BatchNorm1d):
        norm = nn.BatchNorm2d(old.num_features, old.eps, old.momentum, old.affine, old.track_running_stats)
        norm._parameters, norm._buffers = dict(old._parameters), dict(old._buffers)
        return norm
    if isinstance(old, nn.AvgPool1d):
        size, stride, padding = (_number(old, name) for name in ("kernel_size", "stride", "padding"))
        return nn.AvgPool2d((1, size), (1, stride), (0, padding), old.ceil_mode, old.count_include_pad)
    assert isinstance(old, nn.MaxPool1d)
    size, stride, padding, dilation = (_number(old, name) for name in ("kernel_size", "stride", "padding", "dilation"))
    return nn.MaxPool2d((1, size), (1, stride), (0, padding), (1, dilation), ceil_mode=old.ceil_mode)


def _number(pool: nn.Module, name: str) -> int:
    """Of the one axis, which may be given as a tuple."""
    value = getattr(pool, name)
    return int(value[0] if isinstance(value, tuple) else value)
