"""The first op of a graph that goes wrong: what goes in has a partner in the other graph, what comes out has none.

A is right, B is in question. Each value of B that equals one of A (`validators.partners`) is right wherever it stands.
An op whose result has no partner need not be wrong: where graphs are fused or taken apart otherwise, what comes after
has one again, which redeems it. So the culprit is the first op from which a path without any partner leads to an
output that is wrong, and whose inputs are right.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from validators.clues import clues
from validators.partners import Partner, Value, difference, in_slices, pair, partners, values
from validators.traces import Op, Trace
from validators.traces.kinds import alike, kind_of

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

_FLOOR = 1 / 50
"""What is below this part of the limit is rounding that any two programs differ by."""

_LAYOUT = frozenset(
    {"transpose", "permute", "reshape", "squeeze", "unsqueeze", "flatten", "expanddims", "view", "unsafeview"}
)
# One number in, one number out, and nothing to set.
_PLAIN = frozenset(
    {"log", "sqrt", "rsqrt", "exp", "erf", "tanh", "sigmoid", "relu", "softplus", "square", "abs", "neg"}
)
_COPIES = frozenset({"cast", "identity", "dropout", "contiguous", "clone", "alias", "tocopy", "to", "detach"})


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


@dataclass(frozen=True)
class OutputPair:
    """An output of B, the one of A that it is held to, and how far off it is."""

    b: str
    a: str
    error: float
    agrees: bool


@dataclass(frozen=True)
class Divergence:
    """What comparing two traces found.

    `culprit` is the first op of B whose inputs all have a partner in A and whose output has none, and None where all
    outputs agree. `opposite` is the op of A that should have given the same, where that is known. `hints` are known
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
    agrees: Callable[[str, np.ndarray, np.ndarray], bool] | None = None,
) -> Divergence:
    """Where B first goes another way than A; both were fed the same.

    `outputs` says which of A's each of B's outputs is held to, by default the one of its name, else of its place.
    `agrees(name of A's, A's, B's)` judges an output, by default by `limit`. Raises ValueError where no output of B is
    held to any.
    """
    sides = _Sides(a, b, limit)
    pairs = _judged(sides, _outputs(a, b) if outputs is None else outputs, agrees)
    found = Divergence(
        culprit=None,
        opposite=None,
        partners=tuple(sides.partners.values()),
        growth=tuple(sides.growth()),
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
        hints=(*hints, *clues(a, b, opposite, culprit, sides.limit)),
        ours=tuple(sides.around_a(opposite)) if opposite else (),
        theirs=tuple(sides.around_b(culprit)),
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


def _judged(
    sides: "_Sides", outputs: Mapping[str, str], agrees: Callable[[str, np.ndarray, np.ndarray], bool] | None
) -> list[OutputPair]:
    pairs = []
    for theirs, ours in outputs.items():
        if ours not in sides.a.values or theirs not in sides.b.values:
            continue
        e, a = sides.a.values[ours], sides.b.values[theirs]
        error = difference(e, a) if _bare(e) == _bare(a) else np.inf
        if error == np.inf and _bare(e) != _bare(a) and e.size == a.size and e.size:
            # Another tool, another layout: the same numbers in other axes are the same answer.
            partner = pair(Value(ours, 0, e), Value(theirs, 0, a))
            error = partner.error if partner else np.inf
        elif agrees is not None and np.isfinite(error):
            pairs.append(OutputPair(theirs, ours, error, agrees(ours, e, a.reshape(e.shape))))
            continue
        pairs.append(OutputPair(theirs, ours, error, error <= sides.limit))
    if not pairs:
        raise ValueError("no output of one is held to any of the other")
    return pairs


def _bare(array: np.ndarray) -> tuple[int, ...]:
    return tuple(size for size in array.shape if size != 1)


def _swapped(sides: "_Sides", wrong: list[OutputPair]) -> tuple[Op | None, tuple[str, ...]] | None:
    """The op whose result goes out under another one's name, where that is all that is wrong with it."""
    for one in wrong:
        for other in wrong:
            if one is other or sides.a.values[other.a].shape != sides.b.values[one.b].shape:
                continue
            if difference(sides.a.values[other.a], sides.b.values[one.b]) <= sides.limit:
                told = f"the output {one.b!r} agrees with {other.a!r} of the other model: are they swapped?"
                return sides.producers_b.get(one.b), (told,)
    return None


class _Sides:
    """Two runs, who is whose partner, and who feeds whom."""

    def __init__(self, a: Trace, b: Trace, limit: float) -> None:
        self.a, self.b, self.limit = a, b, limit
        self._ours, self._theirs = values(a), values(b)
        self.partners = partners(self._ours, self._theirs)
        self.errors = {name: one.error for name, one in self.partners.items() if one.factor == 1}
        self.same: set[str] = set()
        self.narrow(limit)
        self.producers_a, self.producers_b = ({name: op for op in t.ops for name in op.outputs} for t in (a, b))

    def narrow(self, limit: float) -> None:
        """Hold values to another limit from now on."""
        self.limit = limit
        self.same = {name for name, error in self.errors.items() if error <= limit}

    @cached_property
    def consumers_a(self) -> dict[str, list[Op]]:
        return _consumers(self.a)

    @cached_property
    def consumers_b(self) -> dict[str, list[Op]]:
        return _consumers(self.b)

    @cached_property
    def taken(self) -> set[str]:
        """Values of A that are some value's partner."""
        return {self.partners[name].a for name in self.same}

    def growth(self) -> Iterator[Growth]:
        return _growth(self.b, self.errors)

    def culprit(self, wrong: set[str]) -> Op | None:
        """The first op that turns right into wrong on the way to one of these outputs."""
        right = self._right(wrong)
        if any(not value.finite for value in self._theirs.values() if value.array.dtype.kind == "f"):
            # A factor that would be undone later has done no harm, where what comes then is no number.
            right |= {name for name, one in self.partners.items() if one.factor != 1} - wrong
        leads: set[str] = set()
        for op in reversed(self.b.ops):
            for name in op.outputs:
                onward = any(out in leads for user in self.consumers_b.get(name, ()) for out in user.outputs)
                if name not in right and (name in wrong or onward):
                    leads.add(name)
        suspects = [op for op in self.b.ops if leads & set(op.outputs) and not leads & set(op.inputs)]
        if not suspects:
            return next((op for op in self.b.ops if wrong & set(op.outputs)), None)
        # Where several paths lead to what is wrong, steps that A does not take stand beside the one that it does.
        known = [op for op in suspects if (other := self.opposite(op)) and alike(other, op) and self._lost(other)]
        return self._moved(self._origin((known or suspects)[0]))

    def _right(self, wrong: set[str]) -> set[str]:
        """Values of B that have a partner, or come of such and could have none: sizes, constants, a few numbers."""
        right = {name for name in self.b.values if name not in self.producers_b} | set(self.b.constants)
        for op in self.b.ops:
            sound = all(name in right or name not in self.b.values for name in op.inputs)
            for name in op.outputs:
                value = self._theirs.get(name)
                if name in self.same or (sound and (value is None or self._silent(value))):
                    right.add(name)
        return right - wrong

    def _silent(self, value: Value) -> bool:
        """Whether it tells nothing: integers, and what is too plain to be matched, but is in A as well."""
        if value.array.dtype.kind != "f":
            return True
        if value.telling:
            return False
        plain = (other for other in self._ours.values() if other.array.size == value.array.size)
        return any(difference(other.array, value.array) <= self.limit for other in plain if not other.telling)

    def _lost(self, op: Op) -> bool:
        """Whether nothing in B is what this op of A gives."""
        return not any(name in self.taken for name in op.outputs)

    def _origin(self, op: Op) -> Op:
        """The op behind this one at which the error jumps: a small fault may cross the limit some ops later.

        A logarithm and its like have nothing that could be wrong. They show what is wrong with small numbers beside
        large ones, and behind them errors are looked at slice by slice.
        """
        opposite = self.opposite(op)
        plain = kind_of(op) in _PLAIN and opposite is not None and alike(opposite, op)
        own = self._in_slices if plain else self._whole
        errors = self._inherited(own)
        floor = self.limit * _FLOOR

        def incoming(one: Op) -> float:
            return max((errors.get(name, 0.0) for name in one.inputs), default=0.0)

        if plain and incoming(op) <= self.limit:
            return op
        outgoing = [own(name) for name in op.outputs]
        most = 0.0 if plain else max(1.0 if error is None else error for error in outgoing) / max(incoming(op), floor)
        best = here = op
        while (most_wrong := incoming(here)) > floor:
            worst = next(name for name in here.inputs if errors.get(name) == most_wrong)
            if worst not in self.producers_b:
                break
            here = self.producers_b[worst]
            if (jump := most_wrong / max(incoming(here), floor)) > most:
                best, most = here, jump
        return best

    def _inherited(self, own: Callable[[str], float | None]) -> dict[str, float]:
        """The error of each value of B; where it has no partner, that of what it was made of."""
        errors = {name: own(name) or 0.0 for name in self.b.values if name not in self.producers_b}
        for op in self.b.ops:
            handed = max((errors.get(name, 0.0) for name in op.inputs), default=0.0)
            for name in op.outputs:
                error = own(name)
                errors[name] = handed if error is None else error
        return errors

    def _whole(self, name: str) -> float | None:
        return self.partners[name].error if name in self.partners else None

    def _in_slices(self, name: str) -> float | None:
        """The greatest error of a value, each slice along each axis beside the greatest magnitude in it."""
        partner = self.partners.get(name)
        if partner is None or partner.factor != 1:
            return None
        return in_slices(self._ours[partner.a], self._theirs[name])

    def _moved(self, op: Op) -> Op:
        """The op before this one, where that put right numbers in a wrong order, or did nothing at all.

        Its result still has a partner, and what comes next is the first to have none.
        """
        opposite = self.opposite(op)
        for name in op.inputs:
            partner, before = self.partners.get(name), self.producers_b.get(name)
            if partner is None or before is None or opposite is None:
                continue
            kind = kind_of(before)
            if kind in _LAYOUT and alike(opposite, op) and self._lies_otherwise(name, partner.a, opposite):
                return before
            idle = any(self.partners[one].a == partner.a for one in before.inputs if one in self.partners)
            users = self.consumers_a.get(partner.a, ())
            acts = kind == "transpose" or kind not in _LAYOUT | _COPIES
            if idle and acts and any(alike(user, before) and self._lost(user) for user in users):
                return before
        return op

    def _lies_otherwise(self, name: str, partner: str, opposite: Op) -> bool:
        """Whether the op of A takes the same numbers in the same shape, but in another order."""
        b, copies = self.b.values[name], set(self._copies(partner))
        fed = [self.a.values[one] for one in opposite.inputs if one in copies]
        return any(_bare(a) == _bare(b) and difference(a, b) > self.limit for a in fed)

    def opposite(self, op: Op) -> Op | None:
        """The op of A that takes what this one takes: of its kind, or that gives what nothing in B does."""
        fed = [self.partners[name].a for name in op.inputs if name in self.partners]
        equal = {name for one in fed for name in self._copies(one)}
        users = [user for one in equal for user in self.consumers_a.get(one, ())]
        sizes = {self.b.values[name].size for name in op.outputs if name in self.b.values}

        def fits(user: Op) -> tuple[bool, bool, bool, int, str]:
            size = {self.a.values[name].size for name in user.outputs if name in self.a.values}
            shared = sum(name in equal for name in user.inputs)
            return not alike(user, op), not self._lost(user), not (size & sizes), -shared, user.name

        best = min(users, key=fits, default=None)
        return best if best is not None and (alike(best, op) or self._lost(best)) else None

    def _copies(self, name: str) -> list[str]:
        """That value of A and those that only lie otherwise: on the way from it, and to it."""
        found, left = [], [name]
        while left:
            one = left.pop()
            if one in found:
                continue
            found.append(one)
            behind = self.producers_a.get(one)
            if behind and kind_of(behind) in _LAYOUT | _COPIES:
                left += [source for source in behind.inputs if source in self._ours]
            for user in self.consumers_a.get(one, ()):
                if kind_of(user) in _LAYOUT | _COPIES:
                    left += user.outputs
        return found

    def around_b(self, op: Op) -> Iterator[Seen]:
        return _around(self.b, op, self.producers_b, self.consumers_b, self._seen_b)

    def around_a(self, op: Op) -> Iterator[Seen]:
        return _around(self.a, op, self.producers_a, self.consumers_a, self._seen_a)

    def _seen_b(self, name: str) -> Array:
        partner = self.partners.get(name)
        return _array(self.b, name, partner, partner.a if partner else None)

    def _seen_a(self, name: str) -> Array:
        partner = next((one for one in self.partners.values() if one.a == name), None)
        return _array(self.a, name, partner, partner.b if partner else None)


def _consumers(trace: Trace) -> dict[str, list[Op]]:
    found: dict[str, list[Op]] = {}
    for op in trace.ops:
        for name in dict.fromkeys(op.inputs):
            found.setdefault(name, []).append(op)
    return found


def _around(
    trace: Trace,
    op: Op,
    producers: Mapping[str, Op],
    consumers: Mapping[str, list[Op]],
    seen: Callable[[str], Array],
) -> Iterator[Seen]:
    before = [producers[name] for name in op.inputs if name in producers]
    after = [user for name in op.outputs for user in consumers.get(name, ())]
    places = [(one, "before") for one in before] + [(op, "here")] + [(one, "after") for one in after]
    told = set()
    for one, place in places:
        if one.name not in told:
            told.add(one.name)
            inputs, outputs = (
                tuple(seen(name) for name in names if name in trace.values or name in trace.constants)
                for names in (one.inputs, one.outputs)
            )
            yield Seen(place, one, inputs, outputs)


def _array(trace: Trace, name: str, found: Partner | None, other: str | None) -> Array:
    value = trace.values.get(name, trace.constants.get(name))
    assert value is not None
    least, greatest = (float(value.min()), float(value.max())) if value.size else (np.nan, np.nan)
    return Array(name, str(value.dtype), tuple(value.shape), least, greatest, found.error if found else None, other)
