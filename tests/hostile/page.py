"""`docs/hostile.md`: what was tried, as the tests themselves report it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_HEAD = """# What strangers' files can do

Checkpoints, models, packages, folders, sounds and arrays come from anybody, and CI checks them. This is promised:

- Nothing in it is run, and nothing that it names outside of itself is read or written. Models are run by runtimes;
  C that is made of one is compiled and run by `convert check --run-code` and `convert run` alone, which are for folders
  that you trust.
- Nothing leaves the machine: a command opens no socket and leaves no file in the user's folders.
- What is damaged never passes: whatever has a checksum is held to it, and every number comes from the file.
- What cannot be taken is one clear line on stderr, without control characters of the file, and exit code 2; what fails
  a check is a failed check, and the others go on. A traceback is a bug of ours, which exit code 70 says.
- It takes less than 20 s and 1.5 GB to say so; where a model is large, or is run, what `--timeout` and
  `SOUNDPORT_MEMORY` allow.
- The folder that is written is the whole old one, the whole new one or, if there was none, not there, whatever ends the
  command and whenever. The next run removes what a killed one has left beside it.

`make hostile` runs what follows, and writes this page. The files are made at test time; fuzzing changes real ones at
random, 45 s of each kind.
"""

# By the module of tests.
_CATEGORIES = {
    "test_checkpoints": "checkpoints",
    "test_models": "ONNX models",
    "test_models_by_command": "ONNX models",
    "test_ragged_answers": "ONNX models",
    "test_outside": "tensors in other files",
    "test_packages": "Core ML packages",
    "test_folders": "folders, their papers, and text from files",
    "test_sounds": "sounds and arrays",
    "test_dumps": "dumps and references",
    "test_fuzz": "any of these, changed at random",
    "test_signals": "signals and faults of ours",
    "test_worker": "what happens in a worker",
    "test_worker_asked": "what happens in a worker",
    "test_telemetry": "sockets, and files in the home",
}
_MOST = 5


def page(reports: Iterable[Any]) -> str:
    """The page of a run's reports, of which those of other tests are left out."""
    own = [report for report in reports if report.when == "call" and _category(report)]
    return "\n".join([_HEAD, *_counted(own), "", *_slowest(own), "", *_hungriest(own), ""])


def _category(report: Any) -> str | None:
    return _CATEGORIES.get(Path(report.nodeid.partition("::")[0]).stem)


def _property(report: Any, name: str) -> Any:
    return dict(report.user_properties).get(name)


def _counted(reports: list[Any]) -> Iterator[str]:
    yield "| what | tried | handled |"
    yield "|---|---|---|"
    whole = [0, 0]
    for category in dict.fromkeys(_CATEGORIES.values()):
        of_it = [(report, _property(report, "tried") or 1) for report in reports if _category(report) == category]
        tried = sum(count for _, count in of_it)
        handled = sum(count for report, count in of_it if report.outcome == "passed")
        whole = [whole[0] + tried, whole[1] + handled]
        yield f"| {category} | {tried:,} | {handled:,} |"
    yield f"| all | {whole[0]:,} | {whole[1]:,} |"


def _slowest(reports: list[Any]) -> Iterator[str]:
    timed = [report for report in reports if _property(report, "seconds") is not None]
    yield "The slowest, models held to a second for each call of a runtime:"
    yield ""
    yield "| file | s |"
    yield "|---|---|"
    for report in sorted(timed, key=lambda report: float(_property(report, "seconds")), reverse=True)[:_MOST]:
        yield f"| {_name(report)} | {_property(report, 'seconds'):.1f} |"


def _hungriest(reports: list[Any]) -> Iterator[str]:
    measured = [report for report in reports if _property(report, "peak") is not None]
    yield "The hungriest of those that go through the command, by the peak of its largest process, PyTorch and all:"
    yield ""
    yield "| file | MB |"
    yield "|---|---|"
    for report in sorted(measured, key=lambda report: float(_property(report, "peak")), reverse=True)[:_MOST]:
        yield f"| {_name(report)} | {_property(report, 'peak') / 1e6:.0f} |"


def _name(report: Any) -> str:
    """The file's own name, which is the test's parameter, with its kind."""
    test = report.nodeid.partition("::")[2]
    _, _, named = test.partition("[")
    return f"{_category(report)}: {named.removesuffix(']') or test.removeprefix('test_').replace('_', ' ')}".replace(
        "|", "\\|"
    )
