"""Rules on ranks, sizes and element types inside the program."""

from collections.abc import Iterator

from validators.coreml.rules.families import family
from validators.coreml.rules.program import Op, Program, Value
from validators.coreml.rules.rule import Finding, at, rule
from validators.coreml.rules.sizes import possible

_MOST_DIMENSIONS = 5
_POOLS = sorted(family("pool"))
_CONVOLUTIONS = sorted(family("conv"))
_FLOAT_ONLY = sorted(family("conv") | family("pool") | family("normalization") | family("activation") | {"pad"})
# The fewest and most dimensions that the operand x may have.
_RANKS = {
    **dict.fromkeys([*_CONVOLUTIONS, *_POOLS, "batch_norm"], (3, 5)),
    "instance_norm": (3, 4),
    "linear": (1, 3),
}


def _rank(value: Value | None) -> int | None:
    return None if value is None or value.type.shape is None else len(value.type.shape)


def _tensors(program: Program) -> Iterator[tuple[str, Value]]:
    """(what it comes from, the value) of every tensor that is computed on.

    What a constexpr op decompresses is left out: a look-up table has two dimensions more than the weight.
    """
    for value in program.inputs:
        yield "input", value
    stored = dict.fromkeys(
        value
        for op in program.ops
        if not op.type.startswith("constexpr_")
        for values in op.inputs.values()
        for value in values
        if value.is_constant and value.type.dtype.startswith("fp")
    )
    for value in stored:
        yield "const", value
    for op in program.ops:
        for value in op.outputs:
            if op.type != "const":
                yield op.type, value


@rule(
    "rank",
    "error",
    why=f"a tensor has at most {_MOST_DIMENSIONS} dimensions",
    fix="fold dimensions together by reshape before the op that adds the last",
    source="ct 1040, 1635, 1765",
)
def rank(program: Program) -> Iterator[Finding]:
    for kind, value in _tensors(program):
        if (found := _rank(value)) is not None and found > _MOST_DIMENSIONS:
            yield Finding(value.name, kind, f"has {found} dimensions")


@rule(
    "zero-size",
    "error",
    why="a dimension of size zero is refused; the shortest input that is admitted counts",
    fix="raise the least size of the input, or leave out what makes the empty tensor",
    source="ct 1040, 1635, 1765",
)
def zero_size(program: Program) -> Iterator[Finding]:
    found = possible(program)
    for kind, value in _tensors(program):
        empty = [shape for shape in found[value] if shape and any(size is not None and size <= 0 for size in shape)]
        if empty:
            sizes = ", ".join("?" if size is None else str(max(size, 0)) for size in empty[0])
            yield Finding(value.name, kind, f"can have the shape ({sizes})")


@rule(
    "float-only",
    "error",
    why="convolution, pooling, normalisation, pad and activations take floats only",
    fix="cast its operand to float32 or float16 before, and back after",
    source="MIL op tables",
)
def float_only(program: Program) -> Iterator[Finding]:
    for op in program.of(*_FLOAT_ONLY):
        x = op.input("x")
        if x is not None and x.type.dtype not in ("fp16", "fp32", "unknown"):
            yield at(op, f"takes {x.type.dtype}")


@rule(
    "operand-rank",
    "error",
    why="the op takes no tensor of that many dimensions",
    fix="add or fold dimensions by reshape before it, and undo it after",
    source="MIL conv, pool, batch_norm, instance_norm, linear",
)
def operand_rank(program: Program) -> Iterator[Finding]:
    for op in program.of(*_RANKS):
        least, most = _RANKS[op.type]
        if (found := _rank(op.input("x"))) is not None and not least <= found <= most:
            yield at(op, f"takes {found} dimensions, {least} to {most} are allowed")


@rule(
    "matmul-vector",
    "error",
    why="a matrix product with a one-dimensional operand is refused",
    fix="expand_dims the vector to a matrix, and squeeze the product",
    source="ct 2263; MIL matmul",
)
def matmul_vector(program: Program) -> Iterator[Finding]:
    for op in program.of("matmul"):
        for name in ("x", "y"):
            if _rank(op.input(name)) == 1:
                yield at(op, f"operand {name} has one dimension")


@rule(
    "pool-dilation",
    "error",
    why="pooling knows no dilation",
    fix="pool strided slices, or replace the pool by a convolution",
    source="MIL pool",
)
def pool_dilation(program: Program) -> Iterator[Finding]:
    for op in program.of(*_POOLS):
        if "dilations" in op.inputs:
            yield at(op, f"has dilations {op.constant('dilations', 'that are computed')}")


@rule(
    "pool-ceil",
    "error",
    why="ceil_mode goes with the same padding on both sides, and not with pad_type same",
    fix="pad in an op of its own before the pool, or set ceil_mode to False and pad what is missing",
    source="MIL pool",
)
def pool_ceil(program: Program) -> Iterator[Finding]:
    for op in program.of(*_POOLS):
        if not op.constant("ceil_mode", False):
            continue
        kind = op.constant("pad_type", "valid")
        if kind.startswith("same"):
            yield at(op, f"has ceil_mode and pad_type {kind}")
        elif kind == "custom" and (uneven := _uneven(op)):
            yield at(op, f"has ceil_mode and pads {', '.join(uneven)}")


def _uneven(op: Op) -> list[str]:
    pads = op.constant("pad", [])
    pairs = zip(pads[::2], pads[1::2], strict=False)
    return [f"{before} before and {after} after" for before, after in pairs if before != after]
