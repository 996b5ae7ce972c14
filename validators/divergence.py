"""The first op of a graph that goes wrong: what goes in has a partner in the other graph, what comes out has none.

A is right, B is in question. Each value of B that equals one of A (`validators.partners`) is right wherever it stands.
An op whose result has no partner need not be wrong: where graphs are fused or taken apart otherwise, what comes after
has one again, which redeems it. So the culprit is the first op from which a path without any partner leads to an
output that is wrong, and whose inputs are right.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isinf

import numpy as np

from validators.clues import clues
from validators.neighbourhood import Array, Seen, around
from validators.partners import Partner, Value, bare, difference, pair, same_nonfinite
from validators.sides import Sides
from validators.traces import Op, Trace

__all__ = [
    "LIMITS",
    "Array",
    "Divergence",
    "Growth",
    "OutputPair",
    "Partner",
    "Seen",
    "amplifiers",
    "diverged",
    "grown",
]

LIMITS = {"float32": 1e-4, "float16": 3e-2}
"""How far off a value may be, as a share of its greatest magnitude, by the type of the numbers that it was made with.

float16 has 11 bits, and what is rounded at each of some thirty layers adds up; weights are rounded as well.
"""


Used = Callable[[str, np.ndarray, np.ndarray], float]
"""Of the name of an output of A, its value and B's: the share of its tolerance that is needed, more than 1 where that
is exceeded."""


@dataclass(frozen=True)
class Growth:
    """How far off an op's result is, in order of the graph: `error_in` is the worst of its inputs'.

    Both are shares of the greatest magnitude; None where the value has no partner.
    """

    op: Op
    error_in: float | None
    error_out: float | None

    @property
    def added(self) -> float:
        """What the op itself brought in, or made of what came; infinite where its result has no partner."""
        return np.inf if self.error_out is None else max(0.0, self.error_out - (self.error_in or 0.0))


@dataclass(frozen=True)
class OutputPair:
    """An output of B, the one of A that it is held to, and how far off it is, as a share of the greatest magnitude.

    `used` is the share of its tolerance that it needs, at most 1 where it agrees; None where the axes are others.
    Where it differs and the greatest magnitude is 0, the error is infinite, and `used` alone tells.
    """

    b: str
    a: str
    error: float
    agrees: bool
    used: float | None = None

    @property
    def of_zeros(self) -> bool:
        """Whether no error is a share of the greatest magnitude, since that is 0."""
        return isinf(self.error) and self.used is not None


@dataclass(frozen=True)
class Divergence:
    """What comparing two traces found.

    `culprit` is the first op of B whose inputs all have a partner in A and whose output has none, and None where all
    outputs agree. `opposite` is the op of A that should have given the same, where that is known. `hints` are known
    mistakes that would explain it, in words.
    """

    culprit: Op | None
    opposite: Op | None
    partners: tuple[Partner, ...]
    growth: tuple[Growth, ...]
    hints: tuple[str, ...]
    outputs: tuple[OutputPair, ...] = ()
    ours: tuple[Seen, ...] = ()
    theirs: tuple[Seen, ...] = ()
    limit: float = LIMITS["float32"]


def diverged(
    a: Trace,
    b: Trace,
    *,
    limit: float = LIMITS["float32"],
    outputs: Mapping[str, str] | None = None,
    used: Used | None = None,
) -> Divergence:
    """Where B first goes another way than A; both were fed the same.

    `outputs` says which of A's each of B's outputs is held to, by default the one of its name, else of its place.
    `used` judges an output, by default by `limit`. Raises ValueError where no output of B is held to any.
    """
    sides = Sides(a, b, limit)
    pairs = _judged(sides, _outputs(a, b) if outputs is None else outputs, used)
    found = Divergence(
        culprit=None,
        opposite=None,
        partners=tuple(sides.partners.values()),
        growth=tuple(_growth(b, sides.errors)),
        hints=(),
        outputs=tuple(pairs),
        limit=limit,
    )
    wrong = [one for one in pairs if not one.agrees]
    if not wrong:
        return found
    # Where an output may be less far off than what lies in between, so may all that leads to it.
    sides.narrow(min(limit, *(one.error / 2 for one in wrong)))
    culprit, hints = _swapped(sides, wrong) or (sides.culprit({one.b for one in wrong}), ())
    if culprit is None:
        # The graph gives what it was fed.
        return replace(found, hints=(f"the output {wrong[0].b!r} is no op's result",))
    opposite = sides.opposite(culprit)
    return replace(
        found,
        culprit=culprit,
        opposite=opposite,
        hints=(*hints, *_left_out(sides, culprit), *clues(a, b, opposite, culprit, sides.limit)),
        ours=tuple(around(a, opposite, sides.partner_of, lambda one: one.b)) if opposite else (),
        theirs=tuple(around(b, culprit, sides.partners.get, lambda one: one.a)),
    )


def grown(a: Trace, b: Trace) -> tuple[Growth, ...]:
    """The growth along B of its distance from another run of the same graph, value by value under the same name."""
    errors = {
        name: difference(a.values[name], value)
        for name, value in b.values.items()
        if name in a.values and value.dtype.kind == "f" and a.values[name].shape == value.shape
    }
    return tuple(_growth(b, errors))


def amplifiers(growth: Iterable[Growth], count: int = 3) -> tuple[Growth, ...]:
    """The ops that add most to the error, the worst first: what to keep in float32 where rounding is what fails."""
    adding = [one for one in growth if one.error_out is not None and one.added > 0]
    return tuple(sorted(adding, key=lambda one: -one.added)[:count])


def _growth(trace: Trace, errors: Mapping[str, float]) -> Iterator[Growth]:
    for op in trace.ops:
        known = [errors[name] for name in op.outputs if name in errors]
        if any(name in trace.values and trace.values[name].dtype.kind == "f" for name in op.outputs):
            incoming = [errors[name] for name in op.inputs if name in errors]
            yield Growth(op, max(incoming, default=None), max(known, default=None))


def _outputs(a: Trace, b: Trace) -> dict[str, str]:
    """By name, and what is left by its place."""
    named = {name: name for name in b.outputs if name in a.outputs}
    rest = [name for name in a.outputs if name not in named]
    return named | dict(zip((name for name in b.outputs if name not in named), rest, strict=False))


def _judged(sides: "Sides", outputs: Mapping[str, str], used: Used | None) -> list[OutputPair]:
    pairs = []
    held_a, held_b = sides.a.held, sides.b.held
    for theirs, ours in outputs.items():
        if ours not in held_a or theirs not in held_b:
            continue
        e, a = held_a[ours], held_b[theirs]
        if bare(e) != bare(a):
            # Another tool, another layout: the same numbers in other axes are the same answer.
            partner = pair(Value(ours, 0, e), Value(theirs, 0, a))
            error = partner.error if partner else np.inf
        else:
            error = difference(e, a)
            laid = a.reshape(e.shape)
            # What is no number in both alike is no difference.
            both = same_nonfinite(e, laid)
            if used is not None and e.size and (both | (np.isfinite(e) & np.isfinite(laid))).all():
                numbers = np.where(both, e.dtype.type(0), e), np.where(both, a.dtype.type(0), laid)
                share = used(ours, *numbers) if error else 0.0
                pairs.append(OutputPair(theirs, ours, error, share <= 1, share))
                continue
        pairs.append(OutputPair(theirs, ours, error, error <= sides.limit))
    if not pairs:
        raise ValueError("no output of one is held to any of the other")
    return pairs


def _left_out(sides: "Sides", culprit: Op) -> Iterator[str]:
    missing = sides.left_out(culprit)
    if missing is not None:
        yield f"the other model has {missing.kind} {missing.name} before it, which this one has not: left out?"


def _swapped(sides: "Sides", wrong: list[OutputPair]) -> tuple[Op | None, tuple[str, ...]] | None:
    """The op whose result goes out under another one's name, where that is all that is wrong with it."""
    for one in wrong:
        for other in wrong:
            if one is other or sides.a.held[other.a].shape != sides.b.held[one.b].shape:
                continue
            if difference(sides.a.held[other.a], sides.b.held[one.b]) <= sides.limit:
                told = f"the output {one.b!r} agrees with {other.a!r} of the other model: are they swapped?"
                return sides.producers_b.get(one.b), (told,)
    return None
