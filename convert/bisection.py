"""What `convert bisect` does: two models, run with all their intermediate values, and where the second goes wrong."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convert import models
from convert.comparison import left_out, refuse_missing, refuse_unknown, tolerances_for
from convert.request import limits_given
from convert.targets import of_artifact
from recipes.base.errors import UserError
from recipes.base.shown import shown
from recipes.base.tensor import Tolerance
from validators.compare import Sampled, within
from validators.divergence import LIMITS, Array, Divergence, Growth, Seen, amplifiers, diverged, grown
from validators.dumps import Dump
from validators.feeds import Feed
from validators.markdown import escaped
from validators.markdown import table as table_of
from validators.matching import split
from validators.pairing import Match, matches
from validators.runners.runner import RunnerError
from validators.runners.runtime import Runtime
from validators.traces import Trace

Verdict = Literal["none", "unpaired", "graph", "rounding", "untold"]
WORDS: Mapping[Verdict, str] = {
    "none": "no divergence",
    "unpaired": "no divergence where outputs have a partner",
    "graph": "a fault of the graph",
    "rounding": "rounding of float16, not a fault",
    "untold": "a fault, or rounding of float16: no runtime computes this file in float32 to tell",
}
# The case of a reference that exercises a model most.
_RICH = "rich"
_MOST_ROWS = 12


@dataclass(frozen=True)
class Bisection:
    """Where B first goes another way than A, which is right.

    `amplifiers` are the ops that add most to the rounding of float16, where B has any: what to keep in float32.
    Nothing of B stands against the outputs of A that are `missing`, and nothing of A against the `extra` ones of B:
    they were not compared.
    """

    a: str
    b: str
    runtimes: tuple[str, str]
    fed: str
    verdict: Verdict
    divergence: Divergence
    rounding: tuple[Growth, ...]
    amplifiers: tuple[Growth, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return int(self.verdict != "none")

    @property
    def diverges(self) -> bool:
        """Whether an output goes another way than the one that it is held to."""
        return self.verdict not in ("none", "unpaired")

    @property
    def unpaired(self) -> str:
        """The outputs that nothing stands against, in words; empty where there are none."""
        return ", ".join([*(f"A's {name!r}" for name in self.missing), *(f"B's {name!r}" for name in self.extra)])

    @property
    def remedy(self) -> tuple[str, ...]:
        """What to do about them, in words."""
        what = "--map A_NAME=B_NAME says what does, and --output A_NAME compares those named alone"
        return (f"nothing stands against {self.unpaired}: {what}",) if self.unpaired else ()

    def as_json(self) -> dict[str, Any]:
        """Ready for `json.dumps`: what is no number becomes null."""
        return {"exit_code": self.exit_code, "says": WORDS[self.verdict], **_plain(asdict(self))}


def bisect(
    a: Path,
    b: Path,
    *,
    on: Sequence[Path] = (),
    names: Sequence[str] = (),
    outputs: Sequence[str] = (),
    atol: Sequence[str] = (),
    rtol: Sequence[str] = (),
) -> Bisection:
    """Run both on the same and compare all that they compute. Raises UserError for what cannot be run so.

    Of A's `outputs`, where any is named, no other is compared.
    """
    given = split(names)
    ours, theirs = _runtimes(a), _runtimes(b)
    feed, notes = _fed(a, b, on, given)
    right = _traced(_unrounded(ours) or ours[0], a, feed.expected)
    unrounded = _unrounded(theirs)
    whole = _traced(unrounded, b, feed.got) if unrounded is not None else None
    stored = _traced(theirs[0], b, feed.got)
    half = _is_half(stored) or _is_half(right)
    judge = _Judge(a, right, half, atol, rtol)
    refuse_missing(outputs, right.outputs, "A")
    every = _matched(right, stored, given)
    matched = every.only(outputs)
    pairs = _pairs(matched)
    found = judge.diverged(stored, pairs)
    verdict: Verdict = "unpaired" if matched.missing or matched.extra else "none"
    if found.culprit is not None or any(not one.agrees for one in found.outputs):
        graph = judge.diverged(whole, pairs) if whole is not None and half else None
        if graph is None:
            verdict = "untold" if half else "graph"
        elif all(one.agrees for one in graph.outputs) or _is_rounding(graph, stored, judge.limit):
            verdict = "rounding"
        else:
            verdict, found = "graph", graph
    rounding = grown(whole, stored) if whole is not None and half else ()
    return Bisection(
        a=str(a),
        b=str(b),
        runtimes=(right.runtime, stored.runtime),
        fed=feed.name,
        verdict=verdict,
        divergence=found,
        rounding=rounding,
        amplifiers=amplifiers(rounding),
        missing=matched.missing,
        extra=matched.extra,
        notes=(*notes, *feed.notes, *left_out(outputs, every), f"tolerances: {judge.origin}"),
    )


def _runtimes(path: Path) -> list[Runtime]:
    """Those that show what is computed on the way; UserError where none does."""
    found = [one for one in of_artifact(path).runtimes_of(path.name) if one.tracer and one.absent() is None]
    if not found:
        raise UserError(f"{path}: nothing here shows what it computes on the way; give an .onnx or .mlpackage")
    return found


def _unrounded(runtimes: Iterable[Runtime]) -> Runtime | None:
    return next((one for one in runtimes if one.unrounded), None)


def _fed(a: Path, b: Path, on: Sequence[Path], given: Mapping[str, str]) -> tuple[Feed, tuple[str, ...]]:
    """One case, a row of it: the reference's sound of many voices where there is one."""
    ours, theirs = (models.Side(path, models.opened(path, by_chunks=True), None) for path in (a, b))
    refuse_unknown(given, [(ours.names(), theirs.names())], ("A", "B"))
    slots, cases, _ = models.fed(ours, theirs, on, given)
    if not cases:
        raise UserError(f"{b}: takes no case of the reference; give a sound or arrays that fit with --on")
    named = [case for case in cases if case.name == _RICH]
    single = [case for case in cases if all(np.shape(value)[:1] in ((), (1,)) for value in case.got.values())]
    return (named or single or cases)[0], slots.notes


