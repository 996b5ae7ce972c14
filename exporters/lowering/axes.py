"""Orders of axes, carried towards the outputs until they meet their inverse or their use.

A permutation passes every layer that treats the axes alike, or whose weights can be permuted instead:

- numbers on their own (ReLU, logarithm, a sum with a number): f(permute(x)) = permute(f(x)); two tensors in the same
  order likewise;
- a norm, where the channels stay in their place;
- a convolution or a pooling, whose two spatial axes change places with its kernel's: transposing both images of a
  correlation transposes the result;
- a reduction, over the axes where they were before;
- a product with a constant matrix, from the other side: x^T W = (W^T x)^T; a linear layer, as a convolution with one
  tap, which takes the channels where a network has them;
- another permutation, with which it becomes one, a new axis, and one that is taken off;
- a size that is asked for, which is that of another axis.

A network fed (time, mel) by a front end that computes (mel, time) is thereby laid out as a whole with time last, where
memory runs along the long axis, and nothing is moved between the two. All of it is done, or nothing: only where fewer
numbers are moved in the end.
"""

import operator
from collections.abc import Iterator
from copy import copy
from math import prod

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import Graph, GraphModule, Node

from exporters.lowering.graph import (
    arguments,
    call,
    call_behind,
    calls,
    change_layer,
    constant,
    drop,
    layer,
    new_constant,
    nodes,
    owner,
    place,
    same_kind,
    shape,
    take_over,
    varying,
)

Axes = tuple[int, ...]

_ELEMENTWISE_LAYERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Tanh)
_ELEMENTWISE = (
    *(torch.relu, F.relu, "relu", torch.sigmoid, "sigmoid", F.hardswish, F.gelu),
    *(torch.log, "log", torch.log10, "log10", torch.sqrt, "sqrt", torch.square, "square"),
    *(torch.clamp, "clamp", torch.clip, "clip", operator.pow, torch.pow, "pow"),
    *(operator.add, torch.add, "add", operator.sub, torch.sub, "sub"),
    *(operator.mul, torch.mul, "mul", operator.truediv, torch.div, "div"),
)
_SPATIAL = (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)
_REDUCTIONS = ("mean", "sum", "amax", torch.mean, torch.sum, torch.amax)


def carry_axes(graph: GraphModule) -> Iterator[str]:
    """Carry permutations towards the outputs if that moves fewer numbers; yields the convolutions it turned over."""
    trial = GraphModule(graph, _copied(graph.graph))
    list(_carry(trial))
    if _moved(trial) < _moved(graph):
        yield from _carry(graph)


def _copied(graph: Graph) -> Graph:
    new = Graph()
    new.output(new.graph_copy(graph, {}))
    return new


def _moved(graph: GraphModule) -> int:
    """How many numbers the permutations move that change the order in memory."""
    return sum(prod(shape(node)) for node in graph.graph.nodes if _is_permutation(node) and _moves(node))


def _moves(node: Node) -> bool:
    sizes = shape(node.all_input_nodes[0])
    long = [axis for axis in _axes(node) if sizes[axis] > 1]
    return long != sorted(long)


def _is_permutation(node: object) -> bool:
    return calls(node, torch.permute)


def _axes(node: Node) -> Axes:
    return tuple(node.args[1])  # type: ignore[arg-type]


def _carry(graph: GraphModule) -> Iterator[str]:
    """In one pass from the input to the outputs: behind each node that one passes, its users meet it."""
    for node in nodes(graph):
        before = [maker for maker in node.all_input_nodes if _is_permutation(maker)]
        if not before:
            continue
        if _reads_sizes(node):
            _read_sizes_before(node, before[0])
            drop(before[0])
            continue
        axes = _pass(node, before)
        if axes is None:
            continue
        whole = shape(node)
        if isinstance(layer(node), (nn.Conv1d, nn.Conv2d)):
            yield place(node)
        if axes != tuple(range(len(axes))):
            behind = call_behind(node, torch.permute, axes)
            behind.meta["shape"] = whole
            node.meta["shape"] = tuple(whole[axes.index(axis)] for axis in range(len(axes)))
            if (varies := node.meta.get("varying")) is not None:
                behind.meta["varying"] = varies
                node.meta["varying"] = {axes[axis] for axis in varies}
        elif _is_permutation(node) and _axes(node) == axes:
            take_over(node.all_input_nodes[0], node)
        for maker in before:
            drop(maker)


def _pass(node: Node, before: list[Node]) -> Axes | None:
    """Let a node read what its permutations read, changed so that permuting its result by what is returned restores it.

    None where it cannot, and then it is as it was.
    """
    axes = _axes(before[0])
    if _is_permutation(node):
        node.args = (_source(before[0]), tuple(axes[axis] for axis in _axes(node)))
        return tuple(range(len(axes)))
    if calls(node, torch.unsqueeze):
        new = node.args[1]
        assert isinstance(new, int)
        node.args = (_source(before[0]), len(axes))
        return (*axes[:new], len(axes), *axes[new:])
    if calls(node, torch.squeeze):
        gone = arguments(node, "input", "dim", dim=None)["dim"]
        if not isinstance(gone, int) or shape(before[0])[gone] != 1 or gone % len(axes) in varying(before[0]):
            return None
        gone %= len(axes)
        node.kwargs = {}
        node.args = (_source(before[0]), axes[gone])
        return _without(axes, {gone})
    if isinstance(linear := layer(node), nn.Linear) and axes == (0, 2, 1):
        elsewhere = [other for other in owner(node).graph.nodes if other is not node and layer(other) is linear]
        change_layer(node, _at_each_place(linear))
        node.args = (_source(before[0]),)
        for other in elsewhere:
            _share(other, node)
        return axes
    if isinstance(layer(node), _ELEMENTWISE_LAYERS) or (calls(node, *_ELEMENTWISE) and _alike(node, axes)):
        for maker in before:
            node.replace_input_with(maker, _source(maker))
        return axes
    if isinstance(layer(node), (nn.BatchNorm1d, nn.BatchNorm2d)) and axes[1] == 1:
        node.args = (_source(before[0]),)
        return axes
    if calls(node, *_REDUCTIONS):
        return _pass_reduction(node, before[0])
    if calls(node, operator.matmul, torch.matmul, "matmul"):
        return _pass_product(node, before[0])
    return _pass_spatial(node, before[0])


