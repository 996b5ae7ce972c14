"""Where a graph computes the power of a spectrum band by band: squares of strided convolutions, summed and weighted.

The form that is looked for, in any spelling: with kernels a_j and b_j, one pair a bin, and a constant matrix M,

    bands[t] = sum_j M[., j] ((a_j * x)[t]^2 + (b_j * x)[t]^2)

with M on the left, where `carry_axes` puts it; or the root of each bin's power in its place. To the spectrum something
else may be added before it is squared, of the form U v[t] with a constant U of few columns: what a frame's mean takes
away from each bin.
"""

import operator
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from exporters.lowering.graph import call_layer, calls, constant, layer, nodes, take_over

_ROOTS = (torch.sqrt, "sqrt")
_SQUARES = (torch.square, "square", operator.pow, torch.pow, "pow")
_PRODUCTS = (operator.mul, torch.mul, "mul")
_SUMS = (operator.add, torch.add, "add")
_MATRIX_PRODUCTS = (operator.matmul, torch.matmul, "matmul")


@dataclass(frozen=True)
class Bands:
    """`result`, (batch, bands, frames), is computed from `source`, (batch, 1, samples).

    `real` and `imaginary` are (bins, taps), moved by `hop` samples from frame to frame, and `matrix` is (bands, bins).
    `place` is where the model has its kernels. `root`: of magnitudes in place of powers. `added` are two matrices, U of
    the real and of the imaginary parts (bins, terms), and the node that gives v (batch, terms, frames).
    """

    result: Node
    source: Node
    real: Tensor
    imaginary: Tensor
    hop: int
    matrix: Tensor
    place: str
    root: bool = False
    added: tuple[Tensor, Tensor, Node] | None = None

    def used(self) -> Tensor:
        """The bins that have a weight in some band, in order."""
        return self.matrix.any(dim=0).nonzero()[:, 0]

    def replace(self, new: nn.Module, name: str) -> None:
        """Let a layer of that name, (batch, 1, samples) -> (batch, bands, frames), stand where the kernels stood.

        Where something is added, v is its second input.
        """
        path, dot, _ = self.place.rpartition(".")
        inputs = (self.source,) if self.added is None else (self.source, self.added[2])
        take_over(call_layer(self.result, f"{path}{dot}{name}", new, *inputs), self.result)


@dataclass(frozen=True)
class _Part:
    """Some channels of a convolution, with the same of U v added or not, squared or not."""

    conv: Node
    channels: range
    power: int
    added: tuple[Tensor, Node] | None = None


def find_bands(graph: GraphModule) -> Iterator[Bands]:
    for node in nodes(graph):
        if calls(node, *_MATRIX_PRODUCTS) and (found := _bands(node)) is not None:
            yield found


def _bands(node: Node) -> Bands | None:
    if len(node.args) != 2:
        return None
    left, weighted = node.args
    matrix = constant(left)
    root = isinstance(weighted, Node) and calls(weighted, *_ROOTS)
    power = weighted.args[0] if root else weighted  # type: ignore[union-attr]
    if matrix is None or matrix.ndim != 2 or not calls(power, *_SUMS):
        return None
    assert isinstance(power, Node)
    parts = [_part(term) for term in power.args]
    if len(parts) != 2 or power.kwargs:
        return None
    real, imaginary = parts
    if real is None or imaginary is None or real.power != 2 or imaginary.power != 2:
        return None
    assert isinstance(weighted, Node)
    if not _used_here_alone(weighted, node) or not _move_alike(real.conv, imaginary.conv):
        return None
    conv = layer(real.conv)
    assert isinstance(conv, nn.Conv1d)
    kernels = _kernels(real), _kernels(imaginary)
    if not kernels[0].shape == kernels[1].shape == (matrix.shape[1], conv.kernel_size[0]):
        return None
    added = None
    if real.added is not None and imaginary.added is not None and real.added[1] is imaginary.added[1]:
        added = (_rows(real.added[0], real), _rows(imaginary.added[0], imaginary), real.added[1])
    elif real.added is not None or imaginary.added is not None:
        return None
    source = real.conv.all_input_nodes[0]
    return Bands(node, source, *kernels, conv.stride[0], matrix, str(real.conv.target), root, added)


def _part(node: object) -> _Part | None:
    """What a node is, where it is no more than channels of a convolution, squared or not."""
    if not isinstance(node, Node):
        return None
    conv = layer(node)
    if isinstance(conv, nn.Conv1d):
        return _Part(node, range(conv.out_channels), 1) if _is_correlation(conv) else None
    if calls(node, *_SUMS):
        return _with_added(node)
    inner = _part(node.args[0]) if node.args else None
    if inner is None:
        return None
    squared = (calls(node, *_SQUARES) and list(node.args[1:]) in ([], [2], [2.0])) or (
        calls(node, *_PRODUCTS) and node.args[0] is node.args[1]
    )
    if squared and inner.power == 1 and not node.kwargs:
        return _Part(inner.conv, inner.channels, 2, inner.added)
    if calls(node, operator.getitem) and isinstance(node.args[1], tuple) and len(node.args[1]) == 2:
        batch, channels = node.args[1]
        if batch == slice(None) and isinstance(channels, slice):
            return _Part(inner.conv, inner.channels[channels], inner.power, inner.added)
    return None


def _with_added(node: Node) -> _Part | None:
    """A convolution as it is, and U v beside it."""
    if len(node.args) != 2 or node.kwargs:
        return None
    spectrum, term = node.args
    inner = _part(spectrum)
    if inner is None or inner.power != 1 or inner.added or not calls(term, *_MATRIX_PRODUCTS):
        return None
    assert isinstance(term, Node)
    weights, values = term.args
    weight = constant(weights)
    if weight is None or weight.ndim != 2 or not isinstance(values, Node) or len(inner.channels) != len(weight):
        return None
    return _Part(inner.conv, inner.channels, 1, (weight, values))


def _is_correlation(conv: nn.Conv1d) -> bool:
    """One channel in, and nothing but a product with each kernel at each hop."""
    plain = conv.in_channels == 1 and conv.bias is None and conv.dilation == (1,)
    return plain and conv.padding == (0,)


def _move_alike(one: Node, other: Node) -> bool:
    first, second = layer(one), layer(other)
    assert isinstance(first, nn.Conv1d)
    assert isinstance(second, nn.Conv1d)
    return one.all_input_nodes == other.all_input_nodes and (first.stride, first.kernel_size) == (
        second.stride,
        second.kernel_size,
    )


def _used_here_alone(power: Node, user: Node) -> bool:
    """Whether all that lies between the convolutions and the sum is for this user alone."""
    between, pending = {user}, [power]
    while pending:
        node = pending.pop()
        between.add(node)
        if layer(node) is None:
            pending += node.all_input_nodes
    return all(set(node.users) <= between for node in between - {user})


def _kernels(part: _Part) -> Tensor:
    conv = layer(part.conv)
    assert isinstance(conv, nn.Conv1d)
    return _rows(conv.weight[:, 0], part)


def _rows(matrix: Tensor, part: _Part) -> Tensor:
    """Those of the part's channels."""
    return matrix[part.channels.start : part.channels.stop : part.channels.step]
