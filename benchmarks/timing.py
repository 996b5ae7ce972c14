"""Fair timing of a few callables against each other.

All are called in turn, round after round, every second round backwards, so that drift hits all alike and nobody comes
always after the same other. Before each is timed it rests until the threads of the one before have stopped waiting for
more work (ONNX Runtime's and OpenMP's spin for some milliseconds, on the core that the next one needs), and is called
once to have its weights in the caches. Short calls are repeated within a round.

A round in which others used the cores is taken again. Ratios are those within a round, and the median of them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from statistics import median, quantiles
from typing import Protocol

from benchmarks.machine import Watch

# Seconds: the rest before each is timed, and how long one is called in a round at least.
_REST = 0.06
_LEAST = 0.04

# Cores that others may use on average in a round: what an idle system does for itself.
ALLOWED = 0.1


class Watching(Protocol):
    def others(self) -> float | None: ...


@dataclass(frozen=True)
class Rounds:
    """Seconds a call, by name, round by round; `others` are the cores that others used in each, None if unknown."""

    seconds: dict[str, list[float]]
    others: list[float | None]

    @property
    def disturbed(self) -> int:
        """Rounds that count although others used the cores: repeating them did not help."""
        return sum(is_disturbed(used) for used in self.others)


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: list[float]) -> Spread:
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


def ratio(slower: list[float], faster: list[float]) -> Spread:
    """How many times as long the first takes, round by round."""
    return spread([one / other for one, other in zip(slower, faster, strict=True)])


def is_disturbed(others: float | None) -> bool:
    return others is not None and others > ALLOWED


def measure(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    watch: Callable[[], Watching] = Watch,
    rest: float = _REST,
    least: float = _LEAST,
) -> Rounds:
    """So many rounds that were not disturbed; after twice as many, the least disturbed of those there are."""
    repeats = {name: max(1, ceil(least / _warm(call))) for name, call in contenders.items()}
    taken: list[tuple[float | None, dict[str, float]]] = []
    while len(taken) < 2 * rounds and sum(not is_disturbed(others) for others, _ in taken) < rounds:
        watching = watch()
        names = list(contenders)[:: -1 if len(taken) % 2 else 1]
        seconds = {name: _timed(contenders[name], repeats[name], rest) for name in names}
        taken.append((watching.others(), seconds))
    best = sorted(taken, key=lambda one: one[0] or 0.0)[:rounds] if len(taken) > rounds else taken
    kept = [one for one in taken if any(one is other for other in best)]
    return Rounds({name: [seconds[name] for _, seconds in kept] for name in contenders}, [others for others, _ in kept])


def _warm(call: Callable[[], object]) -> float:
    """The median of three calls, after one that may compile."""
    call()
    return max(1e-6, median(_timed(call, 1, 0) for _ in range(3)))


def _timed(call: Callable[[], object], repeats: int, rest: float) -> float:
    if rest:
        time.sleep(rest)
        call()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats
