"""The results as Markdown: `results.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.bars import Bar, Judged
from benchmarks.results import Results
from benchmarks.subject import NOT_LOWERED
from benchmarks.tables import LOWERED, NAIVE, Table
from benchmarks.timing import ALLOWED

_HOW = f"""
*Naive* is the published network through `torch.onnx.export` and onnxsim, opset 17, all its outputs
(`python -m benchmarks.naive NAME -o FILE` writes it); *lowered* is what `convert recipe` ships. Weights are synthetic,
of the published sizes.

All rows of a table were called in turn in one process, every second round backwards. A figure is the median of the
rounds in milliseconds, with half the distance of its quartiles, and how many times as fast as the naive one it is,
round by round. ONNX Runtime has one session for each row and number of threads, made once: `intra_op_num_threads` as
said, `inter_op_num_threads` 1, all else as it is by itself, threads that spin while they wait among it. Each contender
rests 60 ms and is called once before it is timed. A round in which others used more than {ALLOWED} of a core was taken
again, up to as many as there are; what is left of such rounds is said. The worst error is the greatest absolute
difference from the faithful model in float64, over all clips of the table. torch.compile is shown for 10 s at batch 1:
it takes up to a minute for each length and number of threads, and many minutes for DyMN, where it is left out.

EfficientAT's naive graph is there twice: as PyTorch exports the authors' `torch.stft`, and with the DFT as two
convolutions over all taps and bins, as people write it when that is too slow. Ratios are against the second, which is
the faster. *{NOT_LOWERED}* is `--no-lowering`: the recipe's own convolution, without the taps and bins that weigh
nothing. DyMN's dynamic convolutions cannot be exported as published with a free batch: its graphs have the recipe's two
exact forms, and eager PyTorch the authors'. EAT takes one length: 1 s is the network for Speech Commands (16 kHz), 10 s
the one for AudioSet.
"""


def markdown(results: Results) -> str:
    """The whole document; what was not measured is left out."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    head = [
        "# Speed",
        "",
        f"{machine.cpu}, {machine.cores} cores, {machine.system}; {versions}. "
        f"{results.settings.rounds} rounds{', 10 s at batch 1 alone' if results.settings.quick else ''}. "
        "`make bench` measures all, and writes this.",
    ]
    sections = (
        _bars(results.judged()),
        *(_subject(subject, list(tables)) for subject, tables in _by_subject(results.tables).items()),
        _rewrites(results.rewrites),
        _files(results),
        _commands(results),
        _workers(results),
    )
    charts = [f"![{name.removesuffix('.svg').replace('_', ' ')}]({name})" for name in results.charts()]
    blocks = [
        "\n".join(head),
        *charts,
        _HOW.strip(),
        *("\n".join(lines) for section in sections if (lines := list(section))),
    ]
    return "\n\n".join(blocks) + "\n"


def _by_subject(tables: Iterable[Table]) -> dict[str, list[Table]]:
    found: dict[str, list[Table]] = {}
    for table in tables:
        found.setdefault(table.subject, []).append(table)
    return found


def bar_rows(judged: Iterable[Judged]) -> Iterator[tuple[str, ...]]:
    """One a bar: what, its bounds, the figure, the verdict."""
    for one in judged:
        figure = "–" if one.measured is None else _figure(one.bar, one.measured)
        bounds = _figure(one.bar, one.bar.must), _figure(one.bar, one.bar.aim)
        yield _what(one.bar), *bounds, figure, one.verdict


def _what(bar: Bar) -> str:
    against = f"worst error of {bar.output}" if bar.output else f"against {bar.against}"
    form = "" if bar.form == LOWERED else f"{bar.form}, "
    return f"{bar.subject}, {form}{bar.clip}, {_threads(bar.threads)}, {against}"


def _figure(bar: Bar, value: float) -> str:
    return f"{value:.1e}" if bar.output else f"{'within ' * bar.at_most}{value:.2f} x"


def _bars(judged: list[Judged]) -> Iterator[str]:
    rows = list(bar_rows(judged))
    if rows:
        yield "## Bars"
        yield ""
        yield from rows_of(("what", "must", "aim", "measured", "verdict"), rows)


def _subject(subject: str, tables: list[Table]) -> Iterator[str]:
    yield f"## {subject}"
    for threads in sorted({table.threads for table in tables}):
        own = [table for table in tables if table.threads == threads]
        reference = NAIVE if NAIVE in own[0].rows else NOT_LOWERED
        yield ""
        yield f"{_threads(threads).capitalize()}, ms:"
        yield ""
        rows = [
            (name, *(_cell(table, name, reference) for table in own))
            for name in dict.fromkeys(name for table in own for name in table.rows)
        ]
        yield from rows_of(("", *(str(table.clip) for table in own)), rows)
        yield ""
        yield _circumstances(own)
    yield from _exactness(tables)
    yield from _floor(tables)
    for note in dict.fromkeys(note for table in tables for note in table.notes):
        yield ""
        yield f"NOT MEASURED: {note}"


