"""Puts a page together: one file of HTML with its style and pictures inside, and nothing that runs or is fetched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.base.shown import shown
from validators.page.evidence import Answer, Evidence, Located, Outcome
from validators.report import OVERALL, verdict
from validators.results import Check, exit_code

if TYPE_CHECKING:
    from markupsafe import Markup

    from validators.divergence import Growth
    from validators.page.pictures import Picture, Top

_HERE = Path(__file__).parent
_NEEDS = ("matplotlib", "jinja2")
# A page of more is slow to open, and refused by some mail servers; the rest of it is tables.
_MOST_OF_PICTURES = 2_000_000
_MOST_FILES = 200


def missing() -> str | None:
    """What a page needs and is not installed, with what adds it; None where all is here."""
    absent = [name for name in _NEEDS if find_spec(name) is None]
    if not absent:
        return None
    return (
        f'a page needs {" and ".join(absent)}, which a plain install has not; `pip install "soundport[report]"` adds it'
    )


@dataclass(frozen=True)
class Gallery:
    """What is drawn of one answer; `whole` is False where there was no room for all of it.

    `same` are the outputs without any difference; `open` tells that it is the worst of the page that has pictures.
    """

    answer: Answer
    pictures: tuple[Picture, ...]
    same: tuple[str, ...]
    top: Top | None
    whole: bool
    open: bool


def write(checks: Sequence[Check], evidence: Evidence, command: str, warnings: Sequence[str] = ()) -> str:
    """The page's text, in UTF-8 under 3 MB; it says what `exit_code` says of the checks, or the outcome that is given.

    `command` is what made it. Texts are taken for a stranger's, wherever they come from: they are escaped, and what
    would steer a terminal or turn a line around is spelled out.
    """
    import jinja2
    import markupsafe

    from validators.page import tables
    from validators.traces import brief

    style = (_HERE / "style.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_told,
    )
    environment.filters |= {"brief": brief, "figure": _figure, "share": _share, "size": _size, "bar": _bar}
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    outcome = evidence.outcome or Outcome(exit_code(checks), verdict(checks).partition(": ")[2])
    runtimes = tables.runtimes(checks)
    return environment.get_template("template.html").render(
        style=markupsafe.Markup(style),
        style_digest=digest,
        title=evidence.title,
        command=command,
        outcome=outcome,
        overall=OVERALL[outcome.code],
        faults=tables.faults(checks),
        warnings=warnings,
        evidence=evidence,
        runtimes=runtimes,
        artifacts=list(dict.fromkeys(runtime.artifact for runtime in runtimes)),
        forms=tables.forms(checks),
        galleries=_galleries(evidence, [(found.artifact, found.runtime) for found in runtimes]),
        rules={name: tables.broken(found) for name, found in evidence.rules.items()},
        hazards={name: tables.hazard_rows(found) for name, found in evidence.hazards.items()},
        files=evidence.files[:_MOST_FILES],
        files_left_out=max(0, len(evidence.files) - _MOST_FILES),
        stages=[(stage, tables.row(stage.check) if stage.check else None) for stage in evidence.stages],
        located=[(one, _along(one, f"g{number}")) for number, one in enumerate(evidence.located)],
    )


def _told(value: Any) -> Any:
    """What every expression of the template goes through before it is escaped."""
    return shown(value) if type(value) is str else value


def _galleries(evidence: Evidence, order: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[Gallery]]:
    """By artifact and runtime; the worst are drawn first, as long as there is room."""
    from validators.page import pictures

    room = _MOST_OF_PICTURES
    found: dict[tuple[str, str], list[Gallery]] = {}
    ranks = {key: rank for rank, key in enumerate(order)}
    answers = sorted(evidence.answers, key=lambda answer: ranks.get((answer.artifact, answer.runtime), len(ranks)))
    full = shown_one = False
    for number, answer in enumerate(answers):
        drawn: list[Picture] = []
        for picture in () if full else pictures.draw(answer, evidence.front_end, f"p{number}"):
            full = len(picture.svg) > room
            if full:
                break
            room -= len(picture.svg)
            drawn.append(picture)
        top = pictures.top(answer, evidence.scores, evidence.labels)
        found.setdefault((answer.artifact, answer.runtime), []).append(
            Gallery(answer, tuple(drawn), pictures.same(answer), top, not full, bool(drawn) and not shown_one)
        )
        shown_one = shown_one or bool(drawn)
    return found


@dataclass(frozen=True)
class Along:
    """The error along a graph as a picture, and the ops that add most to it, which are numbered there."""

    title: str
    chart: Markup
    most: Sequence[Growth]


def _along(located: Located, name: str) -> list[Along]:
    found = located.divergence
    drawn = [
        ("The error behind each op", found.growth if found else (), found.limit if found else 0.0),
        ("What float16 adds to it", located.rounding, 0.0),
    ]
    return [
        _grown(title, growth, limit, f"{name}-{number}")
        for number, (title, growth, limit) in enumerate(drawn)
        if len(growth) > 1
    ]


def _grown(title: str, growth: Sequence[Growth], limit: float, name: str) -> Along:
    from validators.divergence import amplifiers
    from validators.page import charts

    most = amplifiers(growth)
    marked = [next(place for place, one in enumerate(growth) if one is step) for step in most]
    words = f"{title}: {len(growth)} ops, in the order of the graph"
    return Along(title, charts.growth([step.error_out for step in growth], marked, limit, name, words), most)


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _share(used: float | None) -> str:
    """How much of the tolerance is needed, in words."""
    if used is None:
        return "–"
    if used > 9.995:
        return "over ten times" if used < 1000 else "over a thousand times"
    return "under 0.1 %" if 0 < used < 0.001 else f"{used * 100:.3g} %"


def _bar(used: float | None) -> float:
    """The length of a bar that ends at 100; what passes never fills it more than what fails."""
    return 0.0 if used is None else round(100 * min(max(used, 0.0), 1.0), 2)


def _size(count: int) -> str:
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count} bytes"
