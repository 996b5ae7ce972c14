"""A graph while it is translated: what operators read and what they make, computed, put off or only viewed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from exporters.c import integers, loops
from exporters.c.program import Buffer, Integers, Lazy, Program, Shape, UnsupportedError, Value, View
from exporters.c.sizes import Size, Sizes

# Of one expression in C: more are computed before.
_MOST_OPERANDS = 8


class Translation:
    """A graph on its way; `value` and `array` give operators what they read, `give` and `defer` take what they make."""

    def __init__(self, graph: onnx.GraphProto, program: Program, fed: View) -> None:
        self.program = program
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.values: dict[str, Value] = {graph.input[0].name: fed}
        self.outputs = {output.name for output in graph.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.readers[name].append(node)
        # Nodes that another one has taken over.
        self.done: set[str] = set()

    @property
    def sizes(self) -> Sizes:
        return self.program.sizes

    def value(self, name: str) -> Value:
        """What a node reads by that name, computed or not."""
        if name in self.constants and name not in self.values:
            array = self.constants[name]
            whole = array.dtype.kind in "iu"
            self.values[name] = integers.constant(array) if whole else self.program.constant(array)
        return self.values[name]

    def counts(self, name: str) -> bool:
        """Whether it is whole numbers, which are known ahead."""
        if name in self.constants:
            return self.constants[name].dtype.kind in "iu"
        return isinstance(self.values[name], Integers)

    def array(self, name: str) -> View:
        """What a node reads by that name, in memory."""
        value = self.value(name)
        if isinstance(value, Integers):
            raise UnsupportedError(f"whole numbers in place of the array {name}")
        if isinstance(value, Lazy):
            value = self.values[name] = self.stored(name, value)
        return value

    def ordered(self, name: str, order: Sequence[int]) -> View:
        """The same without gaps, the last axis of `order` innermost; a copy where it lies otherwise."""
        value = self.value(name)
        if isinstance(value, Lazy):
            value = self.values[name] = self.stored(name, value, order)
        assert isinstance(value, View)
        return value if value.rows(order) else self.stored(name, value, order)

    def plain(self, name: str) -> View:
        """The same in the order of its axes."""
        return self.ordered(name, range(len(self.shape(name))))

    def shape(self, name: str) -> Shape:
        return self.value(name).shape

    def stored(self, name: str, value: Lazy | View, order: Sequence[int] | None = None) -> View:
        """An expression computed into a new array, or an array copied."""
        out = self.program.array(name, value.shape, loops.order_of(self.program, value) if order is None else order)
        loops.compute(self.program, name, value, out)
        return out

    def give(self, name: str, value: Value) -> None:
        self.values[name] = value

    def defer(self, name: str, expression: str, operands: Sequence[Value]) -> None:
        """The result `name` of an expression whose places {0}, {1} ... are these, which may be put off themselves."""
        text, views = combined(expression, operands)
        shape = broadcast([value.shape for value in operands])
        lazy = Lazy(shape, text, views)
        readers = self.readers[name]
        if len(readers) != 1 or name in self.outputs or len(views) > _MOST_OPERANDS:
            self.give(name, self.stored(name, lazy))
        else:
            self.give(name, lazy)

    def sole_reader(self, name: str) -> onnx.NodeProto | None:
        """The node that reads it, where nothing else does and it is no output."""
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name not in self.outputs else None


def combined(expression: str, operands: Sequence[Value]) -> tuple[str, tuple[View, ...]]:
    """The expression with those of its operands put in, and all arrays that it reads, each once."""
    views: list[View] = []
    texts = []
    for operand in operands:
        if isinstance(operand, Integers):
            raise UnsupportedError("whole numbers in an expression of arrays")
        inner = operand.operands if isinstance(operand, Lazy) else (operand,)
        places = []
        for view in inner:
            if view not in views:
                views.append(view)
            places.append(f"{{{views.index(view)}}}")
        texts.append(f"({operand.expression.format(*places)})" if isinstance(operand, Lazy) else places[0])
    return expression.format(*texts), tuple(views)


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """ONNX's broadcasting, from the right; UnsupportedError where two sizes are not known to be the same."""
    rank = max(map(len, shapes))
    found = []
    for axis in range(rank):
        sizes = {shape[axis - rank + len(shape)] for shape in shapes if axis - rank + len(shape) >= 0}
        wide = sizes - {Size.of(1)}
        if len(wide) > 1:
            raise UnsupportedError(f"arrays of {' and '.join(sorted(size.text() for size in wide))} in one expression")
        found.append(wide.pop() if wide else Size.of(1))
    return tuple(found)


def part_of(buffer: Buffer, whole: View, start: Size) -> bool:
    """Puts a buffer where it is a part of another array, so that what writes it writes there; False where it cannot."""
    if buffer.given or buffer.parent is not None or whole.buffer.whole() is buffer:
        return False
    buffer.parent, buffer.start = whole.buffer, start
    return True


def scalar(work: Translation, name: str) -> float | None:
    """The value of a constant that is one number."""
    array = work.constants.get(name)
    return float(array.ravel()[0]) if array is not None and array.size == 1 else None


def literal(value: float) -> str:
    """A float32 in C, exactly."""
    text = repr(float(np.float32(value)))
    short = np.format_float_positional(np.float32(value), unique=True, trim="0") if 1e-4 < abs(value) < 1e6 else text
    return f"{short}f" if value >= 0 else f"({short}f)"
