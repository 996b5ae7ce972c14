"""Two runs beside each other: which values are partners, which op is the culprit, and what stands opposite to it."""

from collections.abc import Callable
from functools import cached_property

from validators.neighbourhood import consumers, producers
from validators.partners import Partner, Value, bare, difference, in_slices, partners, values
from validators.traces import Op, Trace
from validators.traces.kinds import alike, kind_of

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


class Sides:
    """Two runs, who is whose partner, and who feeds whom."""

    def __init__(self, a: Trace, b: Trace, limit: float) -> None:
        self.a, self.b, self.limit = a, b, limit
        self._ours, self._theirs = values(a), values(b)
        self.partners = partners(self._ours, self._theirs)
        self.errors = {name: one.error for name, one in self.partners.items() if one.factor == 1}
        self.same: set[str] = set()
        self.narrow(limit)
        self.producers_a, self.producers_b = producers(a), producers(b)

    def narrow(self, limit: float) -> None:
        """Hold values to another limit from now on."""
        self.limit = limit
        self.same = {name for name, error in self.errors.items() if error <= limit}

    @cached_property
    def consumers_a(self) -> dict[str, list[Op]]:
        return consumers(self.a)

    @cached_property
    def consumers_b(self) -> dict[str, list[Op]]:
        return consumers(self.b)

    @cached_property
    def taken(self) -> set[str]:
        """Values of A that are some value's partner."""
        return {self.partners[name].a for name in self.same}

    def partner_of(self, name: str) -> Partner | None:
        """That of a value of A, the nearest where there are several."""
        found = [one for one in self.partners.values() if one.a == name]
        return min(found, key=lambda one: one.error, default=None)

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
        """The op before this one, where that put right numbers in a wrong order, or did not do its part.

        Its result still has a partner, and what comes next is the first to have none.
        """
        opposite = self.opposite(op)
        for name in op.inputs:
            partner, before = self.partners.get(name), self.producers_b.get(name)
            if partner is None or partner.factor != 1 or before is None:
                continue
            if (other := self._standing_for_another(before, name, op)) is not None:
                return other
            if opposite is None:
                continue
            kind = kind_of(before)
            if kind in _LAYOUT and alike(opposite, op):
                for there in self._lying_otherwise(name, partner.a, opposite):
                    return self._first_moved(before, there)
            idle = any(self.partners[one].a == partner.a for one in before.inputs if one in self.partners)
            users = self.consumers_a.get(partner.a, ())
            acts = kind == "transpose" or kind not in _LAYOUT | _COPIES
            if idle and acts and any(alike(user, before) and self._lost(user) for user in users):
                return before
        return op

    def _standing_for_another(self, before: Op, name: str, op: Op) -> Op | None:
        """The op that gives `name` to `op`, maybe by others that only move numbers, where A has one that B has not.

        What it gives is in A, but elsewhere: what it took, what a neighbour gives, or what has no bias yet.
        """
        opposite, here = self.opposite(op), self.partners[name].a
        there = opposite if opposite is not None and alike(opposite, op) else None
        source: Op | None = before
        while source is not None and name in self.partners and self.partners[name].factor == 1:
            if kind_of(source) not in _LAYOUT:
                found = self._lacks_bias(source, here, op, there) or self._stands_for_another(source, name, op, there)
                return source if found else None
            if source.inputs[0] not in self.producers_b:
                return None
            name = source.inputs[0]
            source = self.producers_b[name]
        return None

    def _lacks_bias(self, source: Op, here: str, op: Op, there: Op | None) -> bool:
        """Whether A adds a constant to what this op gives, which can add one, and B does not."""
        if kind_of(source) not in ("conv", "matmul") or source.kind.lower() in ("matmul", "aten.mm.default"):
            return False
        bias = self._left_out(op, here)
        if bias is None or not self._adds_constant(bias):
            return False
        return there is None or (alike(there, bias) and not any(one in self.b.constants for one in op.inputs))

    def _stands_for_another(self, source: Op, name: str, op: Op, there: Op | None) -> bool:
        """Whether another op of B gives the same as well, and A's that takes the same as this one has no like in B."""
        here, size = self.partners[name].a, self.b.values[name].size
        if not any(one.a == here for other, one in self.partners.items() if other not in source.outputs):
            return False
        for one in source.inputs:
            missing = self._left_out(op, self.partners[one].a, here) if one in self.partners else None
            if missing is None or all(self.a.values[out].size != size for out in missing.outputs):
                continue
            if there is None or any(copy in there.inputs for out in missing.outputs for copy in self._copies(out)):
                return True
        return False

    def _adds_constant(self, op: Op) -> bool:
        return kind_of(op) == "add" and any(name in self.a.constants for name in op.inputs)

    def left_out(self, op: Op) -> Op | None:
        """The op of A that stands between what this one takes and what its like takes, and that B has not."""
        opposite = self.opposite(op)
        if opposite is None or alike(opposite, op):
            return None
        fed = (self.partners[name].a for name in op.inputs if name in self.same)
        return next(filter(None, (self._left_out(op, one) for one in fed)), None)

    def _left_out(self, op: Op, name: str, here: str = "") -> Op | None:
        """That which takes this value of A, gives another than `here`, and leads to an op like this one."""
        held = self.a.values[here or name]
        for user in (user for one in self._copies(name) for user in self.consumers_a.get(one, ())):
            if kind_of(user) in _LAYOUT | _COPIES or not self._lost(user):
                continue
            given = [one for one in user.outputs if one in self._ours]
            onward = (after for one in given for copy in self._copies(one) for after in self.consumers_a.get(copy, ()))
            if (self._adds_constant(user) or any(alike(after, op) for after in onward)) and any(
                difference(self.a.values[one], held) > self.limit for one in given
            ):
                return user
        return None

    def _first_moved(self, op: Op, name: str) -> Op:
        """Of ops in a row that only move numbers, up to this one, the first that does it otherwise than A's.

        `name` is the value of A that should be what this one gives.
        """
        while (other := self.producers_a.get(name)) is not None and kind_of(other) in _LAYOUT:
            mine, ours = op.inputs[0], other.inputs[0]
            before = self.producers_b.get(mine)
            if before is None or kind_of(before) not in _LAYOUT or mine not in self.b.values or ours not in self._ours:
                break
            b, a = self.b.values[mine], self.a.values[ours]
            if bare(a) != bare(b) or difference(a, b) <= self.limit:
                break
            op, name = before, ours
        return op

    def _lying_otherwise(self, name: str, partner: str, opposite: Op) -> list[str]:
        """What the op of A takes of the same numbers in the same shape, but in another order."""
        b, copies = self.b.values[name], set(self._copies(partner))
        fed = ((one, self.a.values[one]) for one in opposite.inputs if one in copies)
        return [one for one, a in fed if bare(a) == bare(b) and difference(a, b) > self.limit]

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
