"""One size for each axis that inputs share: within what both models bound, the same for all axes of one name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recipes.base.errors import UserError
from validators.matching import Range, Slot, aligned, described, kind, meeting, ranges
from validators.runners.runner import Port

# Of free axes, in the first case and the second: rows, seconds of sound, frames, sides of pictures, words.
_ROWS, _SECONDS, _FRAMES, _SIDES, _WORDS = (1, 2), (1.0, 0.63), (100, 151), (64, 96), (8, 13)

Shape = tuple[int, ...]
# A side and the name of an axis there, which other inputs of it may have too; or the input and the place.
_Name = tuple[str, ...]


@dataclass(frozen=True)
class _Axis:
    """An axis of a slot: what both sides call it, which sizes it may have, and which one it should have if it can."""

    names: frozenset[_Name]
    sizes: Range
    wanted: int
    where: str


def shapes(
    slots: Sequence[Slot], number: int, *, rate: int, least: int = 1, known: Mapping[str, Shape] | None = None
) -> dict[str, Shape]:
    """A shape for each slot by its name, as the first of its ports has it; other ones for `number` 0 and 1.

    `rate` says how long sound is and `least` the least of it, in samples. `known` are shapes that are given already.
    Raises UserError where an axis has no size that fits all that it is bound to.
    """
    found = {slot.name: _Inside(slot, number, rate, least, (known or {}).get(slot.name)) for slot in slots}
    groups: list[_Axis] = []
    for inside in found.values():
        for axis in (*inside.axes, *inside.others):
            same = [group for group in groups if group.names & axis.names]
            groups = [group for group in groups if group not in same]
            groups.append(_merged([*same, axis]))
    sizes = {name: _size(group) for group in groups for name in group.names}
    return {name: tuple(sizes[min(axis.names)] for axis in inside.axes) for name, inside in found.items()}


def _merged(axes: Sequence[_Axis]) -> _Axis:
    first, *rest = axes
    for axis in rest:
        sizes = meeting(first.sizes, axis.sizes)
        if sizes is None:
            raise UserError(
                f"no size fits {first.where} ({_bounds(first.sizes)}) and {axis.where} ({_bounds(axis.sizes)}), which "
                "are one axis; say which input is which with --map, or give arrays that both take with --on"
            )
        first = _Axis(first.names | axis.names, sizes, first.wanted, first.where)
    return first


def _bounds(sizes: Range) -> str:
    least, most = sizes
    return f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"


def _size(axis: _Axis) -> int:
    least, most = axis.sizes
    return max(least, axis.wanted if most is None else min(axis.wanted, most))


class _Inside:
    """The axes of a slot, as its first port has them, and those of its second port that the first has not."""

    def __init__(self, slot: Slot, number: int, rate: int, least: int, known: Shape | None) -> None:
        first, *rest = slot.ports
        side = "EXPECTED" if slot.expected else "GOT"
        allowed = [_allowed(port, number) for port in slot.ports]
        names: list[set[_Name]] = [{_name(side, first, place)} for place in range(len(first.axes))]
        sizes, usual = list(allowed[0]), list(first.usual)
        self.others: list[_Axis] = []
        for port in rest:
            places = aligned(sizes, allowed[1])
            if places is None:
                raise UserError(
                    f"{slot} and GOT's {port.name!r} {described(port)} take no shape in common; say which input is "
                    "which with --map"
                )
            for mine, its in places:
                if mine is None:
                    assert its is not None
                    names_ = frozenset({_name("GOT", port, its)})
                    self.others.append(_Axis(names_, (1, 1), 1, f"axis {its} of GOT's {port.name!r}"))
                elif its is None:
                    sizes[mine] = (1, 1)
                else:
                    both = meeting(sizes[mine], allowed[1][its])
                    assert both is not None
                    sizes[mine] = both
                    names[mine].add(_name("GOT", port, its))
                    if not first.usual and port.usual:
                        usual = usual or [0] * len(sizes)
                        usual[mine] = port.usual[its]
        for mine, its in aligned([(size, size) for size in known], sizes) or () if known is not None else ():
            if its is not None:
                size = 1 if mine is None or known is None else known[mine]
                sizes[its] = (size, size)
        self.axes = [
            _Axis(
                frozenset(names[place]),
                sizes[place],
                _wanted(first, place, number, usual[place] if usual else 0, rate, least),
                f"axis {place} of {slot}",
            )
            for place in range(len(sizes))
        ]


def _allowed(port: Port, number: int) -> tuple[Range, ...]:
    if not port.shapes:
        return ranges(port)
    return tuple((size, size) for size in port.shapes[min(number, len(port.shapes) - 1)])


def _name(side: str, port: Port, place: int) -> _Name:
    axis = port.axes[place]
    return (side, axis) if isinstance(axis, str) else (side, port.name, str(place))


def _wanted(port: Port, place: int, number: int, usual: int, rate: int, least: int) -> int:
    """The size that a free axis has in a case; the first is what the model calls its own, where it does."""
    if usual and number == 0:
        return usual
    rank, last = len(port.axes), place == len(port.axes) - 1
    if place == 0 and rank > 1:
        return _ROWS[number]
    if kind(port) != "f":
        return _WORDS[number]
    if rank > 3:
        return _SIDES[number]
    # An odd number, which no halving gives.
    return max(least, round(_SECONDS[number] * rate) | number) if last else _FRAMES[number]
