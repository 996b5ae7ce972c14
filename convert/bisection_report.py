"""Shows where two models first go different ways: the verdict, the place, and how the error grows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from convert.bisection import WORDS, Bisection
from recipes.base.shown import shown
from validators.divergence import Array, Growth, Seen
from validators.markdown import escaped
from validators.markdown import table as table_of
from validators.traces import brief

_MOST_ROWS = 12
# Of an op in its block, behind the arrow of the one that is meant.
_INDENT = 3
# B always has the op that goes wrong, and A not always one that should give the same.
_NOBODY = "no op of A stands for it"


def text(found: Bisection, verbose: bool = False) -> RenderableType:
    """What is shown: the verdict first, then the place, its neighbourhood on both sides, and how the error grows."""
    return Group(*_parts(found, verbose))


def as_markdown(found: Bisection, advice: Iterable[str] = ()) -> str:
    """The same for the page of a CI, and what is advised."""
    verdict, *rest = _parts(found, verbose=False)
    parts = [f"### {escaped(str(verdict))}"]
    for part in rest:
        if isinstance(part, _Around):
            parts.append(part.as_markdown())
        elif isinstance(part, Table):
            heads = [str(column.header) for column in part.columns]
            cells = zip(*(map(str, column.cells) for column in part.columns), strict=True)
            rows = [dict(zip(heads, row, strict=True)) for row in cells]
            parts.append(f"**{escaped(str(part.title))}**\n\n{table_of(heads, rows, words=heads)}")
        else:
            parts.append(escaped(str(part).strip()))
    parts += [f"- {escaped(note)}" for note in (*advice, *found.notes)]
    return "\n\n".join(parts) + "\n"


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


def _parts(found: Bisection, verbose: bool) -> Iterator[RenderableType]:
    divergence = found.divergence
    yield Text(shown(told(found)), style="bold")
    for hint in (*divergence.hints, *found.remedy):
        yield Text(f"  {shown(hint)}")
    yield _outputs_table(found)
    if divergence.culprit is not None:
        yield _Around(f"A: {found.a}", divergence.ours)
        yield _Around(f"B: {found.b}", divergence.theirs)
    if found.diverges or verbose:
        yield from _growth("error / greatest along B, where it grows most", divergence.growth, verbose)
    if found.verdict == "rounding" or (verbose and found.rounding):
        yield from _growth("rounding of float16 along B, where it grows most", found.rounding, verbose)
        kept = ", ".join(f"{one.op.kind} {one.op.name}" for one in found.amplifiers)
        yield Text(shown(f"keep in float32 first: {kept}"))


def _outputs_table(found: Bisection) -> Table:
    table = _table("outputs", "output", "held to", "error / greatest", "tolerance used", "status")
    for one in found.divergence.outputs:
        status = "agrees" if one.agrees else "differs"
        error = "greatest is 0" if one.of_zeros else _share(one.error)
        table.add_row(shown(one.b), shown(one.a), error, _used(one.used), status)
    for name in found.extra:
        table.add_row(shown(name), "nothing", "-", "-", "no partner")
    for name in found.missing:
        table.add_row("nothing", shown(name), "-", "-", "no partner")
    return table


@dataclass(frozen=True)
class _Around:
    """The ops around the one that is meant, each as a block: a table of all that would be narrow at 80 columns."""

    title: str
    seen: Sequence[Seen]

    def __rich__(self) -> Group:
        lines: list[RenderableType] = [Text(shown(self.title))]
        if not self.seen:
            lines.append(Text(f"{'':{_INDENT}}{_NOBODY}"))
        for one in self.seen:
            lines.append(Text(f"{'->' if one.place == 'here' else '':{_INDENT}}{_called(one)}"))
            rows = Table.grid(padding=(0, 1))
            rows.add_column(no_wrap=True)
            rows.add_column(overflow="fold")
            for label, line in _lines(one):
                rows.add_row(label, shown(line))
            lines.append(Padding(rows, (0, 0, 0, 2 * _INDENT), expand=False))
        return Group(*lines, Text())

    def as_markdown(self) -> str:
        lines = [f"**{escaped(self.title)}**", ""]
        if not self.seen:
            lines.append(escaped(_NOBODY))
        for one in self.seen:
            lines.append(f"- **{escaped(_called(one))}**" if one.place == "here" else f"- {escaped(_called(one))}")
            lines += [f"  - {escaped(f'{label} {line}')}" for label, line in _lines(one)]
        return "\n".join(lines)


def _called(one: Seen) -> str:
    return shown(f"{one.op.kind} {one.op.name}")


def _lines(one: Seen) -> Iterator[tuple[str, str]]:
    """What goes into an op, what comes out, and what it is told."""
    for array in one.inputs:
        # Weights and a handful of numbers have no partner anywhere.
        yield "takes", _array(array, "")
    for array in one.outputs:
        yield "gives", _array(array, ", no partner")
    if one.op.parameters:
        yield "with", ", ".join(f"{key} {brief(value)}" for key, value in one.op.parameters.items())


def _array(array: Array, alone: str) -> str:
    shape = "x".join(map(str, array.shape)) or "scalar"
    off = ", equal" if array.error == 0 else f", error / greatest {_share(array.error)}"
    error = alone if array.error is None else off
    return f"{array.name}: {array.dtype} {shape}, {array.least:.4g} to {array.greatest:.4g}{error}"


def _growth(title: str, growth: Sequence[Growth], verbose: bool) -> Iterator[Table]:
    """Op by op, or those that add most; nothing where none adds any."""
    known = [one for one in growth if one.error_out is not None]
    adding = sorted((one for one in known if one.added > 0), key=lambda one: -one.added)[:_MOST_ROWS]
    chosen = {one.op.name for one in (known if verbose else adding)}
    if not chosen:
        return
    table = _table(title, "op", "name", "error before", "after")
    for one in known:
        if one.op.name in chosen:
            row = one.op.kind, one.op.name, _share(one.error_in), _share(one.error_out)
            table.add_row(*map(shown, row))
    yield table


def _share(error: float | None) -> str:
    return "-" if error is None else f"{error:.2e}"


def _used(share: float | None) -> str:
    """How much of the tolerance is needed."""
    if share is None:
        return "-"
    if not isfinite(share):
        return "none allowed"
    return f"{share:.3g} times" if share > 10 else f"{100 * share:.3g} %"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
