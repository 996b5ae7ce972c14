"""Charts of a page: arrays in, `svg` elements out. What is not a number is drawn as such and breaks nothing.

They hold numbers and our own words alone: names out of strangers' files stand in the page's text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from validators.page import svg
from validators.page.svg import BAD, FAINT, INK, LIMIT, SERIES

# Neither on the way from black to white of the colours below.
_NO_NUMBER = "#00b7c7"
_SIZE = (4.1, 2.15)
_MOST_COLUMNS, _MOST_ROWS, _MOST_POINTS = 320, 160, 600
# Errors that are this small a part of what is allowed are all alike.
_LEAST_SHARE = 1e-4

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Across:
    """What goes along a side of a chart, and where it ends."""

    words: str
    end: float


def spectrogram(values: Floats, low: float, high: float, name: str, words: str, across: Across, up: str) -> Markup:
    """(bins, frames) as a picture, low bins at the bottom; `low` and `high` are the ends of its colours.

    `up` says what goes up.
    """
    image = _means(_means(values, _MOST_COLUMNS).T, _MOST_ROWS).T
    return _heat(image, low, high, "viridis", name, words, across, Across(up, len(values)))


def difference(values: Floats, name: str, words: str, across: Across, up: str) -> Markup:
    """(bins, frames) of absolute errors, from 0 to the greatest of them."""
    image = _greatest(_greatest(values, _MOST_COLUMNS).T, _MOST_ROWS).T
    finite = values[np.isfinite(values)]
    return _heat(image, 0.0, float(finite.max(initial=0)), "inferno", name, words, across, Across(up, len(values)))


def _heat(
    image: Floats, low: float, high: float, colours: str, name: str, words: str, across: Across, up: Across
) -> Markup:
    with svg.drawing():
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        shown = axes.imshow(
            np.ma.masked_invalid(image),
            cmap=matplotlib.colormaps[colours].with_extremes(bad=_NO_NUMBER),
            vmin=low,
            # Of one value alone: any other end does.
            vmax=high if high > low else low + 1,
            origin="lower",
            aspect="auto",
            interpolation="none",
            extent=(0, across.end, 0, up.end),
        )
        axes.set_xlabel(across.words)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_ylabel(up.words)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        bar = figure.colorbar(shown, ax=axes, fraction=0.06, pad=0.02)
        # A picture and not a path for each of its colours.
        if bar.solids is not None:
            bar.solids.set_rasterized(True)
        bar.outline.set_visible(False)
        bar.ax.yaxis.set_major_locator(MaxNLocator(5))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        return svg.markup(figure, name, words)


def errors(found: Floats, allowed: Floats, name: str, words: str, across: Across) -> Markup:
    """Absolute errors in a row, on a scale of powers of ten, and what is allowed at each.

    Of many that share a point of the row, the one is drawn that takes the greatest share of what it may. Nothing is
    drawn where what is allowed is NaN.
    """
    row, limit = _worst(found.astype(np.float64), allowed.astype(np.float64))
    places = (np.arange(len(row)) + 0.5) / len(row) * across.end
    known = ~np.isnan(limit)
    row, limit, places = row[known], limit[known], places[known]
    bad = ~np.isfinite(row)
    top = float(limit.max())
    least = max(top * _LEAST_SHARE, float(np.finfo(np.float32).tiny))
    drawn = np.where(bad, np.nan, np.maximum(row, least))
    greatest = max(top, float(np.max(drawn, initial=least, where=~bad)))
    with svg.drawing():
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        _line(axes, places, drawn)
        if top > 0:
            # From edge to edge, though the first point and the last are half a step inside.
            ends = np.concatenate([[0], places, [across.end]]), np.concatenate([limit[:1], limit, limit[-1:]])
            axes.plot(*ends, color=LIMIT, linewidth=1, linestyle=(0, (4, 2)))
            axes.set_title("– – allowed", loc="right", color=LIMIT)
        # Two powers of ten or more, so that some are on the scale.
        lowest = min(greatest / 50, float(limit.min()) or np.inf)
        axes.set_ylim(float(np.min(drawn, initial=lowest, where=~bad)) / 2, greatest * 4)
        if bad.any():
            axes.plot(places[bad], np.full(bad.sum(), greatest * 2), "x", color=BAD, markersize=4, clip_on=False)
        _powers(axes)
        axes.set_xlim(0, across.end)
        axes.set_xlabel(across.words)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_ylabel("absolute error")
        return svg.markup(figure, name, words)


def growth(shares: Sequence[float | None], marked: Sequence[int], limit: float, name: str, words: str) -> Markup:
    """How far off each op's result is, in the order of the graph, as a share of its greatest magnitude.

    None is drawn as a gap, and a line at the limit; the ops at the places in `marked` have a dot and their number.
    """
    values = np.array([np.nan if share is None else share for share in shares], np.float64)
    places = np.arange(1, len(values) + 1, dtype=np.float64)
    with svg.drawing():
        figure = Figure(figsize=(2 * _SIZE[0], 1.2 * _SIZE[1]), layout="constrained")
        axes = figure.add_subplot()
        finite = values[np.isfinite(values) & (values > 0)]
        least = float(finite.min(initial=1.0)) if finite.size else 1e-9
        drawn = np.where(np.isfinite(values), np.maximum(values, least), np.nan)
        _line(axes, places, drawn)
        for number, place in enumerate(marked, start=1):
            if np.isfinite(drawn[place]):
                axes.plot([places[place]], [drawn[place]], "o", color=LIMIT, markersize=5)
                axes.annotate(
                    str(number), (places[place], drawn[place]), (0, 5), textcoords="offset points", ha="center"
                )
        if limit > 0:
            axes.axhline(limit, color=LIMIT, linewidth=1, linestyle=(0, (4, 2)))
            axes.set_title("– – limit", loc="right", color=LIMIT)
        greatest = float(np.max(drawn, initial=max(least, limit), where=np.isfinite(drawn)))
        axes.set_ylim(min(least, greatest / 50) / 2, greatest * 4)
        _powers(axes)
        axes.set_xlim(0.5, len(values) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("op, in the order of the graph")
        axes.set_ylabel("error, as a share")
        return svg.markup(figure, name, words)


def _line(axes: Axes, places: Floats, values: Floats) -> None:
    axes.plot(places, values, color=SERIES, linewidth=1, solid_joinstyle="round", marker="." if len(values) < 3 else "")


def _powers(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("e-0", "e-")))
    axes.grid(axis="y", color=FAINT)
    axes.tick_params(color=INK)


def _means(values: Floats, most: int) -> Floats:
    """(rows, columns) with one column for as many of them as leave at most `most`."""
    starts = _starts(values.shape[1], most)
    sizes = np.diff([*starts, values.shape[1]])
    return np.asarray(np.add.reduceat(values.astype(np.float64), starts, axis=1) / sizes)


def _greatest(values: Floats, most: int) -> Floats:
    return np.asarray(np.maximum.reduceat(values, _starts(values.shape[1], most), axis=1))


def _worst(found: Floats, allowed: Floats) -> tuple[Floats, Floats]:
    with np.errstate(over="ignore"):
        shares = np.where(np.isfinite(found), found / np.maximum(allowed, np.finfo(np.float64).tiny), np.inf)
    shares[np.isnan(allowed)] = -1
    starts = _starts(len(found), _MOST_POINTS)
    places = [start + int(np.argmax(part)) for start, part in zip(starts, np.split(shares, starts[1:]), strict=True)]
    return found[places], allowed[places]


def _starts(count: int, most: int) -> NDArray[np.intp]:
    return np.arange(0, count, max(1, -(-count // most)))