def _traced(runtime: Runtime, path: Path, inputs: Mapping[str, np.ndarray]) -> Trace:
    try:
        return runtime.trace(path, inputs)
    except RunnerError as error:
        raise UserError(f"{path}: {error}; `convert inspect` or `convert check` says more of the file") from None


def _is_half(trace: Trace) -> bool:
    """Whether anything was computed, or is held, in float16."""
    return any(value.dtype == np.float16 for value in (*trace.values.values(), *trace.constants.values()))


def _is_rounding(graph: Divergence, stored: Trace, limit: float) -> bool:
    """Whether what is left in float32 is no more than constants in float16 make, at an op that holds such."""
    small = all(one.error <= limit for one in graph.outputs)
    held = {**stored.constants, **stored.values}
    op = graph.culprit
    names = (*op.inputs, *op.outputs) if op is not None else ()
    return small and any(name in held and held[name].dtype == np.float16 for name in names)


class _Judge:
    """What B is held to: outputs to the tolerances of `convert compare`, what lies between to a share of the most."""

    def __init__(self, path: Path, right: Trace, half: bool, atol: Sequence[str], rtol: Sequence[str]) -> None:
        self.right = right
        self.limit = LIMITS["float16" if half else "float32"]
        types = {name: right.held[name].dtype for name in right.outputs if name in right.held}
        self.tolerances, self.origin = tolerances_for(path, types, "mixed" if half else "fp32")
        for flag, limits in (("atol", atol), ("rtol", rtol)):
            for name, limit in limits_given(f"--{flag}", limits, list(types)).items():
                self.tolerances[name] = Tolerance(**{**asdict(self.tolerances[name]), flag: limit})
        if atol or rtol:
            self.origin += ", but for --atol and --rtol"

    def diverged(self, trace: Trace, pairs: Mapping[str, str]) -> Divergence:
        return diverged(self.right, trace, limit=self.limit, outputs=pairs, agrees=self._agrees)

    def _agrees(self, name: str, expected: np.ndarray, actual: np.ndarray) -> bool:
        return within(expected, actual, self.tolerances[name])


def _matched(right: Trace, other: Trace, given: Mapping[str, str]) -> Match:
    """A's outputs and B's, as `convert compare` pairs them; what is no array of numbers has no partner."""
    ours, theirs = (
        {name: Sampled.of(held[name]) for name in one.outputs if name in held}
        for one, held in ((right, right.held), (other, other.held))
    )
    sides = Dump({"": ours}, answered=True), Dump({"": theirs}, answered=True)
    found = matches(*sides, [("", ours, theirs)], given)[""]
    return replace(
        found,
        missing=tuple(name for name in right.outputs if name not in found.names),
        extra=tuple(name for name in other.outputs if name not in found.names.values()),
    )


