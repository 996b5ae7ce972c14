"""Which value of one run is which of another: by what they hold, whatever they are called and however they lie.

Two graphs of one network share most of what they compute, but no names, no layout, and not every step. So values are
matched by themselves: a few figures that no order of the elements changes leave few candidates of the same size, a
sample of elements at the places where each order of the axes would have put them leaves one, and then all elements are
compared. A figure that cannot tell (a constant, a handful of numbers, sizes, which are integers) makes no partner by
itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from validators.compare import apart
from validators.traces import Trace
from validators.traces.kinds import kind_of

LOOSE = 0.25
"""The greatest error, as a share of the greatest magnitude, at which two values are still taken for the same one."""

FEW = 8
"""Values with fewer elements are too few to tell."""

_SAMPLES = 192
_MOST_AXES = 5
# Of candidates that the figures leave, how many are looked at element by element: ReLUs, copies and the like.
_MOST_CANDIDATES = 24
# A slice whose greatest magnitude is this share of all is rounding.
_SILENT = 1e-12
# A factor of one is none, and what is scaled must fit as well as what is not.
_A_FACTOR = 1e-3
_SCALED = 1e-3


_Hints = tuple[bool, bool, float]


@dataclass(frozen=True)
class Partner:
    """A value of B and the value of A that it equals: after `how` ("", "axes 0 2 1 3", "times 4.343", "reshaped").

    `error` is the greatest difference as a share of A's greatest magnitude; `factor` is what A's are to be multiplied
    by, where a fold explains that.
    """

    b: str
    a: str
    how: str
    error: float
    factor: float = 1.0


@dataclass(frozen=True)
class Value:
    """A value of a run, and what is known of it whatever the order of its elements.

    `place` is that of the op that made it, and `kind` what that op does.
    """

    name: str
    place: int
    array: np.ndarray
    kind: str = ""

    @cached_property
    def figures(self) -> NDArray[np.float64]:
        """Least, greatest, mean, mean magnitude and root mean square: none moves by more than the elements do."""
        flat = _flat(self.array)
        with np.errstate(all="ignore"):
            square = float(np.dot(flat, flat)) / flat.size
            figures = [flat.min(), flat.max(), flat.mean(), np.abs(flat).mean(), np.sqrt(square)]
        return np.array(figures, np.float64)

    @cached_property
    def scale(self) -> float:
        """The greatest magnitude."""
        return float(np.abs(self.figures[:2]).max())

    @property
    def finite(self) -> bool:
        """Whether no element is infinite or NaN."""
        return bool(np.isfinite(self.figures[:3]).all())

    @property
    def telling(self) -> bool:
        """Whether it could not be the same by chance."""
        if self.array.dtype.kind != "f" or self.array.size < FEW or not self.finite:
            return False
        least, greatest = self.figures[:2]
        return bool(greatest - least > 1e-5 * self.scale)


def values(trace: Trace) -> dict[str, Value]:
    """Those of a run that hold anything, in the order in which they came about."""
    order = {name: place for place, op in enumerate(trace.ops, 1) for name in op.outputs}
    kinds = {name: kind_of(op) for op in trace.ops for name in op.outputs}
    held = sorted(trace.values, key=lambda name: order.get(name, 0))
    return {
        name: Value(name, order.get(name, 0), trace.values[name], kinds.get(name, ""))
        for name in held
        if trace.values[name].size and trace.values[name].dtype.kind in "biuf"
    }


def partners(a: Mapping[str, Value], b: Mapping[str, Value]) -> dict[str, Partner]:
    """The nearest value of A for each telling one of B that has any, by its name in B.

    A value with a factor of another is its partner only where none is without.
    """
    by_size: dict[int, list[Value]] = {}
    for value in a.values():
        if value.telling:
            by_size.setdefault(value.array.size, []).append(value)
    figures = {size: np.stack([value.figures for value in alike]) for size, alike in by_size.items()}
    last_a, last_b = (max((value.place for value in side.values()), default=0) or 1 for side in (a, b))
    found: dict[str, Partner] = {}
    for value in b.values():
        size = value.array.size
        if not value.telling or size not in by_size:
            continue

        def hints(other: Value, value: Value = value) -> _Hints:
            return other.kind != value.kind, other.name != value.name, abs(other.place / last_a - value.place / last_b)

        near = _near(value, by_size[size], figures[size])
        best = _best(value, near, hints)
        if best is None or best.error > _SCALED:
            scaled = _best(value, _proportional(value, by_size[size], figures[size]), hints, scaled=True)
            if scaled is not None and scaled.error < _SCALED and (best is None or scaled.error < 0.1 * best.error):
                best = scaled
        if best is not None:
            found[value.name] = best
    return found


def pair(a: Value, b: Value, *, scaled: bool = False) -> Partner | None:
    """How these two are the same, if they are, up to LOOSE; None where they are not."""
    if a.array.size != b.array.size or not a.array.size:
        return None
    order = _order(a, b, scaled)
    if order is None:
        return None
    moved = order.applied(a.array)
    theirs = b.array.reshape(-1)
    factor = 1.0
    if scaled:
        factor = b.scale / a.scale * (1 if _dot(moved, theirs) > 0 else -1)
        factor *= _dot(moved * np.float32(factor), theirs) / max(_dot(moved * np.float32(factor)), 1e-300)
        if abs(abs(factor) - 1) < _A_FACTOR and factor > 0:
            return None
        moved = moved * np.float32(factor)
    error = difference(moved, theirs, a.scale * abs(factor))
    if not error <= LOOSE:
        return None
    told = [order.told(a.array.shape, b.array.shape), f"times {factor:.4g}" if scaled else ""]
    return Partner(b.name, a.name, ", ".join(filter(None, told)), error, factor)


def difference(expected: np.ndarray, actual: np.ndarray, scale: float | None = None) -> float:
    """The greatest difference as a share of the greatest magnitude expected.

    Infinite where one is no number and the other is one, or another that is none.
    """
    e, a = _flat(expected), _flat(actual)
    if e.size != a.size or not e.size:
        return np.inf
    with np.errstate(all="ignore"):
        whole = expected.dtype.kind in "iu" and actual.dtype.kind in "iu"
        error = apart(expected.reshape(-1), actual.reshape(-1)) if whole else np.abs(a - e)
        worst = float(error.max())
        if not np.isfinite(worst):
            told = np.isfinite(e) & np.isfinite(a)
            if told.all():
                # Further apart than float64 goes.
                return np.inf
            if not (told | same_nonfinite(e, a)).all():
                return np.inf
            return difference(e[told], a[told]) if told.any() else 0.0
        scale = float(np.abs(e).max()) if scale is None else scale
    return worst / scale if scale else (0.0 if worst == 0 else np.inf)


def same_nonfinite(expected: np.ndarray, actual: np.ndarray) -> NDArray[np.bool_]:
    """Where both are NaN, or the same infinity."""
    return ~np.isfinite(expected) & ((expected == actual) | (np.isnan(expected) & np.isnan(actual)))


def bare(array: np.ndarray) -> tuple[int, ...]:
    """A shape without its axes of size 1."""
    return tuple(size for size in array.shape if size != 1)


def in_slices(a: Value, b: Value) -> float:
    """As `difference`, but of each slice along each axis by itself: what is quiet counts beside what is loud.

    Of a slice that is all but silent nothing is said. Infinite where the two are no partners.
    """
    order = _order(a, b, False)
    if order is None:
        return np.inf
    shape = tuple(size for size in b.array.shape if size != 1)
    e, theirs = order.applied(_flat(a.array).reshape(a.array.shape)).reshape(shape), _flat(b.array).reshape(shape)
    apart, size = np.abs(theirs - e), np.abs(e)
    worst = 0.0
    for axis in range(len(shape)):
        others = tuple(other for other in range(len(shape)) if other != axis)
        errors, sizes = apart.max(axis=others), size.max(axis=others)
        told = sizes > _SILENT * a.scale
        worst = max(worst, float((errors[told] / sizes[told]).max()) if told.any() else 0.0)
    return worst


@dataclass(frozen=True)
class _Order:
    """B's elements are A's after its axes are put in the order `a`; or the other way round, where `inverse`."""

    axes: tuple[int, ...]
    shape: tuple[int, ...]
    inverse: bool = False

    def places(self, flat: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where A has the elements that B has at these places."""
        if self.axes == tuple(range(len(self.axes))):
            return flat
        if not self.inverse:
            moved = tuple(self.shape[axis] for axis in self.axes)
            index = np.unravel_index(flat, moved)
            back = np.argsort(self.axes)
            return np.ravel_multi_index(tuple(index[axis] for axis in back), self.shape)
        index = np.unravel_index(flat, self.shape)
        return np.ravel_multi_index(
            tuple(index[axis] for axis in self.axes), tuple(self.shape[axis] for axis in self.axes)
        )

    def applied(self, array: np.ndarray) -> np.ndarray:
        """A's elements as B has them, flat."""
        if not self.inverse:
            return array.reshape(self.shape).transpose(self.axes).reshape(-1)
        moved = tuple(self.shape[axis] for axis in self.axes)
        return array.reshape(moved).transpose(np.argsort(self.axes)).reshape(-1)

    def told(self, a: tuple[int, ...], b: tuple[int, ...]) -> str:
        if self.axes == tuple(range(len(self.axes))):
            return "" if a == b else "reshaped"
        whole = b if self.inverse else a
        # The axes of size 1 had been left out.
        kept = [place for place, size in enumerate(whole) if size != 1]
        order, alike = [kept[axis] for axis in self.axes], sorted(a) == sorted(b)
        if alike:
            ones = iter([place for place, size in enumerate(whole) if size == 1])
            moved = iter(order)
            order = [next(ones if size == 1 else moved) for size in (a if self.inverse else b)]
        whose = " of the other's" if self.inverse else ""
        return f"axes {' '.join(map(str, order))}{whose}" + ("" if alike else ", reshaped")


