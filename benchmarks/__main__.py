"""`python -m benchmarks [SUBJECT...]`: measures, prints, and judges by `bars`.

Without a subject all are measured, and `results.md`, `results.json` and the charts are written beside this file; with
some, the report is printed, or written to the folder that `-o` names. Ends with 1 where a bar that must be met is not.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from benchmarks import command, files, machine, mel, rewrites, runtimes, worker
from benchmarks.report import bar_rows, markdown
from benchmarks.results import Results
from benchmarks.subject import Settings, Subject, subjects
from benchmarks.tables import LOWERED
from benchmarks.whole import front_end, whole

_HERE = Path(__file__).parent

Measure = Callable[[Results, dict[str, tuple[Subject, ...]]], None]


def _front_ends(results: Results, known: dict[str, tuple[Subject, ...]]) -> None:
    for name in ("pann", "mn04"):
        for subject in known[name]:
            results.tables += front_end(subject, results.settings)


def _whole(name: str) -> Measure:
    def measure(results: Results, known: dict[str, tuple[Subject, ...]]) -> None:
        for subject in known[name]:
            results.tables += whole(subject, results.settings)

    return measure


def _mel(name: str) -> Measure:
    def measure(results: Results, known: dict[str, tuple[Subject, ...]]) -> None:
        subject = mel.subjects()[name]
        results.tables += [*mel.front_end(subject, results.settings), *mel.in_chunks(subject, results.settings)]

    return measure


def _tract(results: Results, known: dict[str, tuple[Subject, ...]]) -> None:
    for name in ("pann", "mn04"):
        results.tables += [runtimes.in_tract(subject, results.settings) for subject in known[name]]


def _executor(results: Results, known: dict[str, tuple[Subject, ...]]) -> None:
    results.tables += [runtimes.in_executor(subject, results.settings) for subject in known["pann"]]


def _rewrites(results: Results, known: dict[str, tuple[Subject, ...]]) -> None:
    for name in ("pann", "mn04", "eat_s"):
        results.rewrites += rewrites.one_after_another(known[name][-1], results.settings)


def _files(results: Results, known: dict[str, tuple[Subject, ...]]) -> None:
    for group in known.values():
        subject = group[-1]
        shapes = {str(clip): subject.sound(clip).shape for clip in subject.clips}
        for form in (subject.forms[0], LOWERED):
            results.files.append(files.weighed(subject.name, form, subject.graph(form), shapes))
    results.files += runtimes.packages(known["pann"][0])


def _command(results: Results, known: dict[str, tuple[Subject, ...]]) -> None:
    results.commands += [command.recipe("mobilenetv1"), command.bare("mobilenetv1")]
    results.commands.append(command.recipe("dymn04_as", ("waveform", "melspec")))
    results.commands.append(command.help_())


def _worker(results: Results, known: dict[str, tuple[Subject, ...]]) -> None:
    results.workers += [*worker.starts(), *worker.runs()]


MEASURES: dict[str, Measure] = {
    "front-end": _front_ends,
    **{name: _whole(name) for name in ("pann", "mn04", "mn10", "dymn10", "eat_s")},
    **{name: _mel(name) for name in mel.subjects()},
    "tract": _tract,
    "executor": _executor,
    "rewrites": _rewrites,
    "files": _files,
    "command": _command,
    "worker": _worker,
}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("subject", nargs="*", help=f"all of them: {', '.join(MEASURES)}")
    parser.add_argument("-o", "--output", type=Path, help="the folder to write to")
    parser.add_argument("--rounds", type=int, default=Settings.rounds)
    parser.add_argument("--quick", action="store_true", help="10 s at batch 1 alone")
    given = parser.parse_args(words)
    if unknown := [name for name in given.subject if name not in MEASURES]:
        parser.error(f"no subject {', '.join(unknown)}; choose from {', '.join(MEASURES)}")
    # What libraries say of themselves at every trace.
    warnings.simplefilter("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)

    settings = Settings(rounds=given.rounds, quick=given.quick)
    results = Results(machine.describe(), settings, whole=not (given.subject or given.quick))
    known = subjects()
    for name in given.subject or MEASURES:
        MEASURES[name](results, known)

    folder = given.output or (_HERE if results.whole else None)
    if folder is None:
        sys.stdout.write(markdown(results))
    else:
        folder.mkdir(parents=True, exist_ok=True)
        written = {"results.md": markdown(results), "results.json": results.to_json(), **results.charts()}
        for name, text in written.items():
            (folder / name).write_text(text, encoding="utf-8")
    judged = results.judged()
    shown = Shown("what", "must", "aim", "measured", "verdict", box=None, pad_edge=False)
    for row in bar_rows(judged):
        shown.add_row(*row)
    if judged:
        Console(stderr=True).print(shown)
    return int(any(one.verdict in ("MISSED", "not measured") for one in judged))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
