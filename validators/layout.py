"""Arrays whose axes are in another order than expected: NHWC, which is undone, and any other order, which is named."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from recipes.base.tensor import Tolerance
from validators.compare import Sampled, apart, within

Order = tuple[int, ...]
"""The axes of the expected array in the order in which the other one has them."""

NHWC: Order = (0, 2, 3, 1)
NCHW: Order = (0, 3, 1, 2)
_MOST_AXES = 4
CLEARLY_LESS = 0.1


@dataclass(frozen=True)
class Pair:
    """An expected array and the one to hold to it.

    `flat` tells that the expected one has its shape from the other; `whole`, that all elements of the other are there.
    """

    expected: Sampled
    actual: NDArray[np.generic]
    flat: bool = False
    whole: bool = True

    def reordered(self, order: Order) -> "Pair | None":
        """With that order undone; None where the shapes rule it out.

        An array of the expected shape may still hold its numbers in another order: a file of bare numbers takes the
        shape from the other side, and whoever wrote the file may have done the same.
        """
        if not self.whole:
            return None
        back = tuple(int(axis) for axis in np.argsort(order))
        if self.flat:
            moved = self.actual.transpose(back)
            return Pair(Sampled(moved.shape, 1, self.expected.values), moved)
        shape = self.expected.shape
        written = tuple(shape[axis] for axis in order)
        if self.actual.shape not in (written, shape):
            return None
        return Pair(self.expected, self.actual.reshape(written).transpose(back))

    def error(self) -> float:
        """Mean square; infinite where the shapes differ or a value is no number."""
        if self.expected.shape != self.actual.shape or not self.expected.values.size:
            return np.inf
        with np.errstate(invalid="ignore", over="ignore"):
            error = float(np.mean(np.square(apart(self.expected.values, self.expected.sampled(self.actual)))))
        return error if np.isfinite(error) else np.inf

    def usual(self) -> float:
        """The mean square error of unrelated values of one distribution, which are twice its variance apart."""
        with np.errstate(invalid="ignore", over="ignore"):
            return 2 * float(np.var(self.expected.values.astype(np.float64)))

    def within(self, tolerance: Tolerance) -> bool:
        if self.expected.shape != self.actual.shape:
            return False
        with np.errstate(invalid="ignore"):
            return within(self.expected.values, self.expected.sampled(self.actual), tolerance)


def undone(pair: Pair, tolerance: Tolerance) -> tuple[Pair, str]:
    """With NHWC undone where that is what differs, and what was done; the same pair and `""` where nothing was.

    The values decide, and where they fit no order, the shapes do.
    """
    if len(pair.expected.shape) != 4 or pair.within(tolerance):
        return pair, ""
    order = _fitting(pair, (NHWC, NCHW), tolerance)
    if order is None and pair.expected.shape != pair.actual.shape and not explained(pair, tolerance):
        order = next((order for order in (NHWC, NCHW) if pair.reordered(order)), None)
    if order is None or (found := pair.reordered(order)) is None:
        return pair, ""
    theirs, ours = ("NHWC", "NCHW") if order == NHWC else ("NCHW", "NHWC")
    return found, f"GOT is {theirs} where EXPECTED is {ours}: put into {ours} {list(found.expected.shape)}"


def explained(pair: Pair, tolerance: Tolerance) -> str:
    """Which order of the axes would explain a failure; `""` if none does."""
    rank = len(pair.expected.shape)
    if not 2 <= rank <= _MOST_AXES or pair.actual.ndim != rank or not pair.actual.size:
        return ""
    moves = sorted(permutations(range(rank)), key=_moved)[1:]
    order = _fitting(pair, moves, tolerance)
    if order is None:
        return ""
    where = [place for place, axis in enumerate(order) if place != axis]
    if len(where) == 2:
        return f"agrees when its axes {where[0]} and {where[1]} are swapped"
    return f"agrees when its axes are read in the order {list(order)} of those expected"


def _moved(order: Order) -> int:
    return sum(place != axis for place, axis in enumerate(order))


def _fitting(pair: Pair, orders: Iterable[Order], tolerance: Tolerance) -> Order | None:
    """The first order within the tolerance, else the nearest, if the error is clearly less than without it."""
    found: dict[Order, float] = {}
    for order in orders:
        moved = pair.reordered(order)
        if moved is None:
            continue
        if moved.within(tolerance):
            return order
        found[order] = moved.error()
    best = min(found, key=lambda order: found[order], default=None)
    if best is None:
        return None
    return best if found[best] < CLEARLY_LESS * min(pair.error(), pair.usual()) else None
