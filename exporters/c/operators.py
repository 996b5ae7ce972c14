"""What each ONNX operator (https://onnx.ai/onnx/operators) comes to: a view, an expression put off, or a kernel."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite
from typing import Any

import numpy as np
import onnx

from exporters.c import integers, loops
from exporters.c.convolution import average_pool, conv, gemm, matmul, max_pool
from exporters.c.program import Integers, Lazy, UnsupportedError, Value, View
from exporters.c.sizes import Size
from exporters.c.translation import Translation, literal, part_of, scalar

_ONE, _ZERO = Size.of(1), Size.of(0)
_FAR = 2**31

Operator = Callable[[Translation, onnx.NodeProto, dict[str, Any]], None]


def _elementwise(expression: str) -> Operator:
    def put_off(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        operands: list[Value] = []
        places: dict[int, str] = {}
        for number, name in enumerate(node.input):
            value = scalar(work, name)
            if value is not None and len(node.input) > 1:
                places[number] = literal(value)
            else:
                places[number] = f"{{{len(operands)}}}"
                operands.append(work.value(name))
        work.defer(node.output[0], expression.format(*(places[number] for number in range(len(node.input)))), operands)

    return put_off


def _leaky_relu(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    slope = literal(attributes.get("alpha", 0.01))
    x = work.array(node.input[0])
    work.defer(node.output[0], f"{{0}} > 0 ? {{0}} : {slope} * {{0}}", [x])


def _clip(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    least, most = (scalar(work, name) if name else None for name in [*node.input[1:], "", ""][:2])
    x = work.array(node.input[0])
    text = "{0}"
    if least is not None and least > -inf:
        text = f"({text} < {literal(least)} ? {literal(least)} : {text})"
    if most is not None and most < inf:
        text = f"({text} > {literal(most)} ? {literal(most)} : {text})"
    work.defer(node.output[0], text, [x])


def _twice(expression: str) -> Operator:
    """Of an expression that names its operand more than once."""

    def put_off(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        work.defer(node.output[0], expression, [work.array(name) for name in node.input])

    return put_off


def _batch_normalization(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    gain, shift, mean, variance = (work.constants[name].astype(np.float64) for name in node.input[1:])
    scale = gain / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    shape = (-1,) + (1,) * (len(work.shape(node.input[0])) - 2)
    factors = [work.program.constant(values.reshape(shape)) for values in (scale, shift - mean * scale)]
    work.defer(node.output[0], "{0} * {1} + {2}", [work.value(node.input[0]), *factors])


def _transpose(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    x, axes = work.array(node.input[0]), attributes["perm"]
    picked = tuple((axes.index(axis), text) for axis, text in x.picked)
    work.give(
        node.output[0],
        View(x.buffer, tuple(x.shape[a] for a in axes), tuple(x.strides[a] for a in axes), x.offset, picked),
    )


def _unsqueeze(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    x = work.array(node.input[0])
    axes = integers.numbers(work.value(node.input[1])) if len(node.input) > 1 else attributes["axes"]
    shape, strides = list(x.shape), list(x.strides)
    rank = len(shape) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        shape.insert(axis, _ONE)
        strides.insert(axis, _ZERO)
    work.give(node.output[0], View(x.buffer, tuple(shape), tuple(strides), x.offset))


def _squeeze(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    x = work.array(node.input[0])
    gone = {axis % len(x.shape) for axis in integers.numbers(work.value(node.input[1]))}
    if any(x.shape[axis].number != 1 for axis in gone):
        raise UnsupportedError("an axis that is not known to be 1 long")
    kept = [axis for axis in range(len(x.shape)) if axis not in gone]
    work.give(
        node.output[0], View(x.buffer, tuple(x.shape[a] for a in kept), tuple(x.strides[a] for a in kept), x.offset)
    )


def _reshape(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    wanted = integers.small(work.value(node.input[1]))
    x = work.plain(node.input[0])
    total, rest = _ONE, _ONE
    for size in x.shape:
        total = total * size
    shape = [x.shape[axis] if size.number == 0 else size for axis, size in enumerate(wanted)]
    for size in shape:
        rest = rest if size.number == -1 else rest * size
    left = total.exactly(rest)
    if left is None:
        raise UnsupportedError("a size that does not divide the whole")
    shape = [left if size.number == -1 else size for size in shape]
    strides, step = [], _ONE
    for size in reversed(shape):
        strides.append(step)
        step = step * size
    work.give(node.output[0], View(x.buffer, tuple(shape), tuple(reversed(strides)), x.offset))


def _slice(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    x = work.array(node.input[0])
    starts, ends = (integers.numbers(work.value(name)) for name in node.input[1:3])
    axes = integers.numbers(work.value(node.input[3])) if len(node.input) > 3 else list(range(len(starts)))
    if len(node.input) > 4 and set(integers.numbers(work.value(node.input[4]))) != {1}:
        raise UnsupportedError("steps other than 1")
    shape, offset = list(x.shape), x.offset
    for axis, start, end in zip(axes, starts, ends, strict=True):
        size = x.shape[axis]
        first = size + start if start < 0 else Size.of(start)
        last = size if end >= _FAR or (size.number is not None and end > size.number) else Size.of(end)
        if end < 0:
            last = size + end
        if size.number is not None and not 0 <= (first.number or 0) <= (last.number or 0) <= size.number:
            raise UnsupportedError("a part that is not there")
        shape[axis] = last - first
        offset = offset + first * x.strides[axis]
    work.give(node.output[0], View(x.buffer, tuple(shape), x.strides, offset))


def _gather(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    x, index = work.array(node.input[0]), work.value(node.input[1])
    axis = attributes.get("axis", 0) % len(x.shape)
    if not isinstance(index, Integers) or len(index.shape) > 1:
        raise UnsupportedError("an index that is computed, or of more than one axis")
    if not index.shape:
        (place,) = integers.numbers(index)
        if (size := x.shape[axis].number) is not None and not -size <= place < size:
            raise UnsupportedError("an element that is not there")
        offset = x.offset + x.strides[axis] * (place if place >= 0 else x.shape[axis] + place)
        kept = [a for a in range(len(x.shape)) if a != axis]
        work.give(
            node.output[0], View(x.buffer, tuple(x.shape[a] for a in kept), tuple(x.strides[a] for a in kept), offset)
        )
        return
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    picked = View(x.buffer, shape, x.strides, x.offset, ((axis, index.at("{0}")),))
    work.give(node.output[0], Lazy(shape, "{0}", (picked,)))


def _expand(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    x = work.array(node.input[0])
    shape = integers.small(work.value(node.input[1]))
    if len(shape) != len(x.shape) or any(
        new != old and new.number != 1 and old.number != 1 for new, old in zip(shape, x.shape, strict=True)
    ):
        raise UnsupportedError("a shape with more axes")
    wide = tuple(old if new.number == 1 else new for new, old in zip(shape, x.shape, strict=True))
    strides = tuple(_ZERO if old.number == 1 else stride for old, stride in zip(x.shape, x.strides, strict=True))
    work.give(node.output[0], View(x.buffer, wide, strides, x.offset))


def _concat(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    values = [work.value(name) for name in node.input]
    axis = attributes["axis"] % len(values[0].shape)
    total = _ZERO
    for value in values:
        total = total + value.shape[axis]
    shape = (*values[0].shape[:axis], total, *values[0].shape[axis + 1 :])
    out = work.program.array(node.output[0], shape)
    place = _ZERO
    for name, value in zip(node.input, values, strict=True):
        part = View(out.buffer, value.shape, out.strides, place * out.strides[axis])
        outermost = all(size.number == 1 for size in shape[:axis])
        if not (outermost and _is_whole(value) and part_of(value.buffer, out, part.offset)):  # type: ignore[union-attr]
            assert not isinstance(value, Integers)
            loops.compute(work.program, f"{node.output[0]}: {name}", value, part)
        place = place + value.shape[axis]
    work.give(node.output[0], out)


def _is_whole(value: Any) -> bool:
    """Whether it is all of a buffer, in the order of its axes."""
    if not isinstance(value, View) or value.offset.number != 0 or not value.rows(range(len(value.shape))):
        return False
    size = _ONE
    for own in value.shape:
        size = size * own
    return size == value.buffer.size


_PADS = {b"reflect": "sp_reflect", b"edge": "sp_repeat", b"constant": "sp_surround"}


def _pad(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Of one axis, by reflection, its ends or a number; what is padded is written there, where that can be."""
    name = node.input[0]
    amounts = integers.numbers(work.value(node.input[1]))
    rank = len(work.shape(name))
    padded = [axis for axis in range(rank) if amounts[axis] or amounts[axis + rank]]
    mode = attributes.get("mode", b"constant")
    if mode not in _PADS or len(padded) != 1 or min(amounts) < 0:
        raise UnsupportedError("a pad that wraps around, cuts off, or is not of one axis")
    around = scalar(work, node.input[2]) if len(node.input) > 2 and node.input[2] else 0.0
    if around is None or not isfinite(around):
        raise UnsupportedError("a pad with what is no number")
    (axis,) = padded
    x = work.array(name)
    order = [a for a in loops.lies(work.program, x) if a != axis]
    singles = [a for a in order if x.shape[a].number == 1]
    # The padded axis outermost: what lies inside is in one piece.
    order = [*singles, axis, *(a for a in order if a not in singles)]
    before, after = amounts[axis], amounts[axis + rank]
    if mode == b"reflect" and (size := x.shape[axis].number) is not None and size <= max(before, after):
        raise UnsupportedError("a pad that is as long as what is padded")
    shape = list(x.shape)
    shape[axis] = shape[axis] + (before + after)
    out = work.program.array(node.output[0], shape, order)
    inside = View(out.buffer, x.shape, out.strides, out.strides[axis] * before)
    count = _ONE
    for own in x.shape:
        count = count * own
    own_buffer = x.offset.number == 0 and x.rows(order) and count == x.buffer.size
    if not (own_buffer and part_of(x.buffer, out, inside.offset)):
        loops.compute(work.program, name, x, inside)
    inner = out.strides[axis]
    last = f", {literal(around)}" if mode == b"constant" else ""
    line = f"{_PADS[mode]}({out.buffer.name}, 1, {before}, {x.shape[axis].text()}, {after}, {inner.text()}{last});"
    work.program.step(node.output[0], [line], [out], [out])
    work.give(node.output[0], out)


