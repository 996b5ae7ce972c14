"""A model as steps that read and write arrays, each array a view of a buffer; what a graph is turned into."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from exporters.c.sizes import Size, Sizes

# As kernels.h has it.
PANEL = 16

Shape = tuple[Size, ...]


class UnsupportedError(Exception):
    """An operator, or a form of one, that has no C here; the message says which."""


@dataclass(eq=False)
class Buffer:
    """Memory for one array. `parent` is one that this one is a part of, from `start` on, both in floats.

    A buffer that is given belongs to the caller: the input, an output or the weights.
    """

    name: str
    size: Size
    given: bool = False
    parent: Buffer | None = None
    start: Size = field(default_factory=lambda: Size.of(0))

    def whole(self) -> Buffer:
        """The memory that it lies in."""
        return self if self.parent is None else self.parent.whole()


@dataclass(frozen=True)
class View:
    """An array in a buffer: element (i, j, ...) is at offset + i * strides[0] + j * strides[1] + ...

    `picked` has, by axis, the position in C that stands for the place in the braces.
    """

    buffer: Buffer
    shape: Shape
    strides: Shape
    offset: Size = field(default_factory=lambda: Size.of(0))
    picked: tuple[tuple[int, str], ...] = ()

    def address(self) -> str:
        """A pointer to the first element, in C."""
        return self.buffer.name if self.offset.number == 0 else f"{self.buffer.name} + {self.offset.text()}"

    def rows(self, order: Sequence[int]) -> bool:
        """Whether it lies without gaps, the last axis of `order` innermost; axes that are 1 long lie anyhow."""
        if self.picked:
            return False
        step = Size.of(1)
        for axis in reversed(order):
            if self.shape[axis].number != 1:
                if self.strides[axis] != step:
                    return False
                step = step * self.shape[axis]
        return True


@dataclass(frozen=True)
class Lazy:
    """An array that is not computed yet: an expression in C with a place, {0} to {9}, for each operand.

    Operands are broadcast from the right as ONNX does.
    """

    shape: Shape
    expression: str
    operands: tuple[View, ...]


@dataclass(frozen=True)
class Integers:
    """Whole numbers that are known when the length is: each of `elements`, or one by its position {0} in C."""

    shape: Shape
    elements: tuple[Size, ...] | None
    element: str = ""

    def at(self, position: str) -> str:
        """The element at a position, in C."""
        if self.elements is None:
            return self.element.format(position)
        if len(self.elements) != 1:
            raise UnsupportedError("an index into a list of sizes")
        return self.elements[0].text()


Value = View | Lazy | Integers


@dataclass
class Step:
    """Lines of C that read and write buffers."""

    title: str
    lines: list[str]
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]


class Program:
    """The steps so far, their buffers and the weights."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.steps: list[Step] = []
        self.buffers: list[Buffer] = []
        self.shapes: list[tuple[str, Shape]] = []
        self.weights = Buffer("weights", Size.of(0), given=True)
        self._blob: list[np.ndarray] = []
        self._places: dict[tuple[tuple[int, ...], bytes], View] = {}
        self._names: set[str] = set()

    def named(self, name: str) -> str:
        """A name in C that nothing else has: no word, macro or function of C, and nothing of ours, begins with `t_`."""
        plain = "t_" + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
        taken, number = plain, 2
        while taken in self._names:
            taken, number = f"{plain}_{number}", number + 1
        self._names.add(taken)
        return taken

    def array(self, name: str, shape: Iterable[Size], order: Sequence[int] | None = None, given: bool = False) -> View:
        """A new array without gaps, the last axis of `order` innermost; one that is given is the caller's."""
        shape = tuple(shape)
        strides, step = list(shape), Size.of(1)
        for axis in reversed(order if order is not None else range(len(shape))):
            strides[axis] = step
            step = step * shape[axis]
        self.shapes.append((name, shape))
        buffer = Buffer(self.named(name), step, given)
        if not given:
            self.buffers.append(buffer)
        return View(buffer, shape, tuple(strides))

    def constant(self, array: np.ndarray) -> View:
        """An array among the weights, at a multiple of 64 bytes; the same one is there once."""
        array = np.ascontiguousarray(array, np.float32)
        key = array.shape, array.tobytes()
        if key not in self._places:
            start = sum(part.size for part in self._blob)
            self._blob += [array.ravel(), np.zeros(-array.size % PANEL, np.float32)]
            strides, step = [], 1
            for size in reversed(array.shape):
                strides.append(Size.of(step))
                step *= size
            shape = tuple(map(Size.of, array.shape))
            self._places[key] = View(self.weights, shape, tuple(reversed(strides)), Size.of(start))
        return self._places[key]

    def blob(self) -> np.ndarray:
        """All weights, one after the other; zeros where there are none, since C has no arrays of nothing."""
        return np.concatenate(self._blob or [np.zeros(PANEL, np.float32)])

    def step(self, title: str, lines: list[str], reads: Iterable[View], writes: Iterable[View]) -> None:
        self.steps.append(
            Step(title, lines, tuple(view.buffer for view in reads), tuple(view.buffer for view in writes))
        )

    def lives(self) -> dict[Buffer, tuple[int, int]]:
        """The first and the last step that needs each buffer of our own; a part needs the whole."""
        found: dict[Buffer, tuple[int, int]] = {}
        for number, step in enumerate(self.steps):
            for buffer in (*step.reads, *step.writes):
                whole = buffer.whole()
                if not whole.given:
                    found[whole] = found.get(whole, (number, number))[0], number
        return found
