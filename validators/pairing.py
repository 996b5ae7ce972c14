"""Which array of one dump stands against which of another, and in what shape."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import lcm, prod

import numpy as np

from recipes.base.errors import UserError
from validators.compare import Sampled
from validators.dumps import Dump, Flat, Tensor, Tensors
from validators.layout import CLEARLY_LESS, NCHW, NHWC, Pair
from validators.matching import unambiguous

# Whose values are compared, where neither names nor shapes tell: a few against all layers of a large model.
_MOST_PAIRS = 2**16


@dataclass(frozen=True)
class Match:
    """The names that stand against each other, by the expected one; `by_shape` and `by_values` are those that differ.

    Nothing stands against what is `missing` in what was got, and against what is `extra` there.
    """

    names: Mapping[str, str]
    by_shape: frozenset[str]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    by_values: frozenset[str] = frozenset()

    def only(self, chosen: Collection[str]) -> "Match":
        """What concerns these of the expected ones; all of it where none is chosen."""
        if not chosen:
            return self
        return replace(
            self,
            names={name: other for name, other in self.names.items() if name in chosen},
            missing=tuple(name for name in self.missing if name in chosen),
            extra=(),
        )


def cases(expected: Dump, got: Dump, case: str | None) -> list[tuple[str, Tensors | None, Tensors | None]]:
    """The cases to compare, by name, with None on the side that lacks one.

    Two single cases are compared whatever their names are. Raises UserError where a case has to be chosen, or the one
    that was chosen is not there.
    """
    sides = {"EXPECTED": expected.cases, "GOT": got.cases}
    if case is None and len(expected.cases) == len(got.cases) == 1:
        (first, ours), (second, theirs) = *expected.cases.items(), *got.cases.items()
        return [(first or second, ours, theirs)]
    if case is not None:
        return [(case, _chosen("EXPECTED", expected.cases, case), _chosen("GOT", got.cases, case))]
    for side, held in sides.items():
        if "" in held:
            other = next(other for name, other in sides.items() if name != side)
            raise UserError(
                f"{side} holds one case and does not say which, and the other side has {', '.join(other)}; choose "
                "one with --case"
            )
    names = [*expected.cases, *(name for name in got.cases if name not in expected.cases)]
    return [(name, expected.cases.get(name), got.cases.get(name)) for name in names]


def _chosen(side: str, held: Mapping[str, Tensors], case: str) -> Tensors:
    if case in held:
        return held[case]
    if list(held) == [""]:
        return held[""]
    raise UserError(f"--case {case}: {side} has no such case; it has {', '.join(name or '(unnamed)' for name in held)}")


def matches(
    expected: Dump,
    got: Dump,
    found: Iterable[tuple[str, Tensors | None, Tensors | None]],
    given: Mapping[str, str] | None = None,
) -> dict[str, Match]:
    """Of each case that both have: as `match`, what that leaves by its values, and what these leave by its shape."""
    given = given or {}
    both = {case: (ours, theirs) for case, ours, theirs in found if ours is not None and theirs is not None}
    first = [(match(expected, got, *tensors, given), *tensors) for tensors in both.values()]
    near = by_values(first) if not (expected.layers or got.layers) else {}
    return {
        case: replace(match(expected, got, *tensors, {**near, **given}), by_values=frozenset(near))
        for case, tensors in both.items()
    }


def match(expected: Dump, got: Dump, ours: Tensors, theirs: Tensors, given: Mapping[str, str] | None = None) -> Match:
    """A case of each: as `given`, by name; what is left by shape, be it but for NHWC, where just one of each fits.

    A simulator may add axes of size 1, so that there the count of elements is the last thing to go by. Where both hold
    all layers, many that have nothing to do with each other are alike, and names alone tell.
    """
    given = given or {}
    names = {name: other for name, other in given.items() if name in ours and other in theirs}
    taken = set(names.values())
    names |= {name: name for name in ours if name in theirs and name not in given and name not in taken}
    by_shape: set[str] = set()
    for fits in _rules(expected, got):
        taken = set(names.values())
        missing = {name: tensor for name, tensor in ours.items() if name not in names}
        extra = {name: tensor for name, tensor in theirs.items() if name not in taken}
        found = unambiguous(missing, extra, fits)
        names |= found
        by_shape |= found.keys()
    taken = set(names.values())
    return Match(
        {name: names[name] for name in ours if name in names},
        frozenset(by_shape),
        tuple(name for name in ours if name not in names),
        tuple(name for name in theirs if name not in taken),
    )


def by_values(found: Sequence[tuple[Match, Tensors, Tensors]]) -> dict[str, str]:
    """What neither names nor shapes tell, by the values of all cases: what is near, and nearer than any other."""
    errors: dict[tuple[str, str], float] = {}
    if not found:
        return {}
    missing, extra = (_in_all(names) for names in zip(*((one.missing, one.extra) for one, _, _ in found), strict=True))
    if len(missing) * len(extra) > _MOST_PAIRS:
        return {}
    for name in missing:
        for other in extra:
            pairs = [pair(ours[name], theirs[other]) for _, ours, theirs in found]
            errors[name, other] = max(_distance(squeezed(one) or one) for one in pairs)
    by_name, by_other = defaultdict(list), defaultdict(list)
    for (name, other), error in errors.items():
        by_name[name].append(error)
        by_other[other].append(error)
    return {
        name: other
        for (name, other), error in errors.items()
        if error < CLEARLY_LESS and _alone_least(error, by_name[name]) and _alone_least(error, by_other[other])
    }


def _alone_least(error: float, errors: list[float]) -> bool:
    return error == min(errors) and errors.count(error) == 1


def _in_all(names: Iterable[Sequence[str]]) -> list[str]:
    first, *rest = names
    in_all = set(first).intersection(*rest)
    return [name for name in first if name in in_all]


def _distance(one: Pair) -> float:
    """The mean square of the error as a share of what is usual; infinite where no values can be compared."""
    error, usual = one.error(), one.usual()
    if not np.isfinite(error):
        return np.inf
    return error / usual if usual else (0.0 if error == 0 else np.inf)


def _rules(expected: Dump, got: Dump) -> list[Callable[[Tensor, Tensor], bool]]:
    if expected.layers and got.layers:
        return []
    if expected.simulator or got.simulator:
        return [_alike, _alike_but_for_order, _alike_in_count]
    if expected.answered or got.answered:
        return [_alike, _alike_but_for_ones, _alike_but_for_order]
    return [_alike, _alike_but_for_order]


def _alike(e: Tensor, g: Tensor) -> bool:
    if isinstance(e, Sampled) and isinstance(g, Sampled):
        return e.shape == g.shape
    return _alike_in_count(e, g)


def _alike_but_for_ones(e: Tensor, g: Tensor) -> bool:
    if isinstance(e, Flat) or isinstance(g, Flat):
        return _alike_in_count(e, g)
    return [size for size in e.shape if size != 1] == [size for size in g.shape if size != 1]


def _alike_but_for_order(e: Tensor, g: Tensor) -> bool:
    if isinstance(e, Flat) or isinstance(g, Flat) or not len(e.shape) == len(g.shape) == 4:
        return False
    return g.shape in (tuple(e.shape[axis] for axis in order) for order in (NHWC, NCHW))


def _alike_in_count(e: Tensor, g: Tensor) -> bool:
    return _count(e) == _count(g)


def _count(tensor: Tensor) -> int:
    return prod(tensor.shape) if isinstance(tensor, Sampled) else len(tensor.values)


def pair(expected: Tensor, got: Tensor) -> Pair:
    """Both as arrays: bare numbers take the other side's shape where their count agrees, else they are a row.

    Where the other side is float32, so are they: a decimal stands for the float32 that is nearest to it.

    Where `got` is sampled too, both keep the elements that they have in common.
    """
    flat = isinstance(expected, Flat)
    e, g = _shaped(expected, got), _shaped(got, expected)
    if g.stride == 1:
        return Pair(e, g.values.reshape(g.shape), flat)
    actual = np.zeros(prod(g.shape), g.values.dtype)
    actual[:: g.stride] = g.values
    stride = lcm(e.stride, g.stride)
    return Pair(Sampled(e.shape, stride, e.values[:: stride // e.stride]), actual.reshape(g.shape), flat, whole=False)


def _shaped(tensor: Tensor, other: Tensor) -> Sampled:
    if isinstance(tensor, Sampled):
        return tensor
    values = tensor.values
    if other.values.dtype == np.float32:
        with np.errstate(over="ignore"):
            values = values.astype(np.float32, copy=False)
    if isinstance(other, Sampled) and prod(other.shape) == len(values):
        return Sampled(other.shape, 1, values)
    return Sampled.of(values)


def squeezed(found: Pair) -> Pair | None:
    """In the expected shape, where only axes of size 1 differ; None where more does."""
    sizes = [[size for size in shape if size != 1] for shape in (found.expected.shape, found.actual.shape)]
    if found.expected.shape == found.actual.shape or sizes[0] != sizes[1]:
        return None
    return Pair(found.expected, found.actual.reshape(found.expected.shape), found.flat, found.whole)
