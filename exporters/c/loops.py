"""Whatever is computed element by element, as loops in C."""

from __future__ import annotations

from collections.abc import Sequence

from exporters.c.program import Lazy, Program, UnsupportedError, Value, View
from exporters.c.sizes import Size

_INDICES = "ijklmn"
_ZERO = Size.of(0)


def lies(program: Program, view: View) -> tuple[int, ...]:
    """The axes of an array, the one with the widest steps first."""
    sizes = program.sizes
    return tuple(
        sorted(
            range(len(view.shape)),
            key=lambda axis: (-sizes.value(view.strides[axis]), view.shape[axis].number == 1, axis),
        )
    )


def order_of(program: Program, value: Value) -> tuple[int, ...]:
    """How the result of an expression lies best: as its first operand of full size does."""
    if isinstance(value, View):
        return lies(program, value)
    assert isinstance(value, Lazy)
    for operand in value.operands:
        if operand.shape == value.shape:
            return lies(program, operand)
    return tuple(range(len(value.shape)))


def compute(program: Program, title: str, value: Lazy | View, out: View) -> None:
    """A step that writes an expression's elements, or another array's, into `out`."""
    if isinstance(value, View):
        value = Lazy(value.shape, "{0}", (value,))
    if value.shape != out.shape:
        raise UnsupportedError(f"{title} in place of another shape")
    operands = [_broadcast(operand, len(out.shape)) for operand in value.operands]
    picked = {axis for operand in operands for axis, _ in operand.picked}
    axes = [axis for axis in lies(program, out) if out.shape[axis].number != 1]
    # What lies beside each other everywhere is one axis.
    groups: list[list[int]] = []
    for axis in axes:
        if groups and not {axis, *groups[-1]} & picked and _merge(groups[-1][-1], axis, [out, *operands]):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    sizes = [_product(out, group) for group in groups]
    if _is_transposition(value, groups, operands, out):
        (x,) = operands
        rows, columns = sizes[1], sizes[0]
        lines = [
            f"sp_transpose({x.address()}, {rows.text()}, {columns.text()}, {x.strides[groups[1][-1]].text()}, "
            f"{out.address()}, {out.strides[groups[0][-1]].text()});"
        ]
    else:
        lines = [f"const float *restrict x{n} = {operand.address()};" for n, operand in enumerate(operands)]
        lines.append(f"float *restrict out = {out.address()};")
        for depth, size in enumerate(sizes):
            index = _INDICES[depth]
            lines.append(f"{'    ' * depth}for (size_t {index} = 0; {index} < {size.text()}; {index}++)")
        places = [f"x{n}[{_place(operand, groups)}]" for n, operand in enumerate(operands)]
        result = value.expression.format(*places)
        lines.append(f"{'    ' * len(sizes)}out[{_place(out, groups)}] = {result};")
    program.step(title, lines, value.operands, [out])


def _broadcast(view: View, rank: int) -> View:
    """With axes of step 0 where it is repeated."""
    missing = rank - len(view.shape)
    shape = (Size.of(1),) * missing + view.shape
    strides = (_ZERO,) * missing + tuple(
        _ZERO if size.number == 1 else stride for size, stride in zip(view.shape, view.strides, strict=True)
    )
    return View(view.buffer, shape, strides, view.offset, tuple((axis + missing, text) for axis, text in view.picked))


def _merge(outer: int, inner: int, views: Sequence[View]) -> bool:
    """Whether two axes are one in all these arrays."""
    size = views[0].shape[inner]
    return all(view.strides[outer] == view.strides[inner] * size for view in views)


def _product(view: View, axes: Sequence[int]) -> Size:
    product = Size.of(1)
    for axis in axes:
        product = product * view.shape[axis]
    return product


def _is_transposition(value: Lazy, groups: list[list[int]], operands: list[View], out: View) -> bool:
    if value.expression != "{0}" or len(groups) != 2 or operands[0].picked:
        return False
    (x,), (outer, inner) = operands, (group[-1] for group in groups)
    return out.strides[inner].number == 1 and x.strides[outer].number == 1 and x.strides[inner].number not in (0, 1)


def _place(view: View, groups: list[list[int]]) -> str:
    picked = dict(view.picked)
    words = []
    for index, group in zip(_INDICES, groups, strict=False):
        stride = view.strides[group[-1]]
        position = f"({picked[group[-1]].format(index)})" if group[-1] in picked else index
        if stride.number == 1:
            words.append(position)
        elif stride.number != 0:
            words.append(f"{position} * {stride.text()}")
    return " + ".join(words) or "0"