def _cell(table: Table, name: str, reference: str) -> str:
    if name not in table.rows:
        return "-"
    shown = table.rows[name].spread
    figure = f"{_ms(shown.median)} ± {_ms((shown.high - shown.low) / 2)}"
    return figure + (f" ({table.ratio(reference, name).median:.2f} x)" if reference in table.rows else "")


def _ms(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _circumstances(tables: list[Table]) -> str:
    loads = [table.load for table in tables]
    others = [used for table in tables for used in table.others if used is not None]
    rounds = sum(len(table.others) for table in tables)
    watched = f"others used {max(others):.2f} cores at most" if others else "NOT VERIFIED whether others used the cores"
    disturbed = sum(table.disturbed for table in tables)
    return f"Load average {min(loads):.1f} to {max(loads):.1f}; {watched}; {disturbed} of {rounds} rounds disturbed."


def _exactness(tables: list[Table]) -> Iterator[str]:
    outputs = list(dict.fromkeys(output for table in tables for row in table.rows.values() for output in row.errors))
    if not outputs:
        return
    worst: dict[str, dict[str, float]] = {}
    for table in tables:
        for name, row in table.rows.items():
            own = worst.setdefault(name, {})
            for output, error in row.errors.items():
                own[output] = max(own.get(output, 0.0), error)
    yield ""
    yield "Worst error:"
    yield ""
    yield from rows_of(
        ("", *outputs),
        [(name, *(f"{own[output]:.1e}" for output in outputs)) for name, own in worst.items() if own],
    )


def _floor(tables: list[Table]) -> Iterator[str]:
    """Of the clips of 10 s and one thread up."""
    shown = [table for table in tables if table.gemm and str(table.clip) == "10 s"]
    if not shown:
        return
    names = [name for name, row in shown[0].rows.items() if row.macs is not None]
    yield ""
    yield (
        "Multiply-accumulates of 10 s, and the time against that of so many in a plain matrix product ("
        + ", ".join(f"{table.gemm / 1e9:.0f} G/s on {_threads(table.threads)}" for table in shown if table.gemm)
        + "):"
    )
    yield ""
    yield from rows_of(
        ("", "M", *(_threads(table.threads) for table in shown)),
        [
            (
                name,
                f"{(shown[0].rows[name].macs or 0) / 1e6:,.0f}",
                *(f"{table.over_floor(name):.2f} x" for table in shown),
            )
            for name in names
        ],
    )


def _rewrites(tables: list[Table]) -> Iterator[str]:
    if not tables:
        return
    yield "## Each rewrite by itself"
    yield ""
    yield "10 s of sound: each row has all rewrites above it too, and the gain is against the row above. A rewrite that"
    yield "found no place is left out."
    for subject, own in _by_subject(tables).items():
        yield ""
        yield f"{subject}:"
        yield ""
        heads = [head for table in own for head in (f"{_threads(table.threads)}, ms", "gain")]
        yield from rows_of(("", *heads, "M products", "worst error"), _steps(own))
        yield ""
        yield _circumstances(own)


def _steps(tables: list[Table]) -> Iterator[tuple[str, ...]]:
    before = None
    for name, row in tables[0].rows.items():
        cells: list[str] = []
        for table in tables:
            gain = f"{table.ratio(before, name).median:.2f} x" if before else ""
            cells += [_ms(table.rows[name].spread.median), gain]
        products = f"{row.macs / 1e6:,.0f}" if row.macs is not None else "-"
        errors = ", ".join(f"{output} {error:.1e}" for output, error in row.errors.items())
        yield (name if before is None else f"+ {name}"), *cells, products, errors
        before = name


def _files(results: Results) -> Iterator[str]:
    if not results.files:
        return
    yield "## Files and memory"
    yield ""
    yield "The memory is what loading the file and running it once on one thread adds to a process, at its peak, in MB."
    yield ""
    fed = list(dict.fromkeys(name for file in results.files for name in file.memory))
    yield from rows_of(
        ("", "", "file, MB", *fed),
        [
            (
                file.subject,
                file.contender,
                f"{file.size / 1e6:.2f}",
                *(f"{file.memory[name] / 1e6:.0f}" if name in file.memory else "-" for name in fed),
            )
            for file in results.files
        ],
    )


def _commands(results: Results) -> Iterator[str]:
    if not results.commands:
        return
    yield "## The command"
    yield ""
    yield from rows_of(
        ("", "wall, s", "CPU, s"), [(ran.what, f"{ran.wall:.2f}", f"{ran.cpu:.2f}") for ran in results.commands]
    )


def _workers(results: Results) -> Iterator[str]:
    if not results.workers:
        return
    yield "## Workers"
    yield ""
    yield "What runs a file, and what reads a checkpoint or a sound, is a process of its own, one for each file. A"
    yield "check compares one case while the worker is at the next; in the command itself one comes after the other:"
    yield ""
    rows = [
        (
            cost.what,
            _ms(cost.worker),
            *(("", "") if cost.here is None else (_ms(cost.here), _ms(cost.worker - cost.here))),
        )
        for cost in results.workers
    ]
    yield from rows_of(("", "in a worker, ms", "in the command itself, ms", "more, ms"), rows)


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def rows_of(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(row)} |"