def _order(a: Value, b: Value, scaled: bool) -> _Order | None:
    """The order of the axes in which a sample is nearest, as they lie first; None where none is near."""
    places = _places(b.array)
    theirs = _flat(b.array)[places]
    ours = _flat(a.array)
    size = 1 / b.scale if scaled else 1.0
    scale = 1.0 if scaled else max(a.scale, 1e-300)
    best, least = None, LOOSE
    for order in _orders(a.array.shape, b.array.shape):
        sampled = ours[order.places(places)]
        if scaled:
            sampled = sampled / a.scale
            error = min(np.abs(theirs * size - sampled).max(), np.abs(theirs * size + sampled).max())
        else:
            error = np.abs(theirs - sampled).max() / scale
        if error < 0.5 * least or (best is None and error <= least):
            best, least = order, float(error)
        if least == 0:
            break
    return best


def _orders(a: tuple[int, ...], b: tuple[int, ...]) -> Iterator[_Order]:
    """Of the axes that are longer than 1: as they lie, then all others of A's, then of B's where those are more."""
    ours, theirs = (tuple(size for size in shape if size != 1) for shape in (a, b))
    yield _Order(tuple(range(len(ours))), ours)
    if 2 <= len(ours) <= _MOST_AXES:
        for axes in list(permutations(range(len(ours))))[1:]:
            if len(ours) != len(theirs) or tuple(ours[axis] for axis in axes) == theirs:
                yield _Order(axes, ours)
    if len(ours) < len(theirs) <= _MOST_AXES:
        for axes in list(permutations(range(len(theirs))))[1:]:
            yield _Order(axes, theirs, inverse=True)


