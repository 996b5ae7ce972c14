"""What is drawn of an answer: the sound on both sides, errors over time and classes, and its first classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from recipes.base.scores import probabilities
from recipes.base.shown import shown
from recipes.base.tensor import SCORES
from validators.compare import apart
from validators.page import charts
from validators.page.charts import Across
from validators.page.evidence import Answer, Held

TOP = 5
_MOST_OUTPUTS = 8


@dataclass(frozen=True)
class Picture:
    """A chart and the words below it."""

    title: str
    words: str
    svg: Markup


@dataclass(frozen=True)
class Class:
    """A class that is among the first on either side: its place, from 1, and its score on both."""

    label: str
    expected: float
    actual: float
    place: int
    new_place: int | None


@dataclass(frozen=True)
class Top:
    """The first classes of both sides, by probability."""

    output: str
    classes: tuple[Class, ...]
    same: bool


def draw(answer: Answer, front_end: str | None, name: str) -> Iterator[Picture]:
    """Nothing of outputs without time or classes, nor of `same` ones; of a dump of all layers the worst alone.

    `name` is the answer's own in the page.
    """
    # One after the other: a dump of all layers is large, and each of them is widened to float64.
    worst = sorted((seen for seen in answer.outputs if not _is_same(seen)), key=lambda seen: -_row(seen).used)[
        :_MOST_OUTPUTS
    ]
    for number, seen in enumerate(sorted(worst, key=lambda seen: (seen.name != front_end, seen.name))):
        yield from _of_output(_row(seen), answer.seconds, f"{name}-{number}", seen.name == front_end)


def same(answer: Answer) -> tuple[str, ...]:
    """The outputs of which no known value differs: a picture of nothing would say less."""
    return tuple(seen.name for seen in answer.outputs if _is_same(seen))


def _is_same(seen: Held) -> bool:
    known = np.isfinite(seen.expected)
    if not known.any() or not np.isfinite(seen.actual).all():
        return False
    return not apart(seen.expected[known], seen.actual[known]).any()


@dataclass(frozen=True)
class _Row:
    """One clip of an output: the one that is the farthest off; `time` is the axis of both that is time.

    `errors` are NaN where nobody knows what is right, too.
    """

    seen: Held
    expected: NDArray[np.float64]
    actual: NDArray[np.float64]
    errors: NDArray[np.float64]
    time: int | None
    which: str

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.expected)

    @property
    def allowed(self) -> NDArray[np.float64]:
        """NaN where nobody knows what is right."""
        return np.asarray(self.seen.tolerance.atol + self.seen.tolerance.rtol * np.abs(self.expected))

    @property
    def shares(self) -> NDArray[np.float64]:
        """Of what is allowed; infinite where something is no number, and below any share where nothing is known."""
        errors = self.errors
        with np.errstate(over="ignore"):
            shares = errors / np.maximum(self.allowed, np.finfo(np.float64).tiny)
        return np.where(self.known, np.where(np.isfinite(errors), shares, np.inf), -1.0)

    @property
    def used(self) -> float:
        return float(self.shares.max(initial=0))


def _row(seen: Held) -> _Row:
    expected, actual, axes = seen.expected.astype(np.float64), seen.actual.astype(np.float64), list(seen.axes)
    with np.errstate(invalid="ignore"):
        errors = apart(seen.expected, seen.actual)
    if len(axes) != expected.ndim:
        axes = [f"axis {place}" for place in range(expected.ndim)]
    which = ""
    if axes and axes[0] == "batch" and expected.ndim > 1:
        off = errors.reshape(len(expected), -1)
        known = np.isfinite(expected).reshape(len(expected), -1)
        # What is no number is worse than any that is.
        off = np.where(known, np.where(np.isfinite(off), off, np.inf), -1.0)
        worst = int(np.argmax(off.max(axis=1)))
        which = f", clip {worst + 1} of {len(expected)}" if len(expected) > 1 else ""
        expected, actual, errors, axes = expected[worst], actual[worst], errors[worst], axes[1:]
    # One channel says nothing in a picture.
    axes = [axis for axis, size in zip(axes, expected.shape, strict=True) if size != 1]
    expected, actual, errors = expected.squeeze(), actual.squeeze(), errors.squeeze()
    # What a dump calls an axis is no name: nobody has said what it is.
    free = [place for place, axis in enumerate(axes) if isinstance(axis, str) and axis.isidentifier()]
    return _Row(seen, expected, actual, errors, free[0] if len(free) == 1 else None, which)


def _of_output(row: _Row, seconds: float | None, name: str, front_end: bool) -> Iterator[Picture]:
    if row.expected.size < 2 or not row.known.any():
        return
    title = f"{shown(row.seen.name)}{row.which}"
    length = None if row.time is None else row.expected.shape[row.time]
    time = None if length is None else Across("frame", length) if seconds is None else Across("seconds", seconds)
    if row.expected.ndim == 2 and (front_end or row.seen.kind == "feature") and min(row.expected.shape) > 1:
        yield from _images(row, time or Across("first axis", row.expected.shape[0]), name, title)
    if time is not None and length is not None and length > 1:
        yield _errors(row, row.time or 0, time, f"{name}-t", f"{title}: error over time")
    classes = row.expected.ndim - 1
    if row.seen.kind in SCORES and classes != row.time:
        across = Across("class", row.expected.shape[classes])
        yield _errors(row, classes, across, f"{name}-c", f"{title}: error over classes")
    elif row.seen.kind == "feature" and row.expected.ndim == 2 and row.time is not None:
        across = Across("bin", row.expected.shape[1 - row.time])
        yield _errors(row, 1 - row.time, across, f"{name}-b", f"{title}: error over bins")
    elif row.seen.kind == "feature" and row.expected.ndim == 1 and time is None:
        yield _errors(row, 0, Across("element", row.expected.size), f"{name}-n", f"{title}: error over elements")


def _images(row: _Row, across: Across, name: str, title: str) -> Iterator[Picture]:
    upright = (lambda array: array) if row.time == 1 else np.transpose
    known = row.known
    # All in the same way, or what is a gap alone would look like a difference.
    expected, actual, error = (upright(_filled(array, known)) for array in (row.expected, row.actual, row.errors))
    down = "bin" if row.time is not None else "second axis"
    low, high = float(expected.min()), float(expected.max())
    words = f"{title}, as it should be: {low:.3g} to {high:.3g}"
    part = "" if known.all() else f"{int(known.sum())} of {known.size} values are known; each stands for those after it"
    yield Picture(f"{title}: expected", part, charts.spectrogram(expected, low, high, f"{name}-e", words, across, down))
    bad = f"{said}: the part in one flat colour" if (said := _bad(row.actual)) else ""
    yield Picture(
        f"{title}: actual",
        bad,
        charts.spectrogram(
            actual, low, high, f"{name}-a", f"{title}, as it is, in the same colours. {bad}", across, down
        ),
    )
    words = _worst(row)
    yield Picture(
        f"{title}: difference",
        words,
        charts.difference(error, f"{name}-d", f"{title}, difference: {words}", across, down),
    )


def _errors(row: _Row, axis: int, across: Across, name: str, title: str) -> Picture:
    """Along one axis: of all that stand at one place, what takes the greatest share of what it may."""
    errors, allowed, shares = (
        np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) for array in (row.errors, row.allowed, row.shares)
    )
    worst = shares.argmax(axis=1)[:, None]
    along, limit = (np.take_along_axis(array, worst, axis=1)[:, 0] for array in (errors, allowed))
    words = _worst(row)
    return Picture(title, words, charts.errors(along, limit, name, f"{title}. {words}", across))


def _filled(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """With the last known value before it, in C order, for each that is not known."""
    places = np.flatnonzero(known)
    last = np.searchsorted(places, np.arange(values.size), side="right") - 1
    return np.asarray(values.reshape(-1)[places[np.maximum(last, 0)]].reshape(values.shape))


def _worst(row: _Row) -> str:
    if bad := _bad(row.actual):
        return bad
    known = row.known
    errors, allowed = row.errors[known], row.allowed[known]
    over = int(np.count_nonzero(errors > allowed))
    said = f"{over} of {errors.size} values are over what is allowed" if over else "all within what is allowed"
    return f"at most {errors.max():.3g}; {said}"


def _bad(actual: NDArray[np.float64]) -> str:
    bad = int(np.count_nonzero(~np.isfinite(actual)))
    return f"{bad} of {actual.size} values are NaN or infinite" if bad else ""


def top(answer: Answer, scores: str | None, labels: Sequence[str]) -> Top | None:
    """The first classes of both sides, in the order of what is expected; None where nothing ranks the labels."""
    for seen in answer.outputs:
        row = _row(seen)
        if seen.name != scores or seen.kind not in SCORES or row.expected.shape != (len(labels),):
            continue
        if not row.known.all():
            continue
        expected, actual = (probabilities(array, seen.kind) for array in (row.expected, row.actual))
        order = np.argsort(-expected, kind="stable")
        # What is no number comes last, and has no place.
        new = np.argsort(-np.where(np.isnan(actual), -np.inf, actual), kind="stable")
        places, new_places = np.argsort(order), np.argsort(new)
        chosen = sorted({*order[:TOP].tolist(), *new[:TOP].tolist()}, key=lambda index: places[index])
        classes = tuple(
            Class(
                labels[index],
                float(expected[index]),
                float(actual[index]),
                int(places[index]) + 1,
                None if np.isnan(actual[index]) else int(new_places[index]) + 1,
            )
            for index in chosen
        )
        same = list(order[:TOP]) == list(new[:TOP]) and not np.isnan(actual).any()
        return Top(f"{seen.name}{row.which}", classes, same)
    return None
