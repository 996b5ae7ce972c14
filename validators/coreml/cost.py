"""What a program costs: the products that are summed (multiply-accumulates, MACs), by op type, from its shapes.

A product with a zero of a padding counts too, as in PyTorch's own counter (torch.utils.flop_counter, two operations a
MAC). Where a length is free, it is the default one. Nothing is run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from validators.coreml.rules.program import Op, Program, Shape
from validators.coreml.rules.sizes import Shapes, shapes

_Count = Callable[[Op, Shapes, Shape], int]


@dataclass(frozen=True)
class Macs:
    """`by_op` counts by op type, the greatest first; `unknown` names the ops whose sizes the file leaves open.

    The body of a loop counts once, and both branches of a condition. Recurrent layers and attention as one op, which
    no package of ours has, are among the unknown.
    """

    by_op: Mapping[str, int]
    unknown: tuple[str, ...]

    @property
    def total(self) -> int:
        return sum(self.by_op.values())


def macs(program: Program, inputs: Mapping[str, Shape] | None = None) -> Macs:
    """For these shapes of the inputs, by name; those that are left out have their default."""
    given = {feature.name: feature.shape for feature in program.features} | dict(inputs or {})
    found = shapes(program, given)
    counts: dict[str, int] = {}
    unknown = []
    for op in program.ops:
        if op.type not in _COUNTS and op.type not in _UNCOUNTED:
            continue
        count = _count(op, found)
        if count is None:
            unknown.append(op.name)
        else:
            counts[op.type] = counts.get(op.type, 0) + count
    return Macs(dict(sorted(counts.items(), key=lambda item: -item[1])), tuple(unknown))


def _count(op: Op, found: Shapes) -> int | None:
    out = found[op.outputs[0]] if op.outputs else None
    if op.type in _UNCOUNTED or out is None:
        return None
    try:
        return _COUNTS[op.type](op, found, out)
    except TypeError:
        return None  # a size that is not known, which multiplies with nothing


def _sizes(op: Op, name: str, found: Shapes) -> tuple[int, ...]:
    """Raises TypeError where one is not known."""
    value = op.input(name)
    shape = None if value is None else found[value]
    if shape is None:
        raise TypeError(name)
    return _known(shape)


def _known(shape: Shape) -> tuple[int, ...]:
    known = tuple(size for size in shape if size is not None)
    if len(known) < len(shape):
        raise TypeError("a size is free")
    return known


def _conv(op: Op, found: Shapes, out: Shape) -> int:
    """Each result sums over a kernel, (outputs, inputs / groups, taps ...)."""
    return prod(_known(out)) * prod(_sizes(op, "weight", found)[1:])


def _conv_transpose(op: Op, found: Shapes, out: Shape) -> int:
    """Each place of the input spreads over a kernel, (inputs, outputs / groups, taps ...)."""
    return prod(_sizes(op, "x", found)) * prod(_sizes(op, "weight", found)[1:])


def _linear(op: Op, found: Shapes, out: Shape) -> int:
    return prod(_known(out)) * _sizes(op, "weight", found)[-1]


def _matmul(op: Op, found: Shapes, out: Shape) -> int:
    return prod(_known(out)) * _sizes(op, "x", found)[-2 if op.constant("transpose_x", False) else -1]


def _einsum(op: Op, found: Shapes, out: Shape) -> int:
    """The size of every letter once; where there is a dot for axes that broadcast, MIL refuses it itself."""
    sizes: dict[str, int] = {}
    terms = str(op.constant("equation")).split("->")[0].split(",")
    for term, value in zip(terms, op.inputs["values"], strict=True):
        shape = found[value]
        if shape is None:
            raise TypeError("values")
        for letter, size in zip(term.strip(), _known(shape), strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return prod(sizes.values())


_COUNTS: Mapping[str, _Count] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "einsum": _einsum,
    "linear": _linear,
    "matmul": _matmul,
}
_UNCOUNTED = frozenset({"gru", "lstm", "rnn", "scaled_dot_product_attention"})