def _pairs(matched: Match) -> dict[str, str]:
    """B's outputs by name, and A's that each is held to; UserError where nothing is left to compare."""
    if not matched.names:
        alone = ", ".join(matched.missing)
        raise UserError(f"nothing of B is known to be one of A's outputs {alone}: give --map A_NAME=B_NAME")
    return {theirs: ours for ours, theirs in matched.names.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def text(found: Bisection, verbose: bool = False) -> RenderableType:
    """What is shown: the verdict first, then the place, its neighbourhood on both sides, and how the error grows."""
    return Group(*_parts(found, verbose))


def as_markdown(found: Bisection, advice: Iterable[str] = ()) -> str:
    """The same for the page of a CI, and what is advised."""
    verdict, *rest = _parts(found, verbose=False)
    parts = [f"### {escaped(str(verdict))}"]
    for part in rest:
        if isinstance(part, Table):
            heads = [str(column.header) for column in part.columns]
            cells = zip(*(map(str, column.cells) for column in part.columns), strict=True)
            rows = [dict(zip(heads, row, strict=True)) for row in cells]
            parts.append(f"**{escaped(str(part.title))}**\n\n{table_of(heads, rows, words=heads)}")
        else:
            parts.append(escaped(str(part).strip()))
    parts += [f"- {escaped(note)}" for note in (*advice, *found.notes)]
    return "\n\n".join(parts) + "\n"


def _parts(found: Bisection, verbose: bool) -> Iterator[RenderableType]:
    divergence = found.divergence
    yield Text(shown(told(found)), style="bold")
    for hint in (*divergence.hints, *found.remedy):
        yield Text(f"  {shown(hint)}")
    yield _outputs_table(found)
    if divergence.culprit is not None:
        yield _around("A", found.a, divergence.ours)
        yield _around("B", found.b, divergence.theirs)
    if found.diverges or verbose:
        yield _growth("error along B, where it grows most", divergence.growth, verbose)
    if found.verdict == "rounding" or (verbose and found.rounding):
        yield _growth("rounding of float16 along B, where it grows most", found.rounding, verbose)
        kept = ", ".join(f"{one.op.kind} {one.op.name}" for one in found.amplifiers)
        yield Text(shown(f"keep in float32 first: {kept}"))


def told(found: Bisection) -> str:
    """How it went, in one line."""
    names = f"{Path(found.b).name} ({found.runtimes[1]}) and {Path(found.a).name} ({found.runtimes[0]})"
    if found.verdict == "none":
        return f"NO DIVERGENCE: {names} agree on {found.fed}"
    alone = f"nothing stands against {found.unpaired}"
    if not found.diverges:
        return f"UNPAIRED: {alone}; in the rest {names} agree on {found.fed}"
    op = found.divergence.culprit
    where = f" at {op.kind} {op.name}" if op is not None else ""
    return f"DIVERGES{where}: {WORDS[found.verdict]}" + (f"; and {alone}" if found.unpaired else "")


def _outputs_table(found: Bisection) -> Table:
    table = _table("outputs", "output", "held to", "error", "status")
    for one in found.divergence.outputs:
        table.add_row(shown(one.b), shown(one.a), _share(one.error), "agrees" if one.agrees else "differs")
    for name in found.extra:
        table.add_row(shown(name), "nothing", "-", "no partner")
    for name in found.missing:
        table.add_row("nothing", shown(name), "-", "no partner")
    return table


def _around(side: str, path: str, seen: Sequence[Seen]) -> Table:
    table = _table(f"{side}: {shown(path)}", "", "op", "name", "takes", "gives", "from, to", "error", "parameters")
    for one in seen:
        gives = next(iter(one.outputs), None)
        errors = [array.error for array in one.inputs if array.error is not None]
        before = _share(max(errors)) if errors else "-"
        row = (
            "->" if one.place == "here" else "",
            one.op.kind,
            one.op.name,
            ", ".join(_array(array) for array in one.inputs),
            _array(gives) if gives else "-",
            f"{gives.least:.4g}, {gives.greatest:.4g}" if gives else "-",
            f"{before} -> {_share(gives.error) if gives and gives.error is not None else 'no partner'}",
            ", ".join(f"{key} {value}" for key, value in one.op.parameters.items()),
        )
        table.add_row(*map(shown, row))
    return table


def _growth(title: str, growth: Sequence[Growth], verbose: bool) -> Table:
    table = _table(title, "op", "name", "error before", "after")
    known = [one for one in growth if one.error_out is not None]
    rows = known if verbose else sorted(known, key=lambda one: -one.added)[:_MOST_ROWS]
    chosen = {one.op.name for one in rows}
    for one in (one for one in known if one.op.name in chosen):
        row = one.op.kind, one.op.name, _share(one.error_in), _share(one.error_out)
        table.add_row(*map(shown, row))
    return table


def _array(array: Array) -> str:
    return f"{array.dtype} {'x'.join(map(str, array.shape)) or 'scalar'}"


def _share(error: float | None) -> str:
    return "-" if error is None else f"{error:.2e}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
