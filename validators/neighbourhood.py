"""What stands around an op of a run: what gives to it and takes from it, with what went through, as people see it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from validators.partners import Partner
from validators.traces import Op, Trace


@dataclass(frozen=True)
class Array:
    """A value as people see it; `error` is its distance from its partner, None where it has none."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    least: float
    greatest: float
    error: float | None
    partner: str | None


@dataclass(frozen=True)
class Seen:
    """An op and what went through it; `place` is "before", "here" or "after"."""

    place: str
    op: Op
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]


def producers(trace: Trace) -> dict[str, Op]:
    """The op that gives each value."""
    return {name: op for op in trace.ops for name in op.outputs}


def consumers(trace: Trace) -> dict[str, list[Op]]:
    """The ops that take each value."""
    found: dict[str, list[Op]] = {}
    for op in trace.ops:
        for name in dict.fromkeys(op.inputs):
            found.setdefault(name, []).append(op)
    return found


def around(
    trace: Trace, op: Op, partner: Callable[[str], Partner | None], other: Callable[[Partner], str]
) -> Iterator[Seen]:
    """The op between those that give to it and those that take from it.

    `partner` of a value's name is what it is paired with, and `other` what that is called on the other side.
    """
    giving, taking = producers(trace), consumers(trace)
    before = [giving[name] for name in op.inputs if name in giving]
    after = [user for name in op.outputs for user in taking.get(name, ())]
    held: Mapping[str, np.ndarray] = {**trace.constants, **trace.values}

    def seen(name: str) -> Array:
        value, found = held[name], partner(name)
        least, greatest = (float(value.min()), float(value.max())) if value.size else (np.nan, np.nan)
        error, called = (found.error, other(found)) if found else (None, None)
        return Array(name, str(value.dtype), tuple(value.shape), least, greatest, error, called)

    told = set()
    for one, place in [*((one, "before") for one in before), (op, "here"), *((one, "after") for one in after)]:
        if one.name not in told:
            told.add(one.name)
            inputs, outputs = (
                tuple(map(seen, filter(held.__contains__, names))) for names in (one.inputs, one.outputs)
            )
            yield Seen(place, one, inputs, outputs)
