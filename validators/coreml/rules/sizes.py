"""Shapes that values take for given input shapes, as far as the file makes them certain.

A size is what the file declares or, where that is flexible, what the op's own arithmetic makes of its operands. Ops
that are not listed here, shapes that the program computes and whatever depends on these stay unknown (None): a rule
may then claim nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from math import prod

from validators.coreml.rules.families import family
from validators.coreml.rules.program import MOST_SHAPES, Op, Program, Shape, Value

Shapes = dict[Value, Shape | None]
_Rule = Callable[[Op, Shapes], Shape | None]

# About a second's work: 128 settings of 4,000 ops, and a tagger has some hundred.
_MOST_FOUND = 500_000


def settings(program: Program) -> Iterator[dict[str, Shape]]:
    """Input shapes by name that the description admits, at the ends of what is flexible.

    Ranges give their least and greatest sizes, enumerated shapes as many as Core ML takes: a rule says where there are
    more. Several inputs change together.
    """
    extremes = {feature.name: feature.extremes() for feature in program.features if feature.kind == "multiArrayType"}
    count = min(max(map(len, extremes.values()), default=1), MOST_SHAPES)
    for index in range(count):
        yield {name: shapes[min(index, len(shapes) - 1)] for name, shapes in extremes.items()}


def shapes(program: Program, inputs: Mapping[str, Shape]) -> Shapes:
    """The shape of every value for these shapes of the inputs; a shape of None is an unknown rank."""
    found: Shapes = {}
    _find(found, program, inputs, program.ops)
    return found


def possible(program: Program) -> dict[Value, tuple[Shape | None, ...]]:
    """The shapes of every value over all settings, each once.

    Of a program so large that all would take minutes, the settings in the middle are left out.
    """
    # The others are what the file declares them to be, whatever the inputs are.
    ops = [op for op in program.ops if _is_free(op)]
    first, *others = _ends(list(settings(program)), max(_MOST_FOUND // (1 + len(ops)), 2))
    found = shapes(program, first)
    free = {value: {found[value]: None} for value in (*program.inputs, *(value for op in ops for value in op.outputs))}
    for inputs in others:
        _find(found, program, inputs, ops)
        for value, seen in free.items():
            seen[found[value]] = None
    return {value: tuple(free[value]) if value in free else (shape,) for value, shape in found.items()}


def _ends(cases: list[dict[str, Shape]], most: int) -> list[dict[str, Shape]]:
    """Half of them with the least inputs and half with the greatest, where there are more."""
    if len(cases) <= most:
        return cases
    ordered = sorted(cases, key=lambda inputs: sum(prod(size or 0 for size in shape) for shape in inputs.values()))
    return [*ordered[: most // 2], *ordered[len(cases) - (most - most // 2) :]]


def _find(found: Shapes, program: Program, inputs: Mapping[str, Shape], ops: Iterable[Op]) -> None:
    """Enter what these ops make of the inputs."""
    found.update((value, _agreed(value.type.shape, inputs.get(value.name))) for value in program.inputs)
    for op in ops:
        for value in (value for values in op.inputs.values() for value in values):
            found.setdefault(value, value.type.shape)  # inputs of nested blocks, constants in place
        derived = _derived(op, found) if _is_free(op) else None
        for index, value in enumerate(op.outputs):
            found[value] = _agreed(value.type.shape, derived if index == 0 else None)


def _is_free(op: Op) -> bool:
    """Whether the file leaves a size of what it makes open."""
    return any(value.type.shape is None or None in value.type.shape for value in op.outputs)


def _derived(op: Op, found: Shapes) -> Shape | None:
    if op.type not in _DERIVED:
        return None
    try:
        return _DERIVED[op.type](op, found)
    except (IndexError, TypeError, ValueError, ZeroDivisionError):
        return None  # operands that do not go together make no shape; what is wrong with them is for the rules to say


def _agreed(declared: Shape | None, derived: Shape | None) -> Shape | None:
    """The declared sizes, with the derived ones where those are flexible."""
    if declared is None:
        return derived
    if derived is None or len(derived) != len(declared):
        return declared
    return tuple(known if known is not None else size for known, size in zip(declared, derived, strict=True))


def _shape(op: Op, name: str, found: Shapes) -> Shape | None:
    value = op.input(name)
    return None if value is None else found[value]


def _unchanged(op: Op, found: Shapes) -> Shape | None:
    return _shape(op, "x", found)


def _broadcast(op: Op, found: Shapes) -> Shape | None:
    x, y = _shape(op, "x", found), _shape(op, "y", found)
    return None if x is None or y is None else _together(x, y)


def _together(x: Shape, y: Shape) -> Shape:
    """What two shapes broadcast to, aligned at their ends."""
    pairs = zip_longest(reversed(x), reversed(y), fillvalue=1)
    return tuple(reversed([_wider(a, b) for a, b in pairs]))


def _wider(a: int | None, b: int | None) -> int | None:
    """The size of two dimensions that broadcast; an unknown one may still be 1."""
    if a == 1 or a == b:
        return b
    if b == 1 or b is None:
        return a
    return b if a is None else None


def _expand_dims(op: Op, found: Shapes) -> Shape | None:
    x, axes = _shape(op, "x", found), op.constant("axes")
    if x is None or axes is None:
        return None
    rank = len(x) + len(axes)
    added = {axis % rank for axis in axes}
    rest = iter(x)
    return tuple(1 if axis in added else next(rest) for axis in range(rank))


def _squeeze(op: Op, found: Shapes) -> Shape | None:
    x, axes = _shape(op, "x", found), op.constant("axes")
    if x is None or (axes is None and None in x):
        return None
    dropped = {axis for axis, size in enumerate(x) if size == 1} if axes is None else {axis % len(x) for axis in axes}
    return tuple(size for axis, size in enumerate(x) if axis not in dropped)


def _transpose(op: Op, found: Shapes) -> Shape | None:
    x, perm = _shape(op, "x", found), op.constant("perm")
    return None if x is None or perm is None else tuple(x[axis] for axis in perm)


def _reshape(op: Op, found: Shapes) -> Shape | None:
    """A 0 copies a size, which MIL allows only where the ranks agree; one -1 takes what is left."""
    x, target = _shape(op, "x", found), op.constant("shape")
    if x is None or target is None:
        return None
    sizes = [x[axis] if size == 0 and axis < len(x) else size for axis, size in enumerate(target)]
    known = [size for size in sizes if size != -1]
    if -1 not in sizes or None in known or None in x:
        return tuple(None if size == -1 else size for size in sizes)
    left = prod(size for size in x if size is not None) // max(prod(size for size in known if size is not None), 1)
    return tuple(left if size == -1 else size for size in sizes)


def _concat(op: Op, found: Shapes) -> Shape | None:
    parts = [found[value] for value in op.inputs.get("values", ())]
    axis = op.constant("axis")
    known = [part for part in parts if part is not None]
    if axis is None or not known or len(known) < len(parts) or op.constant("interleave", False):
        return None
    sizes = [part[axis] for part in known]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    first = known[0]
    return tuple(total if index == axis % len(first) else size for index, size in enumerate(first))


def _slice_by_index(op: Op, found: Shapes) -> Shape | None:
    """As Python slices, negative places from the end too; a dimension that is squeezed is one place of it."""
    x, begin, end = _shape(op, "x", found), op.constant("begin"), op.constant("end")
    if x is None or begin is None or end is None:
        return None
    rank = len(x)
    strides = op.constant("stride", [1] * rank)
    from_first, to_last, squeezed = (
        op.constant(name, [False] * rank) for name in ("begin_mask", "end_mask", "squeeze_mask")
    )
    spans = [
        slice(None if from_first[i] else begin[i], None if to_last[i] else end[i], strides[i]) for i in range(rank)
    ]
    return tuple(
        None if size is None else len(range(size)[span])
        for size, span, gone in zip(x, spans, squeezed, strict=True)
        if not gone
    )


def _pad(op: Op, found: Shapes) -> Shape | None:
    x, amounts = _shape(op, "x", found), op.constant("pad")
    if x is None or amounts is None or len(amounts) > 2 * len(x):
        return None
    pairs = [0] * (2 * len(x) - len(amounts)) + amounts
    return tuple(None if size is None else size + pairs[2 * i] + pairs[2 * i + 1] for i, size in enumerate(x))


def _reduced(op: Op, found: Shapes) -> Shape | None:
    x = _shape(op, "x", found)
    if x is None:
        return None
    axes = {axis % len(x) for axis in op.constant("axes", list(range(len(x))))}
    if op.constant("keep_dims", False):
        return tuple(1 if axis in axes else size for axis, size in enumerate(x))
    return tuple(size for axis, size in enumerate(x) if axis not in axes)


def _linear(op: Op, found: Shapes) -> Shape | None:
    x, weight = _shape(op, "x", found), _shape(op, "weight", found)
    return None if x is None or weight is None else (*x[:-1], weight[0])


def _matmul(op: Op, found: Shapes) -> Shape | None:
    x, y = _shape(op, "x", found), _shape(op, "y", found)
    if x is None or y is None or min(len(x), len(y)) < 2:
        return None
    rows = x[-1] if op.constant("transpose_x", False) else x[-2]
    columns = y[-2] if op.constant("transpose_y", False) else y[-1]
    return (*_together(x[:-2], y[:-2]), rows, columns)


def _conv(op: Op, found: Shapes) -> Shape | None:
    x, weight = _shape(op, "x", found), _shape(op, "weight", found)
    if x is None or weight is None or len(x) != len(weight):
        return None
    kernel = [size for size in weight[2:] if size is not None]
    return (x[0], weight[0], *_windows(op, x[2:], kernel))


def _pool(op: Op, found: Shapes) -> Shape | None:
    x, kernel = _shape(op, "x", found), op.constant("kernel_sizes")
    return None if x is None or kernel is None else (*x[:2], *_windows(op, x[2:], kernel))


def _windows(op: Op, sizes: Shape, kernel: Sequence[int]) -> Shape:
    """The number of windows along each spatial dimension."""
    spatial = len(sizes)
    strides, dilations = op.constant("strides", [1] * spatial), op.constant("dilations", [1] * spatial)
    pads, ceil = op.constant("pad", [0] * 2 * spatial), op.constant("ceil_mode", False)
    kind = op.constant("pad_type", "valid")
    return tuple(
        _count(kind, size, (kernel[i] - 1) * dilations[i] + 1, strides[i], pads[2 * i], pads[2 * i + 1], ceil)
        for i, size in enumerate(sizes)
    )


def _count(kind: str, size: int | None, kernel: int, stride: int, before: int, after: int, ceil: bool) -> int | None:
    """Windows along one dimension, as MIL's convolutions and pools count them; `kernel` with its dilation."""
    if size is None:
        return None
    if kind in ("same", "same_lower"):
        return -(-size // stride)
    if kind == "valid":
        before = after = 0
    room = size + before + after - kernel
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    # A window that would begin in the padding at the end is left out.
    return count - 1 if (before or after) and (count - 1) * stride >= size + before else count


_DERIVED: dict[str, _Rule] = {
    **dict.fromkeys(family("elementwise_unary") | family("activation") | family("normalization"), _unchanged),
    **dict.fromkeys(family("elementwise_binary"), _broadcast),
    **dict.fromkeys(family("reduction") - {"reduce_argmax", "reduce_argmin"}, _reduced),
    **dict.fromkeys(family("pool"), _pool),
    **dict.fromkeys(("cumsum", "identity", "reverse"), _unchanged),
    "concat": _concat,
    "conv": _conv,
    "expand_dims": _expand_dims,
    "linear": _linear,
    "matmul": _matmul,
    "pad": _pad,
    "reshape": _reshape,
    "slice_by_index": _slice_by_index,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
