"""Rules on `pad`.

Its amounts come in pairs for the last dimensions, the first of these first.
"""

from collections.abc import Iterator

from validators.coreml.rules.program import Op, Program
from validators.coreml.rules.rule import Finding, at, rule
from validators.coreml.rules.sizes import possible

_MODES = ("constant", "reflect", "replicate")
_COPYING = ("reflect", "replicate")


def _mode(op: Op) -> str:
    return op.constant("mode", "constant")


def _amounts(op: Op) -> list[tuple[int, int, int]]:
    """(dimension counted from the end, before, after) of every padded dimension; none where they are computed."""
    flat = op.constant("pad", [])
    count = len(flat) // 2
    pairs = ((index - count, flat[2 * index], flat[2 * index + 1]) for index in range(count))
    return [pair for pair in pairs if pair[1] or pair[2]]


@rule(
    "pad-mode",
    "error",
    why=f"Core ML pads in the modes {', '.join(_MODES)} alone; other frameworks' modes pass their frontends unseen",
    fix="write circular and symmetric pads as slices and a concat before conversion",
    source="ct 2280; MIL pad",
)
def pad_mode(program: Program) -> Iterator[Finding]:
    for op in program.of("pad"):
        if _mode(op) not in _MODES:
            yield at(op, f"mode is {_mode(op)!r}")


@rule(
    "pad-dimensions",
    "error",
    why="reflect and replicate work on the last two dimensions only, the model does not load otherwise",
    fix="transpose the padded dimensions to the end, pad there, transpose back",
    source="ct 2576, 2701",
)
def pad_dimensions(program: Program) -> Iterator[Finding]:
    for op in program.of("pad"):
        outside = [dimension for dimension, _, _ in _amounts(op) if dimension < -2]
        if outside and _mode(op) in _COPYING:
            yield at(op, f"{_mode(op)} pads dimension {', '.join(map(str, outside))} (counted from the end)")


@rule(
    "pad-amount",
    "error",
    why="reflect reaches at most size - 1 and replicate at most size; the shortest input that is admitted counts",
    fix="raise the least size of the input, or pad less",
    source="MIL pad",
)
def pad_amount(program: Program) -> Iterator[Finding]:
    for op, dimension, amount, size in _limits(program):
        if size is not None and amount > size - (_mode(op) == "reflect"):
            yield at(op, f"{_mode(op)} by {amount} of dimension {dimension}, which can be as small as {size}")


@rule(
    "pad-unknown-size",
    "warning",
    why="the file does not tell how small that dimension can be, so that reflect and replicate may reach too far",
    fix="try the shortest input on a device, or pad before the size becomes the program's own reckoning",
    source="MIL pad",
)
def pad_unknown_size(program: Program) -> Iterator[Finding]:
    for op, dimension, amount, size in _limits(program):
        if size is None:
            yield at(op, f"{_mode(op)} by {amount} of dimension {dimension}")


def _limits(program: Program) -> Iterator[tuple[Op, int, int, int | None]]:
    """Per copying pad and dimension its greater amount, and the least size, None where that is unknown."""
    found = possible(program)
    for op in program.of("pad"):
        x = op.input("x")
        if x is None or _mode(op) not in _COPYING:
            continue
        for dimension, before, after in _amounts(op):
            sizes = [shape[dimension] for shape in found[x] if shape is not None and len(shape) >= -dimension]
            known = [size for size in sizes if size is not None]
            yield op, dimension, max(before, after), min(known, default=None)


@rule(
    "pad-constant",
    "error",
    why="amounts that the program computes are taken for tensors of one dimension only",
    fix="make the amounts constants: fix the input's length, or pad the most and slice",
    source="ct 1921, 2159, 2583",
)
def pad_constant(program: Program) -> Iterator[Finding]:
    for op in program.of("pad"):
        x, amounts = op.input("x"), op.input("pad")
        if x is None or amounts is None or amounts.is_constant or x.type.shape is None:
            continue
        if len(x.type.shape) > 1:
            yield at(op, f"the amounts {amounts.name!r} for {len(x.type.shape)} dimensions are computed")
