"""Shows the stages of a folder and what broke them, to people and to machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from convert.broken import Break
from convert.stages import REFERENCE, Stage, Stages
from convert.suggestion import Suggestion
from recipes.base import plain_json
from recipes.base.shown import shown
from validators import page
from validators.compare import rounded_up
from validators.divergence import Divergence, amplifiers
from validators.markdown import escaped
from validators.markdown import table as table_of
from validators.results import Check
from validators.traces import Op, brief

_NOTHING = "nothing to suggest: no package fails by rounding"
_STYLES = {"passed": "green", "failed": "bold red", "not verified": "bold yellow"}

# Names may be long, and go on in the next line; nothing else is narrowed, so that a line fits into 80 columns.
_NAMES = ("stage", "worst at")
_NUMBERS = ("atol", "passes at")
_COLUMNS = ("stage", "status", "worst at", "atol", "passes at")


def exit_code(found: Stages) -> int:
    """0: all stages agree. 1: one broke. 3: none that is here did, and those before the files are not here."""
    if any(stage.status == "failed" for stage in found.stages):
        return 1
    # A runtime that is absent leaves no file unseen that another one runs.
    files = {stage.run.file.name for stage in found.stages if stage.run}
    seen = {stage.run.file.name for stage in found.stages if stage.run and stage.status == "passed"}
    return 3 if found.absent or files - seen else 0


def verdict(found: Stages, wrong: Sequence[Break]) -> str:
    """One line for each stage that broke, or that all agree."""
    if wrong:
        return "\n".join(f"BROKEN at {one.stage}: {told(one)}" for one in wrong)
    agree = [stage.name for stage in found.stages if stage.status == "passed"]
    unseen = [stage.name for stage in found.stages if stage.status == "not verified"]
    more = f"; NOT VERIFIED: {', '.join(unseen)}" if unseen else ""
    return f"AGREE: {len(agree)} stages, {agree[0]} to {agree[-1]}{more}" if agree else f"NOT VERIFIED{more[14:]}"


def told(one: Break) -> str:
    """What broke it, what shows that, and what agrees."""
    return f"{one.by} broke it: {_told(one.check)}; {_and(one.agree)} agree{'s' * (len(one.agree) == 1)}"


def _told(check: Check) -> str:
    comparison = check.comparison
    if comparison is None:
        return ", ".join(filter(None, (check.case, check.kind, check.message)))
    over = f", {comparison.used:.3g} times what is allowed" if isfinite(comparison.used) else ""
    precision = ", in float64" if check.precision == "fp64" else ""
    return f"{check.output} is off by {comparison.max_abs:.3g} in {check.case}{precision}{over}"


def _and(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def text(found: Stages, wrong: Sequence[Break], suggested: Sequence[Suggestion] | None = None) -> RenderableType:
    """A line a stage, what is known of each that broke, and what was suggested where that was asked for."""
    grid = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for head in _COLUMNS:
        justify: JustifyMethod = "right" if head in _NUMBERS else "left"
        grid.add_column(head, justify=justify, no_wrap=head not in _NAMES, overflow="fold")
    broken = {one.stage for one in wrong}
    for stage in found.stages:
        grid.add_row(*_row(stage, stage.name in broken))
    parts: list[RenderableType] = [grid, Text()]
    if found.absent:
        parts.append(Text(shown(f"NOT VERIFIED what lies before the files: {found.absent}; {REFERENCE} stands for it")))
    for one in wrong:
        parts.append(Text(shown(f"BROKEN at {one.stage}: {told(one)}"), "bold red"))
        parts += [Text(f"  {shown(line)}") for line in _more(one, suggested is not None)]
    if not wrong:
        parts.append(Text(shown(verdict(found, wrong)), "green" if exit_code(found) == 0 else "bold yellow"))
    if suggested is not None:
        parts += advised(suggested)[0]
    return Group(*parts)


def advised(suggested: Sequence[Suggestion]) -> tuple[list[RenderableType], dict[str, Any]]:
    """What was suggested, to people and to machines."""
    lines: list[RenderableType] = [] if suggested else [Text(_NOTHING)]
    for one in suggested:
        lines.append(Text(shown(suggestion(one)), "green" if one.ops else "bold yellow"))
        if one.ops:
            lines.append(Text(f"  {shown(one.command)}"))
    return lines, {"suggestions": [_advice(one) for one in suggested]}


def in_words(suggested: Sequence[Suggestion]) -> list[str]:
    """The same for a page, a line each, with the command."""
    lines = [suggestion(one) + (f": {one.command}" if one.ops else "") for one in suggested]
    return lines or [_NOTHING]


def suggestion(found: Suggestion) -> str:
    """What keeping ops in float32 comes to, in one line."""
    if not found.ops:
        return f"NO SUGGESTION for {found.artifact}: {found.why}"
    return (
        f"SUGGESTED for {found.artifact}: passes with {found.kept - found.float32} more ops in float32, "
        f"{found.kept} of {found.count} instead of {found.float32}; above all {_and(found.most)}"
    )


def _row(stage: Stage, broken: bool) -> list[Text]:
    worst = stage.worst
    figures = worst.comparison if worst else None
    told = [f"{figures.atol:.3g}", f"{rounded_up(figures.passing_atol):.2e}"] if figures else ["-", "-"]
    status = {"passed": "agrees", "failed": "BROKEN" if broken else "off too"}.get(stage.status, "NOT VERIFIED")
    name, *rest = (Text(shown(word)) for word in (stage.name, worst.output if worst else "", *told))
    return [name, Text(status, _STYLES[stage.status]), *rest]


def _more(one: Break, suggested: bool) -> list[str]:
    lines = [*one.why]
    if one.divergence is not None and one.rounding:
        known = (growth for growth in one.divergence.growth if growth.error_in is not None)
        lines += [
            f"grows at {growth.op.kind} {growth.op.name} from {growth.error_in:.2e} to {growth.error_out:.2e} of its "
            "greatest magnitude"
            for growth in amplifiers(known)
        ]
        if not suggested:
            lines.append("--suggest finds ops to keep in float32, and tries them")
    elif one.divergence is not None:
        lines += located(one.divergence, one.held_to)
    return lines


def located(found: Divergence, held_to: str) -> list[str]:
    """The first op that goes another way than the side that is right."""
    if found.culprit is None:
        return [f"no op of it is off by more than {found.limit:g} of its greatest magnitude, beside {held_to}"]
    against = f", where {held_to} has {_op(found.opposite)}" if found.opposite else f", held to {held_to}"
    return [f"first wrong at {_op(found.culprit)}{against}", *found.hints]


def _op(op: Op) -> str:
    told = ", ".join(f"{name} {brief(value)}" for name, value in op.parameters.items())
    return f"{op.kind} {op.name}" + (f" ({told})" if told else "")


def as_markdown(found: Stages, wrong: Sequence[Break], suggested: Sequence[Suggestion] | None = None) -> str:
    """The same for the page of a CI."""
    rows = [
        dict(zip(_COLUMNS, map(str, _row(stage, stage.name in {one.stage for one in wrong})), strict=True))
        for stage in found.stages
    ]
    parts = [f"### {escaped(verdict(found, wrong))}", table_of(_COLUMNS, rows, words=_COLUMNS)]
    lines = [line for one in wrong for line in _more(one, suggested is not None)]
    lines += [f"NOT VERIFIED what lies before the files: {found.absent}"] if found.absent else []
    lines += in_words(suggested) if suggested is not None else []
    return "\n\n".join([*parts, *(f"- {escaped(line)}" for line in lines)]) + "\n"


def evidence(found: Stages, wrong: Sequence[Break], suggested: Sequence[Suggestion] | None = None) -> page.Evidence:
    """What a page shows of them."""
    manifest = found.manifest
    absent = f"what lies before the files was not looked at: {found.absent}; {REFERENCE} stands for it"
    located = (
        page.Located(
            f"{one.stage}: {told(one)}",
            tuple(_more(one, suggested is not None)),
            one.divergence,
            one.divergence.growth if one.divergence and one.rounding else (),
        )
        for one in wrong
    )
    return page.Evidence(
        title=f"{manifest.title}, stage by stage",
        facts={"folder": str(found.folder), "made by": manifest.command, "checkpoint": manifest.checkpoint_file},
        versions=manifest.versions,
        synthetic=manifest.weights == "synthetic",
        outcome=page.Outcome(exit_code(found), verdict(found, wrong)),
        stages=tuple(page.Stage(stage.name, stage.by, stage.status, stage.worst) for stage in found.stages),
        located=tuple(located),
        notes=tuple(in_words(suggested)) if suggested is not None else (),
        unseen=(absent,) if found.absent else (),
    )


def as_json(found: Stages, wrong: Sequence[Break], suggested: Sequence[Suggestion] | None = None) -> dict[str, Any]:
    """Ready for `json.dumps`: what has no finite figure is null."""
    more = {} if suggested is None else advised(suggested)[1]
    told = {
        **more,
        "folder": str(found.folder),
        "exit_code": exit_code(found),
        "verdict": verdict(found, wrong),
        "absent": found.absent or None,
        "stages": [_stage(stage) for stage in found.stages],
        "broken": [_break(one) for one in wrong],
    }
    return {key: plain_json.finite(value) for key, value in told.items()}


def _stage(stage: Stage) -> dict[str, Any]:
    worst = stage.worst
    return {
        "name": stage.name,
        "of": stage.of,
        "status": stage.status,
        "checks": len(stage.checks),
        "worst": asdict(worst) if worst else None,
        "allowed": worst.comparison.used if worst and worst.comparison else None,
    }


def _break(one: Break) -> dict[str, Any]:
    found = one.divergence
    return {
        "stage": one.stage,
        "by": one.by,
        "agree": list(one.agree),
        "rounding": one.rounding,
        "told": told(one),
        "why": list(one.why),
        "held_to": one.held_to or None,
        "culprit": asdict(found.culprit) if found and found.culprit else None,
        "opposite": asdict(found.opposite) if found and found.opposite else None,
        "hints": list(found.hints) if found else [],
        "growth": [
            {"op": step.op.name, "in": step.error_in, "out": step.error_out}
            for step in (found.growth if found and one.rounding else ())
        ],
    }


def _advice(one: Suggestion) -> dict[str, Any]:
    told = {name: value for name, value in asdict(one).items() if name != "checks"}
    return {**told, "told": suggestion(one)}