def _places(array: np.ndarray) -> NDArray[np.int64]:
    """Where to look: all over, the ends, and where the magnitude is great; a ReLU's zeros would not tell."""
    size = array.size
    random = np.random.RandomState(size % 2**31)
    pool = random.randint(0, size, 16 * _SAMPLES) if size > 16 * _SAMPLES else np.arange(size)
    held = np.abs(_flat(array)[pool])
    great = pool[np.argsort(-held, kind="stable")[: _SAMPLES // 2]]
    return np.unique(np.concatenate([[0, size - 1], great, random.choice(pool, _SAMPLES // 2)])).astype(np.int64)


def _near(value: Value, alike: list[Value], figures: NDArray[np.float64]) -> list[Value]:
    scales = np.array([other.scale for other in alike])
    apart = np.abs(figures - value.figures).max(axis=1) / scales
    order = np.argsort(apart, kind="stable")
    return [alike[place] for place in order if apart[place] <= LOOSE][:_MOST_CANDIDATES]


def _proportional(value: Value, alike: list[Value], figures: NDArray[np.float64]) -> list[Value]:
    """Those whose figures are this one's but for a factor, which turns them around where it is negative."""
    scales = np.array([other.scale for other in alike])[:, None]
    own = value.figures / value.scale
    turned = own * [-1, -1, -1, 1, 1]
    turned[:2] = turned[1::-1]
    apart = np.minimum(*(np.abs(figures / scales - side).max(axis=1) for side in (own, turned)))
    order = np.argsort(apart, kind="stable")
    return [alike[place] for place in order if apart[place] <= 3 * _SCALED][:_MOST_CANDIDATES]


def _best(value: Value, near: list[Value], hints: Callable[[Value], _Hints], scaled: bool = False) -> Partner | None:
    """The nearest; of those that are as near, what the names and the order in the graph say."""
    found = [(partner, other) for other in near if (partner := pair(other, value, scaled=scaled)) is not None]
    if not found:
        return None
    least = min(partner.error for partner, _ in found)
    alike = [(partner, other) for partner, other in found if partner.error <= max(2 * least, 1e-7)]
    return min(alike, key=lambda one: (one[0].how != "", *hints(one[1])))[0]


def _flat(array: np.ndarray) -> np.ndarray:
    flat = array.reshape(-1)
    if flat.dtype in (np.float32, np.float64):
        return flat
    return flat.astype(np.float64 if flat.dtype.kind in "iu" else np.float32)


def _dot(one: np.ndarray, other: np.ndarray | None = None) -> float:
    return float(np.dot(_flat(one), _flat(one if other is None else other)))
