"""What the lowered form has to reach: of each figure what it must be, and what it aims at.

Ratios say how many times as fast the lowered form is as another in the same run; those against the floor, how many
times as long it takes as its multiply-accumulates alone would; those against a sound's duration, how many times over it
would be done while the sound lasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks import mel
from benchmarks.logmel import STFT_AND_MEL
from benchmarks.mel import LIBROSA
from benchmarks.subject import FOR_TRACT, NOT_LOWERED, STFT
from benchmarks.tables import LOWERED, NAIVE, Clip, Table

FLOOR = "floor"
DURATION = "the sound's own duration"
_ONE, _TWO, _BOTH = (1,), (2,), (1, 2)


@dataclass(frozen=True)
class Bar:
    """Of a table's lowered row against another, at least `must`; against the floor, or an error, at most.

    `output` names the output whose worst error is held to it, in place of a ratio. `form` is the lowered row.
    """

    subject: str
    clip: Clip
    threads: int
    against: str
    must: float
    aim: float
    output: str = ""
    form: str = LOWERED

    @property
    def at_most(self) -> bool:
        return self.against == FLOOR or bool(self.output)


@dataclass(frozen=True)
class Judged:
    """`measured` is None where the run did not measure it."""

    bar: Bar
    measured: float | None

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        if self._reaches(self.bar.aim):
            return "aim met"
        return "must met" if self._reaches(self.bar.must) else "MISSED"

    def _reaches(self, bound: float) -> bool:
        assert self.measured is not None
        return self.measured <= bound if self.bar.at_most else self.measured >= bound


def _ratios(
    subject: str, clips: Sequence[Clip], threads: Sequence[int], must: float, aim: float, against: str = NAIVE
) -> list[Bar]:
    return [Bar(subject, clip, count, against, must, aim) for clip in clips for count in threads]


_TEN = Clip(10)
# Of each, the DFT has factors in common with its hop.
PRESETS = tuple(name for name in mel.subjects() if mel.PRIME not in name)

BARS: tuple[Bar, ...] = (
    *_ratios("PANN front end", [_TEN], _BOTH, 3.5, 4.5),
    *_ratios("PANN front end", [_TEN], _BOTH, 1, 1, STFT_AND_MEL),
    *_ratios("PANN", [_TEN, Clip(60), Clip(10, 8)], _BOTH, 2.2, 3),
    # Against what PyTorch makes of the authors' code, and on one thread against a convolution too: ONNX's STFT is slow,
    # and does not spread over threads, which alone is half of the gain on two.
    *(bar for naive in (NAIVE, STFT) for bar in _ratios("mn04", [_TEN], _ONE, 2.4, 3, naive)),
    *_ratios("mn04", [_TEN], _TWO, 4, 5, STFT),
    *(bar for naive in (NAIVE, STFT) for bar in _ratios("mn10", [_TEN], _ONE, 1.6, 2.2, naive)),
    *_ratios("mn10", [_TEN], _TWO, 2.2, 3.5, STFT),
    *_ratios("EAT-S", [_TEN], _ONE, 1.5, 2),
    *_ratios("EAT-S", [_TEN], _TWO, 1.4, 2),
    *_ratios("PANN", [_TEN], _BOTH, 2.2, 1.6, FLOOR),
    *(
        bar
        for preset in PRESETS
        for counts, against, must, aim in ((_BOTH, LIBROSA, 3, 4), (_ONE, STFT_AND_MEL, 1, 2))
        for bar in _ratios(preset, [_TEN], counts, must, aim, against)
    ),
    *(
        Bar(mel.chunks(name), mel.frame(subject.variant), 1, DURATION, 10, 100)
        for name, subject in mel.subjects().items()
        if mel.streams(subject.variant)
    ),
    *(
        Bar(f"{name} in tract", _TEN, 1, NAIVE, 2, 3, form=form)
        for name in ("PANN", "mn04")
        for form in (LOWERED, FOR_TRACT)
    ),
    *_ratios("PANN in the Core ML executor", [_TEN], _ONE, 1, 1.5, NOT_LOWERED),
    *(Bar("PANN", _TEN, 1, "float64", 1e-4, 1e-4, output) for output in ("clipwise", "framewise", "segment_clipwise")),
    Bar("PANN front end", _TEN, 1, "float64", 2e-3, 2e-3, "melspec"),
)


def judge(tables: Iterable[Table], bars: Iterable[Bar] = BARS) -> list[Judged]:
    known = {(table.subject, table.clip, table.threads): table for table in tables}
    return [Judged(bar, _measured(bar, known.get((bar.subject, bar.clip, bar.threads)))) for bar in bars]


def _measured(bar: Bar, table: Table | None) -> float | None:
    if table is None or bar.form not in table.rows:
        return None
    if bar.output:
        return table.rows[bar.form].errors.get(bar.output)
    if bar.against == FLOOR:
        return table.over_floor(bar.form)
    if bar.against == DURATION:
        return table.clip.seconds / table.rows[bar.form].spread.median
    return table.ratio(bar.against, bar.form).median if bar.against in table.rows else None