def _reads_sizes(node: Node) -> bool:
    """`x.shape`, of which single sizes alone are taken."""
    return calls(node, getattr) and node.args[1] == "shape" and all(_is_item(user) for user in node.users)


def _is_item(node: Node) -> bool:
    return calls(node, operator.getitem) and isinstance(node.args[1], int)


def _read_sizes_before(node: Node, permutation: Node) -> None:
    axes = _axes(permutation)
    node.args = (_source(permutation), "shape")
    for user in list(node.users):
        assert isinstance(user.args[1], int)
        user.args = (node, axes[user.args[1]])


def _source(permutation: Node) -> Node:
    return permutation.all_input_nodes[0]


def _alike(node: Node, axes: Axes) -> bool:
    """Whether all tensors that a node reads come in this order; numbers have none."""
    return all(_is_permutation(maker) and _axes(maker) == axes for maker in node.all_input_nodes)


def _pass_reduction(node: Node, before: Node) -> Axes | None:
    axes = _axes(before)
    given = arguments(node, "input", "dim", "keepdim", dim=None, keepdim=False)
    dims, keep = given.pop("dim"), given.pop("keepdim")
    if dims is None or dims == () or set(given) != {"input"}:
        return None
    gone = {dim % len(axes) for dim in ((dims,) if isinstance(dims, int) else dims)}
    node.args = (_source(before), tuple(axes[dim] for dim in sorted(gone)), keep)
    node.kwargs = {}
    return axes if keep else _without(axes, gone)


def _without(axes: Axes, gone: set[int]) -> Axes:
    left = [axis for place_, axis in enumerate(axes) if place_ not in gone]
    return tuple(sorted(left).index(axis) for axis in left)


def _share(node: Node, conv: Node) -> None:
    """Let a node whose layer has become a convolution call that, on one place, so that no weights are there twice."""
    (x,) = node.all_input_nodes
    if len(shape(x)) != 2:
        return
    place_ = call(node, torch.unsqueeze, x, 2)
    with node.graph.inserting_before(node):
        found = node.graph.call_module(str(conv.target), (place_,))
    place_.meta["shape"], found.meta["shape"] = (*shape(x), 1), (*shape(node), 1)
    take_over(call(node, torch.squeeze, found, 2), node)


def _at_each_place(linear: nn.Linear) -> nn.Conv1d:
    """A product with the channels of (batch, places, channels), for (batch, channels, places)."""
    conv = nn.Conv1d(linear.in_features, linear.out_features, 1, bias=linear.bias is not None, device="meta")
    conv.weight, conv.bias = same_kind(linear.weight[:, :, None], linear.weight), linear.bias
    return conv


def _pass_product(node: Node, before: Node) -> Axes | None:
    axes = _axes(before)
    *leading, rows, columns = range(len(axes))
    if len(node.args) != 2:
        return None
    left, right = node.args
    matrix = constant(right)
    if left is not before or matrix is None or matrix.ndim != 2 or axes != (*leading, columns, rows):
        return None
    assert isinstance(right, Node)
    node.args = (new_constant(node, f"{right.target}_transposed", matrix.T.contiguous()), _source(before))
    return axes


def _pass_spatial(node: Node, before: Node) -> Axes | None:
    """Only to the order in which the two axes were made, so that no network is turned over without need."""
    axes = _axes(before)
    old = layer(node)
    if not isinstance(old, _SPATIAL) or len(axes) != 4 or axes[2] < axes[3]:
        return None
    if isinstance(old, nn.MaxPool2d) and old.return_indices:
        return None
    if isinstance(old, nn.Conv2d) and (old.padding_mode != "zeros" or isinstance(old.padding, str)):
        return None
    change_layer(node, _turned(old))
    ordered = (axes[0], axes[1], axes[3], axes[2])
    node.args = (_permuted(_source(before), ordered, node),)
    return (0, 1, 3, 2)


def _permuted(x: Node, axes: Axes, user: Node) -> Node:
    """x with its axes in this order, for a user; an axis that is new in x is put in its place at once."""
    if axes == tuple(range(len(axes))):
        return x
    sizes = tuple(shape(x)[axis] for axis in axes)
    if calls(x, torch.unsqueeze) and (others := [axis for axis in axes if axis != x.args[1]]) == sorted(others):
        x = call(user, torch.unsqueeze, x.args[0], axes.index(x.args[1]))
    else:
        x = call(user, torch.permute, x, axes)
    x.meta["shape"] = sizes
    return x


def _turned(old: nn.Module) -> nn.Module:
    """A layer with its two spatial axes in the other order."""
    new = copy(old)
    for name in ("kernel_size", "stride", "padding", "dilation"):
        value = getattr(old, name, None)
        if isinstance(value, tuple):
            setattr(new, name, value[::-1])
    if isinstance(old, nn.Conv2d):
        new._parameters = dict(old._parameters)
        new.weight = same_kind(old.weight.transpose(2, 3), old.weight)
    return new
