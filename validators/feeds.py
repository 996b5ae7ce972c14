"""What models are fed: arrays that somebody gave, a sound, or what is generated to fit all that the models say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.random import RandomState

from recipes.base.errors import UserError
from recipes.base.sound import rich
from validators import sizes
from validators.matching import Range, Slot, adapted, described, kind, meeting, ranges
from validators.runners.runner import Arrays, Port

# Where no model says a rate.
RATE = 16000
# A last axis of at least so many is sound, where the others are few.
_SOUND, _CHANNELS = 256, 8
# Numbers that are generated for one input; 0.5 GB of float32.
_MOST = 2**27
_CASES = 2


class NoFitError(UserError):
    """An array that an input does not take."""


@dataclass(frozen=True)
class Feed:
    """One case: what EXPECTED and GOT are fed, by their own names; `made` tells that some of it was generated.

    `notes` say what was generated or left out.
    """

    name: str
    expected: Arrays
    got: Arrays
    notes: tuple[str, ...] = ()
    made: bool = False


def generated(slots: Sequence[Slot], *, rate: int = RATE, least: int = 1) -> list[Feed]:
    """Two cases, the same ones whenever they are asked for; free axes have two sizes, such as one row and two.

    `rate` is the sound's, and `least` the least of its samples, where a model says them. Real numbers are sound where
    the last axis is long and noise elsewhere; whole ones are 0 and 1, which any table and any mask has. Raises
    UserError for an input without a partner, of which nobody can say what it means, and where no size fits.
    """
    feeds = []
    for number in range(_CASES):
        found = sizes.shapes(slots, number, rate=rate, least=least)
        listed = ", ".join("x".join(map(str, shape)) or "1" for shape in found.values())
        name = f"generated {number + 1}{': ' if listed else ''}{listed}"
        feeds.append(_completed(slots, name, {}, found, number, rate))
    return feeds


def completed(
    slots: Sequence[Slot], name: str, arrays: Mapping[str, np.ndarray], *, rate: int = RATE, least: int = 1
) -> Feed:
    """A case of arrays by the names of slots; what they lack is generated in shapes that fit, and a note says so.

    Raises UserError for an array that an input does not take, and as `generated` does.
    """
    known = {name: array.shape for name, array in arrays.items()}
    missing = [slot.name for slot in slots if slot.name not in arrays]
    found = sizes.shapes(slots, 0, rate=rate, least=least, known=known) if missing else {}
    notes = (f"{name} does not hold {', '.join(missing)}: generated",) if missing else ()
    return _completed(slots, name, arrays, found, 0, rate, notes)


def _completed(
    slots: Sequence[Slot],
    name: str,
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, sizes.Shape],
    number: int,
    rate: int,
    notes: tuple[str, ...] = (),
) -> Feed:
    _refuse_alone([slot for slot in slots if slot.name not in arrays], slots)
    seed = 2 * len(slots) * number
    whole = {
        slot.name: arrays[slot.name]
        if slot.name in arrays
        else _values(slot, shapes[slot.name], seed + 2 * place + 1, rate)
        for place, slot in enumerate(slots)
    }
    return replace(feed(slots, name, whole, notes), made=len(arrays) < len(slots))


def _refuse_alone(slots: Sequence[Slot], among: Sequence[Slot]) -> None:
    """Raises UserError for an input that only one of two models has."""
    if not any(slot.expected for slot in among) or not any(slot.got for slot in among):
        # There is one model.
        return
    for slot in slots:
        if slot.alone:
            partner = f"--map {slot.name}=NAME" if slot.expected else f"--map NAME={slot.name}"
            raise UserError(
                f"{slot} has no partner that its shape alone tells: say which it is with {partner}, or give its values "
                f"in an .npz with --on, as the array {slot.name!r}"
            )


def feed(slots: Sequence[Slot], name: str, arrays: Mapping[str, np.ndarray], notes: tuple[str, ...] = ()) -> Feed:
    """Arrays by the names of slots, as each side takes them. Raises NoFitError."""
    expected = _side("EXPECTED", name, {slot.name: slot.expected for slot in slots}, arrays)
    return Feed(name, expected, _side("GOT", name, {slot.name: slot.got for slot in slots}, arrays), notes)


def _side(side: str, name: str, ports: Mapping[str, Port | None], arrays: Mapping[str, np.ndarray]) -> Arrays:
    # What has one input may be run row by row.
    rows = sum(port is not None for port in ports.values()) == 1
    found: Arrays = {}
    for slot, port in ports.items():
        if port is None:
            continue
        array = adapted(arrays[slot], port, rows=rows)
        if array is None:
            shape = list(arrays[slot].shape)
            raise NoFitError(f"{name}: {slot} has the shape {shape}, and {side} takes {described(port)}")
        found[port.name] = array
    return found


def sound_slot(slots: Sequence[Slot]) -> Slot:
    """The one that sound goes to: real numbers, whose last axis is free or long and whose others may be 1.

    Raises UserError where none or several are so.
    """
    found = [slot for slot in slots if all(_takes_sound(port) for port in slot.ports)]
    # Where a length is free, others that happen to be long are states and the like.
    free = [slot for slot in found if all(_free(port) for port in slot.ports)]
    found = free if len(free) == 1 else found
    if len(found) != 1:
        several = ", ".join(slot.name for slot in found)
        why = f"several inputs may take it: {several}" if found else f"none takes it: {', '.join(map(str, slots))}"
        raise UserError(f"--on is given a sound, and {why}; give an .npz with an array for each input")
    return found[0]


def _free(port: Port) -> bool:
    least, most = ranges(port)[-1]
    return least != most


def _takes_sound(port: Port) -> bool:
    if kind(port) != "f" or not port.axes:
        return False
    *others, (_, most) = ranges(port)
    return all(least <= 1 for least, _ in others) and (most is None or most >= _SOUND)


def sound(slot: Slot, samples: np.ndarray, origin: str, *, least: int = 1) -> tuple[np.ndarray, str]:
    """Sound, (samples,), as a slot takes it, and what was left out of it. Raises UserError where it is too short."""
    bounds: Range = (least, None)
    for port in slot.ports:
        both = meeting(bounds, ranges(port)[-1])
        if both is None:
            raise UserError(f"{slot} and what stands against it take no length in common: no sound fits both")
        bounds = both
    fewest, most = bounds
    if len(samples) < fewest:
        raise UserError(f"{origin}: has {len(samples)} samples, and {slot} takes {fewest} or more; give a longer one")
    said = f"{origin}: used the first {most} of {len(samples)} samples" if most and most < len(samples) else ""
    return samples[:most].reshape(*[1] * (len(slot.ports[0].axes) - 1), -1), said


def _values(slot: Slot, shape: sizes.Shape, seed: int, rate: int) -> np.ndarray:
    """Of the narrowest kind that a port of the slot has."""
    if prod(shape) > _MOST:
        size = "x".join(map(str, shape))
        raise UserError(
            f"{slot} takes {size} numbers, more than are generated; give smaller ones with --on, in an .npz"
        )
    kinds = {kind(port) for port in slot.ports}
    random = RandomState(seed)
    if "b" in kinds or "i" in kinds:
        # A lone number may be a length or a count, which is seldom none.
        return np.asarray(random.randint(0, 2, shape) if prod(shape) > 1 else np.ones(shape, np.int64))
    if shape and shape[-1] >= _SOUND and prod(shape[:-1]) <= _CHANNELS:
        rows = [rich(shape[-1], rate, seed + row) for row in range(prod(shape[:-1]))]
        return np.stack(rows).reshape(shape)
    return np.asarray(random.standard_normal(shape), np.float32)