def _reduce(kernel: str) -> Operator:
    def reduce(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        x = work.array(node.input[0])
        rank = len(x.shape)
        given = integers.numbers(work.value(node.input[1])) if len(node.input) > 1 else attributes.get("axes")
        gone = {axis % rank for axis in given} if given is not None else set(range(rank))
        axes = {axis for axis in gone if x.shape[axis].number != 1}
        order = [axis for axis in loops.lies(work.program, x) if x.shape[axis].number != 1]
        if not (x.rows(order) and _beside(order, axes)):
            x = work.plain(node.input[0])
            order = [axis for axis in range(rank) if x.shape[axis].number != 1]
        if not _beside(order, axes):
            raise UnsupportedError("axes that are not beside each other")
        places = [order.index(axis) for axis in axes]
        first, last = (min(places), max(places)) if places else (0, -1)
        outer, count, inner = _ONE, _ONE, _ONE
        for place, axis in enumerate(order):
            if places and first <= place <= last:
                count = count * x.shape[axis]
            elif places and place < first:
                outer = outer * x.shape[axis]
            else:
                inner = inner * x.shape[axis]
        kept = [size if axis not in gone else _ONE for axis, size in enumerate(x.shape)]
        physical = [*(axis for axis in range(rank) if axis not in order), *order]
        out = work.program.array(node.output[0], kept, physical)
        sizes = f"{outer.text()}, {count.text()}, {inner.text()}"
        scale = {"sum": ", 1.0f", "mean": f", 1.0f / (float)({count.text()})", "max": ""}[kernel]
        function = "sp_reduce_max" if kernel == "max" else "sp_reduce_sum"
        work.program.step(node.output[0], [f"{function}({x.address()}, {sizes}{scale}, {out.address()});"], [x], [out])
        if not attributes.get("keepdims", 1):
            left = [axis for axis in range(rank) if axis not in gone]
            out = View(out.buffer, tuple(kept[a] for a in left), tuple(out.strides[a] for a in left))
        work.give(node.output[0], out)

    return reduce


def _beside(order: list[int], axes: set[int]) -> bool:
    """Whether axes follow each other."""
    places = sorted(order.index(axis) for axis in axes)
    return not places or places == list(range(places[0], places[-1] + 1))


def _of_rows(
    work: Translation, node: onnx.NodeProto, attributes: dict[str, Any], default: int
) -> tuple[View, View, str]:
    """What an operator over the last axis reads and writes, and its first arguments in C."""
    x = work.plain(node.input[0])
    if attributes.get("axis", default) % len(x.shape) != len(x.shape) - 1:
        raise UnsupportedError("an axis other than the last one")
    rows = _ONE
    for size in x.shape[:-1]:
        rows = rows * size
    out = work.program.array(node.output[0], x.shape)
    work.give(node.output[0], out)
    return x, out, f"{x.address()}, {rows.text()}, {x.shape[-1].text()}"


def _softmax(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    x, out, sizes = _of_rows(work, node, attributes, -1)
    work.program.step(node.output[0], [f"sp_softmax({sizes}, {out.address()});"], [x], [out])


def _layer_normalization(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    x, out, sizes = _of_rows(work, node, attributes, -1)
    factors = [work.array(name) for name in node.input[1:]]
    if any(factor.shape != x.shape[-1:] for factor in factors):
        raise UnsupportedError("factors for rows of another length")
    words = [factor.address() for factor in factors] + ["NULL"] * (2 - len(factors))
    epsilon = literal(attributes.get("epsilon", 1e-5))
    line = f"sp_layer_norm({sizes}, {', '.join(words)}, {epsilon}, {out.address()});"
    work.program.step(node.output[0], [line], [x, *factors], [out])


def _same(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    work.give(node.output[0], work.value(node.input[0]))


OPERATORS: dict[str, Operator] = {
    "Add": _elementwise("{0} + {1}"),
    "Sub": _elementwise("{0} - {1}"),
    "Mul": _elementwise("{0} * {1}"),
    "Div": _elementwise("{0} / {1}"),
    "Log": _elementwise("logf({0})"),
    "Exp": _elementwise("expf({0})"),
    "Sqrt": _elementwise("sqrtf({0})"),
    # Halves to the even one, as both have it.
    "Round": _elementwise("rintf({0})"),
    "Tanh": _elementwise("tanhf({0})"),
    "Erf": _elementwise("erff({0})"),
    "Sigmoid": _elementwise("1 / (1 + expf(-{0}))"),
    "Relu": _twice("{0} > 0 ? {0} : 0"),
    "HardSwish": _twice("{0} * ({0} > 3 ? 1 : {0} < -3 ? 0 : {0} / 6 + 0.5f)"),
    "Max": _twice("{0} > {1} ? {0} : {1}"),
    "Min": _twice("{0} < {1} ? {0} : {1}"),
    "LeakyRelu": _leaky_relu,
    "Clip": _clip,
    "BatchNormalization": _batch_normalization,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Slice": _slice,
    "Gather": _gather,
    "Expand": _expand,
    "Concat": _concat,
    "Pad": _pad,
    "ReduceSum": _reduce("sum"),
    "ReduceMean": _reduce("mean"),
    "ReduceMax": _reduce("max"),
    "Softmax": _softmax,
    "LayerNormalization": _layer_normalization,
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": matmul,
    "AveragePool": average_pool,
    "MaxPool": max_pool,
    "Identity": _same,
    "Dropout": _same,
}
