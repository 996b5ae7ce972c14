"""Only the position of a transformer that is read.

Where an output reads one index of an axis, all that computes each index of that axis by itself need compute that one
alone: linear layers, norms over other axes, activations, sums, softmax over another axis, an order of axes, a reshape
that leaves the axis whole. Of a product of matrices, the rows of the result are those of the left one:

    (A B)[i, :] = A[i, :] B

so that of attention the queries and all behind them are of one position, and keys and values of all. From the output
towards the inputs a node is narrowed where all its users need no more; where one needs all of it, the index is taken
from the whole.
"""

import operator
from collections.abc import Iterator
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import GraphModule, Node

from exporters.lowering.graph import arguments, call, calls, layer, marked, nodes, place, shape, varying
from exporters.lowering.images import ACTIVATIONS, ALIKE

_ELEMENTWISE = (*ALIKE, operator.truediv, torch.div, "div")
_MATRIX_PRODUCTS = (operator.matmul, torch.matmul, "matmul")
_SOFTMAX = (torch.softmax, F.softmax, "softmax")
_RESHAPES = (torch.reshape, "reshape")


def drop_positions(graph: GraphModule) -> Iterator[str]:
    """Narrow what computes more indices of an axis than are read; yields the layers, and how many of how many."""
    for node in nodes(graph):
        if (axis := _index_axis(node)) is None:
            continue
        narrowed = _narrowed(node, axis)
        layers = [one for one in narrowed if layer(one) is not None]
        if not layers:
            continue
        count = shape(node.all_input_nodes[0])[axis]
        index: Any = node.args[1]
        for one, (own, needs) in narrowed.items():
            _narrow(one, own, {maker: at for maker, at in needs.items() if maker not in narrowed}, index[axis])
        node.args = (node.args[0], tuple(0 if at == axis else word for at, word in enumerate(index)))
        yield f"{place(layers[0])} to {place(layers[-1])}: 1 of {count}"


def _index_axis(node: Node) -> int | None:
    """The axis of which a node takes one index, counted from the front, where that is all it does."""
    if not calls(node, operator.getitem) or not isinstance(node.args[1], tuple) or not _known(node):
        return None
    words: tuple[Any, ...] = node.args[1]
    axes = [axis for axis, word in enumerate(words) if word != slice(None)]
    if len(axes) != 1 or axes[0] == 0:
        return None
    index = words[axes[0]]
    return axes[0] if isinstance(index, int) and index >= 0 else None


def _known(node: Node) -> bool:
    return all("shape" in one.meta for one in (node, *node.all_input_nodes))


def _narrowed(reader: Node, axis: int) -> dict[Node, tuple[int, dict[Node, int]]]:
    """What need be computed at one index alone, in order, with the axis of each and what it needs itself."""
    found: dict[Node, tuple[int, dict[Node, int]]] = {}
    needs = {reader: {reader.all_input_nodes[0]: axis}}
    node = reader.prev
    while node.op != "root":
        axes = {needs.get(user, {}).get(node) for user in node.users}
        if len(axes) == 1 and (wanted := axes.pop()) is not None and (before := _needs(node, wanted)):
            needs[node] = before
            found[node] = wanted, before
        node = node.prev
    return dict(reversed(found.items()))


def _needs(node: Node, axis: int) -> dict[Node, int] | None:
    """Of which inputs, and of which axis of each, an index is all that a node needs for that of its own axis.

    None where it needs more, or is not known.
    """
    if not _known(node) or not node.all_input_nodes or marked(node):
        return None
    x, sizes = node.all_input_nodes[0], shape(node)
    last = len(sizes) - 1
    kind = layer(node)
    if isinstance(kind, ACTIVATIONS) or calls(node, *_ELEMENTWISE):
        return _of_each(node, axis)
    if isinstance(kind, nn.LayerNorm):
        return {x: axis} if axis <= last - len(kind.normalized_shape) else None
    if isinstance(kind, nn.Linear) or calls(node, F.linear):
        return {x: axis} if axis < last else None
    if calls(node, *_SOFTMAX):
        dim = arguments(node, "input", "dim", dim=None)["dim"]
        return {x: axis} if isinstance(dim, int) and dim % len(sizes) != axis else None
    if calls(node, *_MATRIX_PRODUCTS) and len(node.args) == 2:
        left, right = node.args
        assert isinstance(left, Node)
        return {left: axis} if left is not right and axis == last - 1 and len(shape(left)) == len(sizes) else None
    if calls(node, torch.permute):
        axes: Any = node.args[1]
        return {x: axes[axis]}
    if calls(node, *_RESHAPES):
        return _of_reshaped(node, axis)
    if calls(node, operator.getitem) and isinstance(node.args[1], tuple):
        words = node.args[1]
        slices = len(words) > axis and all(isinstance(word, slice) for word in words)
        return {x: axis} if slices and words[axis] == slice(None) else None
    return None


def _of_each(node: Node, axis: int) -> dict[Node, int] | None:
    """Of all that have the axis; what is the same for all indices stays."""
    needs: dict[Node, int] = {}
    for maker in node.all_input_nodes:
        own = axis - (len(shape(node)) - len(shape(maker)))
        if own >= 0 and shape(maker)[own] > 1:
            needs[maker] = own
    return needs


def _of_reshaped(node: Node, axis: int) -> dict[Node, int] | None:
    """The axis of the input that is as long and has as much behind it."""
    x, sizes = node.all_input_nodes[0], shape(node)
    if len(node.all_input_nodes) != 1 or node.kwargs or sizes[axis] == 1 or varying(node) or varying(x):
        return None
    behind = prod(sizes[axis + 1 :])
    before = shape(x)
    own = (at for at, size in enumerate(before) if size == sizes[axis] and prod(before[at + 1 :]) == behind)
    return next(({x: at} for at in own), None)


def _narrow(node: Node, axis: int, wholes: dict[Node, int], index: int) -> None:
    """Let a node compute the index alone, of its inputs that are computed as wholes from a slice."""
    if calls(node, *_RESHAPES):
        x, *sizes = node.args
        flat: list[Any] = list(sizes[0]) if isinstance(sizes[0], (tuple, list)) else sizes
        flat[axis] = 1
        node.args = (x, tuple(flat))
    for maker, own in wholes.items():
        piece = call(node, operator.getitem, maker, (*[slice(None)] * own, slice(index, index + 1)))
        piece.meta |= {"shape": _with_one(shape(maker), own), "varying": varying(maker) - {own}}
        node.replace_input_with(maker, piece)
    node.meta |= {"shape": _with_one(shape(node), axis), "varying": varying(node) - {axis}}


def _with_one(sizes: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*sizes[:axis], 1, *sizes[axis + 1 :])
