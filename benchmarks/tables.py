"""What was measured, as it is kept in `results.json`."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.timing import Rounds, Spread, is_disturbed, ratio, spread

NAIVE = "naive"
LOWERED = "lowered"
GEMM = "GEMM"


@dataclass(frozen=True)
class Clip:
    """What is fed: seconds of sound, and how many clips at once."""

    seconds: float
    batch: int = 1

    def __str__(self) -> str:
        return f"{self.seconds:g} s" + (f", batch {self.batch}" if self.batch > 1 else "")


@dataclass
class Row:
    """One contender: seconds a call in each round, the worst difference of each output from float64, and its products.

    `errors` and `macs` are left out where they mean nothing, or nobody counted them.
    """

    seconds: list[float]
    errors: dict[str, float] = field(default_factory=dict)
    macs: int | None = None

    @property
    def spread(self) -> Spread:
        return spread(self.seconds)


@dataclass
class Table:
    """Contenders that were measured in turn: on one subject, one clip, with so many threads.

    `load` is the load average at the start; `others` the cores that other processes used in each round. `gemm` is
    how many multiply-accumulates a second a matrix product reached in the same rounds.
    """

    subject: str
    clip: Clip
    threads: int
    rows: dict[str, Row]
    load: float
    others: list[float | None]
    gemm: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def disturbed(self) -> int:
        return sum(is_disturbed(used) for used in self.others)

    def ratio(self, slower: str, faster: str) -> Spread:
        """How many times as fast one is as the other."""
        return ratio(self.rows[slower].seconds, self.rows[faster].seconds)

    def over_floor(self, name: str) -> float | None:
        """How many times as long it takes as its products alone would at the rate of a matrix product."""
        macs = self.rows[name].macs
        if macs is None or self.gemm is None:
            return None
        return self.rows[name].spread.median / (macs / self.gemm)


def table(
    subject: str,
    clip: Clip,
    threads: int,
    rounds: Rounds,
    load: float,
    *,
    errors: dict[str, dict[str, float]] | None = None,
    macs: dict[str, int | None] | None = None,
    gemm_macs: int = 0,
    notes: list[str] | None = None,
) -> Table:
    """Of measured rounds, in which GEMM is no contender but the measure of the others."""
    rows = {
        name: Row(seconds, (errors or {}).get(name, {}), (macs or {}).get(name))
        for name, seconds in rounds.seconds.items()
        if name != GEMM
    }
    gemm = gemm_macs / spread(rounds.seconds[GEMM]).median if GEMM in rounds.seconds else None
    return Table(subject, clip, threads, rows, load, rounds.others, gemm, notes or [])
