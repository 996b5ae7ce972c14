"""Reflections along a chain of convolutions, computed at the edges alone.

A convolution that reads k places gives the same, whatever is beyond the ends, at all places but those whose k reach
there; and so does a chain of them, with all that works on each place by itself. How many results at either end are
not yet right is counted from layer to layer: a padding by p adds p of them, and with a kernel's first place at s j,
those with s j < l remain of l, ceil(l / s), and of the last likewise.

So the chain is computed twice. Once over everything, padded with zeros inside the convolutions, where no reflection is
ever stored, nor moved between the layouts that runtimes have for convolutions and for all else. And once with its
reflections over the two ends alone, cut as long as their own inner ends spoil nothing that is needed of them. The two
ends lie one below the other, as an image of two rows. All is joined behind the chain:

    first places of the first row, all but those of the whole, last places of the second row

The whole is cut too, into rows that overlap by as much: an image's rows are what runtimes share among threads. Each cut
lies where all strides begin anew, so that every row has the phase of the whole.

A chain is as long as no more than a sixteenth is computed twice, with two rows; where there is room for more, it has
more. Places are counted in numbers, so that this is for inputs of one length alone.
"""

import operator
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from math import prod

import torch
from torch import nn
from torch.fx import GraphModule, Node

from exporters.lowering.graph import call, call_layer, calls, layer, marked, nodes, place, shape, take_over, varying
from exporters.lowering.images import ACTIVATIONS, ALIKE, reflection

# Of all that a chain computes.
_TWICE = 1 / 16
# Numbers to a sound that reflections store anew. The dozen operators that stand in their place cost as much.
_LEAST = 2**19


@dataclass(frozen=True)
class Places:
    """Along one axis: how many there are, and how many of them at either end are not those of the whole chain.

    Two that lie side by side are `stride` of the chain's first places apart.
    """

    count: int
    left: int = 0
    right: int = 0
    stride: int = 1

    @property
    def good(self) -> range:
        return range(self.left, self.count - self.right)


@dataclass(frozen=True)
class Chain:
    """Nodes that compute the last of them from `entry` (batch, channels, 1, length), in order, read by nothing else."""

    entry: Node
    steps: tuple[Node, ...]

    @property
    def length(self) -> int:
        return shape(self.entry)[3]

    @property
    def reflections(self) -> list[Node]:
        return [step for step in self.steps if reflection(step) is not None]

    def places(self, length: int) -> Places | None:
        """Those that the chain makes of so many.

        None where that is too few for a reflection, where none is good, or where two that are added differ in number.
        """
        found = {self.entry: Places(length)}
        for step in self.steps:
            before = [found[maker] for maker in step.all_input_nodes]
            if len({(one.count, one.stride) for one in before}) > 1:
                return None
            left, right = max(one.left for one in before), max(one.right for one in before)
            count, stride = before[0].count, before[0].stride
            found[step] = after = _after(step, Places(count, left, right, stride))
            if not after.good or ((pad := reflection(step)) is not None and max(pad) >= count):
                return None
        return found[self.steps[-1]]


@dataclass(frozen=True)
class Cuts:
    """Windows of a chain's input: `ends` long at either end, and rows that begin at `starts` and are `row` long."""

    ends: int
    row: int
    starts: tuple[int, ...]

    def twice(self, length: int) -> float:
        """The part of all places that is computed a second time."""
        return (2 * self.ends + len(self.starts) * self.row) / length - 1


def recompute_edges(graph: GraphModule) -> Iterator[str]:
    """Take the reflections out of each chain that is long enough; yields from where to where."""
    for entry in nodes(graph):
        if (found := _longest(entry)) is None:
            continue
        chain, cuts = found
        first, last = (place(step) for step in (chain.steps[0], chain.steps[-1]))
        where = f"{first} to {last}: {len(chain.reflections)} reflections, in {len(cuts.starts)} rows"
        _replace(chain, cuts)
        yield where


def _longest(entry: Node) -> tuple[Chain, Cuts] | None:
    """The longest chain behind a node that computes little enough twice, and stores enough for reflections."""
    found = None
    if _is_row(entry) and 3 not in varying(entry):
        for chain in _chains(entry):
            if (cuts := _cuts(chain)) is None:
                break
            if sum(prod(shape(step)[1:]) for step in chain.reflections) >= _LEAST:
                found = chain, cuts
    return found


def _is_row(node: Node) -> bool:
    return "shape" in node.meta and len(shape(node)) == 4 and shape(node)[2] == 1


def _chains(entry: Node) -> Iterator[Chain]:
    """All that begin there, from the shortest."""
    inside = {entry}
    steps: list[Node] = []
    node = entry.next
    while node.op != "output":
        if inside.intersection(node.all_input_nodes):
            if not (_is_local(node) and inside.issuperset(node.all_input_nodes)):
                return
            steps.append(node)
            inside.add(node)
            ends = all(inside.issuperset(step.users) for step in steps[:-1]) and reflection(node) is None
            if ends and any(reflection(step) is not None for step in steps):
                yield Chain(entry, tuple(steps))
        node = node.next


def _is_local(node: Node) -> bool:
    """Whether each place that a node gives depends on places nearby alone, along the last axis."""
    if not _is_row(node) or marked(node):
        return False
    if (pad := reflection(node)) is not None:
        return pad[0] == pad[1] and all(_reads_as_it_is(user) for user in node.users)
    kernel = layer(node)
    if isinstance(kernel, nn.Conv2d):
        known = kernel.padding_mode == "zeros" and not isinstance(kernel.padding, str)
        return known and (kernel.kernel_size[0], kernel.stride[0], kernel.padding[0]) == (1, 1, 0)
    return isinstance(kernel, ACTIVATIONS) or calls(node, *ALIKE)


def _reads_as_it_is(node: Node) -> bool:
    kernel = layer(node)
    return isinstance(kernel, nn.Conv2d) and kernel.padding_mode == "zeros" and kernel.padding == (0, 0)


def _after(step: Node, x: Places) -> Places:
    if (pad := reflection(step)) is not None:
        return Places(x.count + sum(pad), x.left + pad[0], x.right + pad[1], x.stride)
    conv = layer(step)
    if not isinstance(conv, nn.Conv2d):
        return x
    s, d, k = conv.stride[1], conv.dilation[1], conv.kernel_size[1]
    p = conv.padding[1]
    assert isinstance(p, int)
    reach = d * (k - 1)
    count = (x.count + 2 * p - reach - 1) // s + 1
    left = -(-(x.left + p) // s)
    # The first whose last place read is not good.
    right = count + (x.right - x.count - p + reach) // s
    return Places(count, min(left, count), min(max(right, 0), count), x.stride * s)


def _cuts(chain: Chain) -> Cuts | None:
    """With as many rows as compute little enough twice, two or more; None where that is too much already."""
    whole = chain.places(chain.length)
    if whole is None:
        return None
    # Each window ends as the whole does, in the middle of a stride too.
    rest = chain.length % whole.stride
    sizes = range(rest, chain.length, whole.stride)
    ends = next((size for size in sizes if (found := chain.places(size)) and _covers(found, whole)), None)
    if ends is None:
        return None
    best = None
    for count in range(2, len(whole.good) + 1):
        # Every row makes its share of the good places; one that is so many strides shorter makes so many fewer.
        strides = len(whole.good) * (count - 1) // count
        row = chain.length - strides * whole.stride
        cuts = Cuts(ends, row, tuple(strides * at // (count - 1) * whole.stride for at in range(count)))
        if cuts.twice(chain.length) > _TWICE or chain.places(row) is None:
            break
        best = cuts
    return best


def _covers(ends: Places, whole: Places) -> bool:
    return ends.good.stop >= whole.left and ends.count - ends.left >= whole.right


def _replace(chain: Chain, cuts: Cuts) -> None:
    """Compute the chain by windows."""
    whole, row, ends = (chain.places(length) for length in (chain.length, cuts.row, cuts.ends))
    assert whole is not None
    assert row is not None
    assert ends is not None
    last = chain.steps[-1]
    before = last.next
    middle = _run(chain, _rows(chain.entry, cuts.starts, cuts.row, before), before, reflected=False)
    outer = _run(chain, _rows(chain.entry, (0, chain.length - cuts.ends), cuts.ends, before), before, reflected=True)
    pieces = [_piece(outer, 0, range(whole.left), before)]
    done = whole.left
    for at, start in enumerate(cuts.starts):
        offset = start // whole.stride
        stop = min(offset + row.good.stop, whole.good.stop)
        pieces.append(_piece(middle, at, range(done - offset, stop - offset), before))
        done = stop
    pieces.append(_piece(outer, 1, range(ends.count - whole.right, ends.count), before))
    take_over(call(before, torch.cat, pieces, 3), last)


def _rows(x: Node, starts: tuple[int, ...], length: int, before: Node) -> Node:
    """Windows of an image one row high, one below the other."""
    windows = [_piece(x, 0, range(start, start + length), before) for start in starts]
    return call(before, torch.cat, windows, 2)


def _piece(x: Node, row: int, places: range, before: Node) -> Node:
    index = (slice(None), slice(None), slice(row, row + 1), slice(places.start, places.stop))
    return call(before, operator.getitem, x, index)


def _run(chain: Chain, x: Node, before: Node, *, reflected: bool) -> Node:
    """The chain's result for another input, with its reflections, or with zeros in their places."""
    graph = x.graph
    results = {chain.entry: x}
    for step in chain.steps:
        if not reflected and reflection(step) is not None:
            results[step] = results[step.all_input_nodes[0]]
            continue
        pad = reflection(step.all_input_nodes[0])
        if reflected or pad is None:
            with graph.inserting_before(before):
                results[step] = graph.node_copy(step, results.__getitem__)
            results[step].meta = {}
        else:
            conv = copy(layer(step))
            assert isinstance(conv, nn.Conv2d)
            conv.padding = (0, pad[0])
            results[step] = call_layer(before, str(step.target), conv, results[step.all_input_nodes[0]])
    return results[chain.steps[-1]]
