"""Which input of one model stands against which of another, and how an array takes the shape that an input has."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeVar

import numpy as np

from recipes.base.errors import UserError
from validators.runners.runner import Port

_Left = TypeVar("_Left")
_Right = TypeVar("_Right")
Range = tuple[int, int | None]
"""The least and the greatest size of an axis; None where nothing bounds it."""

Places = list[tuple[int | None, int | None]]
"""Axis by axis of two shapes, the places that are one; None where only the other has it, with the size 1."""

# Of axes that stand against each other, or have no partner: what says most about which is which costs least.
_FIXED, _FREE, _FREE_AND_FIXED, _FREE_AND_ONE, _FREE_ALONE = 0, 1, 2, 3, 6
# A second or two. Of so many that no name tells apart, no shape does either.
_MOST_PAIRS = 10**6


@dataclass(frozen=True)
class Slot:
    """One thing to feed: it goes to an input of EXPECTED, of GOT, or to one of each."""

    expected: Port | None
    got: Port | None

    @property
    def ports(self) -> tuple[Port, ...]:
        return tuple(port for port in (self.expected, self.got) if port is not None)

    @property
    def name(self) -> str:
        return self.ports[0].name

    @property
    def alone(self) -> bool:
        return len(self.ports) == 1

    def __str__(self) -> str:
        side, port = ("EXPECTED", self.expected) if self.expected else ("GOT", self.ports[0])
        return f"{side}'s input {port.name!r} {described(port)}" if port else ""


@dataclass(frozen=True)
class Slots:
    """All that two models are fed, and what was assumed of it."""

    slots: tuple[Slot, ...]
    notes: tuple[str, ...] = ()


def split(given: Iterable[str]) -> dict[str, str]:
    """`--map`, EXPECTED's name to GOT's. Raises UserError for what is no A_NAME=B_NAME, and for a name said twice."""
    names: dict[str, str] = {}
    for text in given:
        ours, equals, theirs = text.partition("=")
        if not (ours and equals and theirs):
            raise UserError(f"--map {text}: give EXPECTED's name and GOT's, as A_NAME=B_NAME")
        if ours in names or theirs in names.values():
            raise UserError(f"--map {text}: one of these names stands in another --map; map each once")
        names[ours] = theirs
    return names


def slots(expected: Sequence[Port], got: Sequence[Port], given: Mapping[str, str]) -> Slots:
    """The inputs of two models: as `given`, by name, by type and shape, and by these but for axes of size 1.

    The last two only where just one of each side fits the other. What nothing stands against is alone, and left out
    where its model can do without. Names of `given` that are no inputs are for the outputs.
    """
    ours, theirs = ({port.name: port for port in side} for side in (expected, got))
    names = {name: other for name, other in given.items() if name in ours and other in theirs}
    taken = set(names.values())
    names |= {name: name for name in ours if name in theirs and name not in taken and name not in given}
    notes = []
    for fits in (_alike, _alike_but_for_ones):
        taken = set(names.values())
        left = {name: port for name, port in ours.items() if name not in names}
        right = {name: port for name, port in theirs.items() if name not in taken}
        for name, other in unambiguous(left, right, fits).items():
            names[name] = other
            notes.append(f"GOT's input {other!r} is fed what EXPECTED's {name!r} is, the only one that fits its shape")
    found = [Slot(port, theirs[names[name]] if name in names else None) for name, port in ours.items()]
    taken = set(names.values())
    found += [Slot(None, port) for name, port in theirs.items() if name not in taken]
    for slot in found:
        if not slot.alone:
            notes += _reshaped(slot)
        elif slot.expected is None and slot.name in ours:
            raise UserError(
                f"--map {slot.name}={names.get(slot.name, slot.name)}: GOT has an input {slot.name!r} of its own; say "
                f"what stands against it with --map NAME={slot.name}"
            )
    return Slots(tuple(slot for slot in found if not (slot.alone and slot.ports[0].optional)), tuple(notes))


def unambiguous(
    left: Mapping[str, _Left], right: Mapping[str, _Right], fits: Callable[[_Left, _Right], bool]
) -> dict[str, str]:
    """The names of one side by those of the other, where just one of each fits the other; none of very many."""
    if len(left) * len(right) > _MOST_PAIRS:
        return {}
    candidates = {name: [other for other in right if fits(left[name], right[other])] for name in left}
    wanted = Counter(other for found in candidates.values() for other in found)
    return {name: found[0] for name, found in candidates.items() if len(found) == 1 and wanted[found[0]] == 1}


def _alike(one: Port, other: Port) -> bool:
    return (
        kind(one) == kind(other)
        and len(one.axes) == len(other.axes)
        and all(meeting(a, b) is not None for a, b in zip(ranges(one), ranges(other), strict=True))
    )


def _alike_but_for_ones(one: Port, other: Port) -> bool:
    return kind(one) == kind(other) and aligned(ranges(one), ranges(other)) is not None


def _reshaped(slot: Slot) -> list[str]:
    """What is said of an input that has other axes on the other side."""
    one, other = slot.ports
    if len(one.axes) == len(other.axes):
        return []
    return [
        f"EXPECTED's input {one.name!r} {described(one)} is GOT's {other.name!r} {described(other)} but for axes of 1"
    ]


def described(port: Port) -> str:
    """Its type and axes, in words."""
    return f"{port.dtype} [{', '.join('?' if axis is None else str(axis) for axis in port.axes)}]"


def kind(port: Port) -> str:
    """`f` of real numbers, `i` of whole ones, `b` of truth values, else the type's own name."""
    try:
        return np.dtype(port.dtype).kind.replace("u", "i")
    except TypeError:
        return port.dtype


