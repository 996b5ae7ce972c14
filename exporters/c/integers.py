"""The part of a graph that computes with shapes: known ahead but for the length, and so never an array at run time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx

from exporters.c.program import Integers, UnsupportedError, Value
from exporters.c.sizes import Size, Sizes

_FAR = 2**31


def constant(values: Any) -> Integers:
    """Of a NumPy array."""
    return Integers(tuple(map(Size.of, values.shape)), tuple(Size.of(int(value)) for value in values.ravel()))


def small(value: Value) -> list[Size]:
    """The elements of what is listed."""
    if not isinstance(value, Integers) or value.elements is None:
        raise UnsupportedError("a shape or a bound that is not known ahead")
    return list(value.elements)


def numbers(value: Value) -> list[int]:
    """The elements of what does not even depend on the length."""
    found = [size.number for size in small(value)]
    if None in found:
        raise UnsupportedError("an axis or a step that depends on the length")
    return [number for number in found if number is not None]


def computed(node: onnx.NodeProto, inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
    """What a node makes of numbers, or of the shape of an array; UnsupportedError where that is not known here."""
    if node.op_type not in _OPERATORS:
        raise UnsupportedError(f"{node.op_type} of whole numbers")
    return _OPERATORS[node.op_type](inputs, attributes, sizes)


def _whole(value: Value) -> Integers:
    if not isinstance(value, Integers):
        raise UnsupportedError("whole numbers that come from an array")
    return value


def _shape(inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
    shape = inputs[0].shape[attributes.get("start", 0) : attributes.get("end", _FAR)]
    return Integers((Size.of(len(shape)),), tuple(shape))


def _reshaped(inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
    value = _whole(inputs[0])
    return Integers((_count(value),), value.elements, value.element)


def _squeeze(inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
    value = _whole(inputs[0])
    return Integers(tuple(size for size in value.shape if size.number != 1), value.elements, value.element)


def _unsqueeze(inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
    value, (axis,) = _whole(inputs[0]), numbers(inputs[1])
    shape = list(value.shape)
    shape.insert(axis % (len(shape) + 1), Size.of(1))
    return Integers(tuple(shape), value.elements, value.element)


def _count(value: Integers) -> Size:
    count = Size.of(1)
    for size in value.shape:
        count = count * size
    return count


def _concat(inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
    parts = [_whole(value) for value in inputs]
    if all(part.elements is not None for part in parts):
        elements = tuple(size for part in parts for size in small(part))
        return Integers((Size.of(len(elements)),), elements)
    text, count = parts[-1].at("{0}"), Size.of(0)
    starts = []
    for part in parts:
        starts.append(count)
        count = count + _count(part)
    text = parts[-1].at(f"({{0}} - {starts[-1].text()})")
    for part, start, end in reversed(list(zip(parts[:-1], starts[:-1], starts[1:], strict=True))):
        own = part.at("{0}" if start.number == 0 else f"({{0}} - {start.text()})")
        text = f"({{0}} < {end.text()} ? {own} : {text})"
    return Integers((count,), None, text)


def _slice(inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
    value, (start,), (end,) = _whole(inputs[0]), numbers(inputs[1]), numbers(inputs[2])
    if len(inputs) > 4 and numbers(inputs[4]) != [1]:
        raise UnsupportedError("a slice of whole numbers with steps")
    if value.elements is not None:
        elements = value.elements[start:end]
        return Integers((Size.of(len(elements)),), elements)
    (count,) = value.shape
    if end < _FAR:
        raise UnsupportedError("a slice of whole numbers with an end")
    first = count + start if start < 0 else Size.of(start)
    text = value.at("{0}" if first.number == 0 else f"({{0}} + {first.text()})")
    return Integers((count - first,), None, text)


def _range(inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
    (start,), (end,), (step,) = numbers(inputs[0]), small(inputs[1]), numbers(inputs[2])
    if start or step != 1:
        raise UnsupportedError("a range that begins elsewhere than at 0, or with steps")
    return Integers((end,), None, "{0}")


def _tile(inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
    value, repeats = _whole(inputs[0]), numbers(inputs[1])
    *others, last = repeats
    if set(others) - {1} or value.shape[-1].number != 1:
        raise UnsupportedError("a tiling of whole numbers but for the last axis, 1 long")
    return Integers((*value.shape[:-1], Size.of(last)), None, value.at(f"({{0}} / {last})"))


def _same(inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
    if len(inputs) > 1 and tuple(small(inputs[1])) != inputs[0].shape:
        raise UnsupportedError("whole numbers that are repeated")
    return _whole(inputs[0])


def _gather(inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
    value, index = _whole(inputs[0]), _whole(inputs[1])
    if value.elements is not None:
        elements = [value.elements[place] for place in numbers(index)]
        return Integers(index.shape, tuple(elements))
    return Integers((_count(index),), None, value.at(f"({index.at('{0}')})"))


def _arithmetic(combine: Callable[[Size, Size, Sizes], Size]) -> Callable[..., Integers]:
    def computed(inputs: Sequence[Value], attributes: dict[str, Any], sizes: Sizes) -> Integers:
        one, two = (small(value) for value in inputs)
        count = max(len(one), len(two))
        if {len(one), len(two)} - {1, count}:
            raise UnsupportedError("whole numbers of different counts")
        pairs = zip(one * (count // len(one)), two * (count // len(two)), strict=True)
        shape = max((value.shape for value in inputs), key=len)
        return Integers(shape, tuple(combine(a, b, sizes) for a, b in pairs))

    return computed


def _floor(a: Size, b: Size, sizes: Sizes) -> Size:
    if b.number is None or b.number < 1:
        raise UnsupportedError("a division by what depends on the length")
    return sizes.floor(a, b.number, "size.part")


_OPERATORS: dict[str, Callable[[Sequence[Value], dict[str, Any], Sizes], Integers]] = {
    "Shape": _shape,
    "Reshape": _reshaped,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Slice": _slice,
    "Range": _range,
    "Tile": _tile,
    "Max": _same,
    "Cast": _same,
    "Expand": _same,
    "Gather": _gather,
    "GatherND": _gather,
    "Add": _arithmetic(lambda a, b, sizes: a + b),
    "Sub": _arithmetic(lambda a, b, sizes: a - b),
    "Mul": _arithmetic(lambda a, b, sizes: a * b),
    "Div": _arithmetic(_floor),
}
