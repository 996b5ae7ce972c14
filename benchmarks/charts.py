"""Bar charts as SVG, without a library: a few rectangles and words.

The background is left out, and every colour stands off from white and from black, so that one file does for light pages
and dark ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Contrast with white and with GitHub's dark #0d1117: words 4.3 and 4.4, bars over 3.
WORDS = "#757a80"
SERIES = ("#3b82c4", "#c9741f", "#3f9a68")

_WIDTH, _LABELS, _VALUES = 760, 220, 90
_BAR, _BETWEEN, _GROUPS = 18, 3, 14
_TOP = 62
_FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


@dataclass(frozen=True)
class Group:
    """A label and a value for each series, None where there is none, with the words that say it."""

    label: str
    values: Sequence[float | None]
    words: Sequence[str]


def chart(title: str, series: Sequence[str], groups: Sequence[Group], mark: float | None = None) -> str:
    """Horizontal bars from zero on, the groups from the top down; `mark` draws a line at a value.

    Raises ValueError where there is nothing to draw.
    """
    greatest = max((value for group in groups for value in group.values if value is not None), default=0.0)
    if greatest <= 0:
        raise ValueError("a chart needs a value above zero")
    scale = (_WIDTH - _LABELS - _VALUES) / greatest
    parts: list[str] = []
    y = float(_TOP)
    for group in groups:
        top = y
        for number, (value, words) in enumerate(zip(group.values, group.words, strict=True)):
            if value is None:
                continue
            length = value * scale
            parts.append(_bar(y, length, SERIES[number % len(SERIES)], f"{group.label}: {words}"))
            parts.append(_text(_LABELS + length + 6, y + _BAR - 5, words, 13))
            y += _BAR + _BETWEEN
        parts.append(_text(_LABELS - 10, (top + y - _BETWEEN) / 2 + 5, group.label, 14, anchor="end"))
        y += _GROUPS
    height = y - _GROUPS + 16
    if mark is not None:
        x = _LABELS + mark * scale
        ends = f"x1='{x:.1f}' x2='{x:.1f}' y1='{_TOP - 6}' y2='{height - 10:.1f}'"
        parts.append(f"<line {ends} stroke='{WORDS}' stroke-dasharray='3 3'/>")
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height:.0f}' width='{_WIDTH}' "
            f"height='{height:.0f}' role='img' {_FONT}>",
            f"<title>{escape(title)}</title>",
            _text(0, 18, title, 16, weight=600),
            *_legend(series),
            *parts,
            "</svg>\n",
        ]
    )


def _legend(series: Sequence[str]) -> list[str]:
    if len(series) < 2:
        return []
    found, x = [], float(_LABELS)
    for number, name in enumerate(series):
        found.append(f"<rect x='{x:.1f}' y='34' width='12' height='12' rx='2' fill='{SERIES[number % len(SERIES)]}'/>")
        found.append(_text(x + 18, 45, name, 13))
        x += 40 + 8 * len(name)
    return found


def _bar(y: float, length: float, colour: str, words: str) -> str:
    box = f"x='{_LABELS}' y='{y:.1f}' width='{length:.1f}' height='{_BAR}' rx='2'"
    return f"<rect {box} fill='{colour}'><title>{escape(words)}</title></rect>"


def _text(x: float, y: float, words: str, size: int, anchor: str = "start", weight: int = 400) -> str:
    look = f"font-size='{size}' font-weight='{weight}' text-anchor='{anchor}' fill='{WORDS}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' {look}>{escape(words)}</text>"