def ranges(port: Port) -> tuple[Range, ...]:
    """Of each axis, as the artifact bounds it."""
    if port.bounds:
        return port.bounds
    return tuple((axis, axis) if isinstance(axis, int) else (1, None) for axis in port.axes)


def meeting(one: Range, other: Range) -> Range | None:
    """The sizes that both have; None where there are none."""
    least = max(one[0], other[0])
    bounds = [most for most in (one[1], other[1]) if most is not None]
    most = min(bounds, default=None)
    return None if most is not None and most < least else (least, most)


def aligned(one: Sequence[Range], other: Sequence[Range]) -> Places | None:
    """Which axes of two shapes are the same, where one may have axes of size 1 that the other has not.

    None where they cannot be one array. Axes that are fixed to one size are taken before those that are free.
    """
    rows, columns = len(one), len(other)
    best: dict[tuple[int, int], tuple[int, Places]] = {(0, 0): (0, [])}
    for row in range(rows + 1):
        for column in range(columns + 1):
            ways: list[tuple[tuple[int, Places], int, tuple[int | None, int | None]]] = []
            if row and column and (row - 1, column - 1) in best:
                cost = _cost(one[row - 1], other[column - 1])
                if cost is not None:
                    ways.append((best[row - 1, column - 1], cost, (row - 1, column - 1)))
            if row and (row - 1, column) in best and one[row - 1][0] <= 1:
                ways.append((best[row - 1, column], _alone(one[row - 1]), (row - 1, None)))
            if column and (row, column - 1) in best and other[column - 1][0] <= 1:
                ways.append((best[row, column - 1], _alone(other[column - 1]), (None, column - 1)))
            found = [(sum_ + cost, [*places, place]) for (sum_, places), cost, place in ways]
            if found:
                best[row, column] = min(found, key=lambda way: way[0])
    return best[rows, columns][1] if (rows, columns) in best else None


def _cost(one: Range, other: Range) -> int | None:
    if meeting(one, other) is None:
        return None
    fixed = [sizes[0] == sizes[1] for sizes in (one, other)]
    if fixed[0] == fixed[1]:
        return _FIXED if fixed[0] else _FREE
    return _FREE_AND_ONE if (1, 1) in (one, other) else _FREE_AND_FIXED


def _alone(sizes: Range) -> int:
    return _FREE if sizes[1] == 1 else _FREE_ALONE


def adapted(array: np.ndarray, port: Port, *, rows: bool = False) -> np.ndarray | None:
    """The array in the shape and the type of an input, where only axes of size 1 differ; None where more does.

    With `rows`, an input that takes one clip at a time takes a batch, for whoever runs it row by row.
    """
    allowed = ranges(port)
    if rows and allowed and allowed[0] == (1, 1):
        allowed = ((1, None), *allowed[1:])
    places = aligned([(size, size) for size in array.shape], allowed)
    if places is None:
        return None
    sizes = [1] * len(allowed)
    for mine, its in places:
        if mine is not None and its is not None:
            sizes[its] = array.shape[mine]
    if (port.shapes and tuple(sizes) not in port.shapes) or array.size != prod(sizes):
        return None
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            found = np.ascontiguousarray(array.reshape(sizes).astype(port.dtype, copy=False)).reshape(sizes)
    except TypeError:
        raise UserError(f"the input {port.name!r} is of {port.dtype}, which is no array of numbers") from None
    given = array.reshape(sizes)
    kept = np.isfinite(found) | ~np.isfinite(given) if kind(port) == "f" else found == given
    if not kept.all():
        raise UserError(f"the input {port.name!r} is of {port.dtype}, which cannot hold all of its values; give others")
    return found
