"""Shows checks to people, as a table, and to machines, as JSON and JUnit XML."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import inf, isfinite
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from recipes.base.shown import shown
from validators.compare import rounded_up, told_apart
from validators.results import Check, Comparison, Kind, Status, exit_code, unverified

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

OVERALL: dict[int, Status] = {0: "passed", 1: "failed", 3: "not verified"}
_STYLES: dict[Status, str] = {"passed": "green", "failed": "bold red", "not verified": "bold yellow"}


def verdict(checks: Sequence[Check]) -> str:
    """One line: what `exit_code` says, and how many checks have each status."""
    counts = Counter(check.status for check in checks)
    numbers = [f"{counts['passed']} passed", f"{counts['failed']} failed"]
    if counts["not verified"]:
        numbers.append(f"{counts['not verified']} NOT VERIFIED")
    line = f"{OVERALL[exit_code(checks)].upper()}: {', '.join(numbers)}"
    missing = unverified(checks)
    return f"{line}; the values of {', '.join(missing)} were verified by no runtime" if missing else line


def table(checks: Sequence[Check], verbose: bool = False) -> "RenderableType":
    """A table per artifact, runtime and precision: per output its worst case.

    Below: what failed or was not verified, with its message, and the verdict. Where several cases did alike, one line
    has their number and the worst of them. "passes at" is the smallest atol that would have passed. `verbose` adds all
    figures, and a line for each case.
    """
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for key, worst in worst_cases(checks).items():
        parts.append(_grid(joined(key), COLUMNS, worst))
        if verbose:
            parts.append(_grid(None, _MORE_COLUMNS, worst))
    for status, line in faults(checks, verbose):
        parts.append(Text.assemble(Text(status.upper(), _STYLES[status]), shown(f" {line}")))
    return Group(*parts, Text(shown(verdict(checks)), _STYLES[OVERALL[exit_code(checks)]]))


def faults(checks: Sequence[Check], verbose: bool) -> Iterator[tuple[Status, str]]:
    """A line for each check that did not pass, or for all of those that differ in their case alone."""
    for worst, count in faulty(checks, verbose):
        case = worst.case if count == 1 else ""
        subject = joined((worst.artifact, worst.runtime, worst.precision, case, worst.output, worst.kind))
        which = "such as" if worst.comparison is None else "the worst"
        yield (
            worst.status,
            f"{subject}: {worst.message}" + (f" ({count} cases, {which} {worst.case})" if count > 1 else ""),
        )


def faulty(checks: Sequence[Check], each: bool = False) -> list[tuple[Check, int]]:
    """What did not pass: of those that differ in their case alone the worst, and how many they are; or `each`.

    What an output's fault of another kind is the cause of is told by that one alone, where `each` is not asked for.
    """
    found = {(_subject(check), check.kind) for check in checks if check.status == "failed"}
    groups: dict[tuple[object, ...], list[Check]] = {}
    for number, check in enumerate(checks):
        caused = any((_subject(check), kind) in found for kind in _causes(check))
        if check.status != "passed" and (each or not caused):
            alike = (check.status, check.artifact, check.runtime, check.precision, check.output, check.kind)
            groups.setdefault((*alike, number) if each or not check.case else alike, []).append(check)
    return [(max(group, key=badness), len(group)) for group in groups.values()]


def _subject(check: Check) -> tuple[str, ...]:
    return check.artifact, check.runtime, check.precision, check.case, check.output


def _causes(check: Check) -> tuple[Kind, ...]:
    """Of which kinds a fault of the same output says this too: no array of another shape has the right axes."""
    if check.kind == "values" and check.status == "not verified":
        return "names", "shape"
    return ("shape",) if check.kind == "axes" else ()


def joined(names: Sequence[str]) -> str:
    """What is not empty of them, with commas."""
    return ", ".join(name for name in names if name)


def worst_cases(checks: Sequence[Check]) -> dict[tuple[str, str, str], list[Check]]:
    """By artifact, runtime and precision: the worst case of each output."""
    groups: dict[tuple[str, str, str], dict[str, Check]] = {}
    for check in checks:
        if check.kind == "values" and check.output:
            group = groups.setdefault((check.artifact, check.runtime, check.precision), {})
            group[check.output] = max(group.get(check.output, check), check, key=badness)
    return {key: list(group.values()) for key, group in groups.items()}


def summary(checks: Sequence[Check]) -> dict[str, Any]:
    """As `as_json`, with the worst case alone of what passed, by artifact, runtime, precision and output."""
    shown = {id(check) for group in worst_cases(checks).values() for check in group}
    kept = [check for check in checks if check.status != "passed" or id(check) in shown]
    return as_json(checks) | {"checks": as_json(kept)["checks"]}


def badness(check: Check) -> tuple[int, float, float, float]:
    """Orders checks: by status first, then by the share of the tolerance that is used.

    What could not even be compared is worse than any figure.
    """
    severity = ("passed", "not verified", "failed").index(check.status)
    found = check.comparison
    return (severity, inf, inf, inf) if found is None else (severity, found.used, found.passing_atol, found.max_abs)


_Column = Callable[[Check], str]


def _figure(form: str, of: Callable[[Comparison], float | None]) -> _Column:
    def cell(check: Check) -> str:
        value = None if check.comparison is None else of(check.comparison)
        return "-" if value is None else format(value, form)

    return cell


COLUMNS: dict[str, _Column] = {
    "output": lambda check: check.output,
    "worst case": lambda check: check.case,
    "max abs": _figure(".2e", lambda c: c.max_abs),
    "atol": _figure(".3g", lambda c: c.atol),
    "rtol": _figure(".3g", lambda c: c.rtol),
    "passes at": _figure(".2e", lambda c: rounded_up(c.passing_atol)),
    "status": lambda check: check.status if check.status == "passed" else check.status.upper(),
}
# A table of their own: one with all of them would not fit into 80 columns.
_MORE_COLUMNS: dict[str, _Column] = {
    "output": lambda check: check.output,
    "max rel": _figure(".2e", lambda c: c.max_rel),
    "mean abs": _figure(".2e", lambda c: c.mean_abs),
    "99.9 %": _figure(".2e", lambda c: c.q999),
    "cosine": _figure(".7f", lambda c: c.cosine),
    "SNR dB": _figure(".1f", lambda c: c.snr_db),
    "top-k": _figure(".1%", lambda c: c.top_k_agreement),
    "flips": _figure("d", lambda c: c.flips),
}
WORDS = ("output", "worst case", "status")


def _grid(title: str | None, columns: Mapping[str, _Column], worst: Sequence[Check]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, title_justify="left", padding=0)
    grid.title = Text(shown(title)) if title else None
    for head in columns:
        grid.add_column(head, justify="left" if head in WORDS else "right")
    for check in worst:
        cells = (Text(shown(cell(check))) for cell in columns.values())
        grid.add_row(*cells, style=None if check.status == "passed" else _STYLES[check.status])
    return grid


def as_json(checks: Sequence[Check]) -> dict[str, Any]:
    """Verdict, counts and all checks with all figures, each finite or null, ready for `json.dumps`.

    Figures have the digits that mean something (see `figures`), so that the same checks give the same text wherever
    their sums are added up in another order.
    """
    counts = Counter(check.status for check in checks)
    return {
        "verdict": OVERALL[exit_code(checks)],
        "counts": {status: counts[status] for status in _STYLES},
        "unverified": unverified(checks),
        "checks": [asdict(check) | {"comparison": check.comparison and figures(check.comparison)} for check in checks],
    }


def figures(comparison: Comparison) -> dict[str, Any]:
    """A comparison as it is written: what is measured in few digits, what was set, counted or found as it is.

    `passing_atol` is rounded up, so that it passes when it is set.
    """
    written = asdict(comparison)
    for name, value in written.items():
        if isinstance(value, float):
            written[name] = _DIGITS.get(name, float)(value) if isfinite(value) else None
    worst = ("worst_expected", "worst_actual")
    for name, text in zip(worst, told_apart(comparison.worst_expected, comparison.worst_actual), strict=True):
        if isinstance(written[name], float):
            written[name] = float(text)
    return written


def _significant(digits: int) -> Callable[[float], float]:
    return lambda value: float(f"{value:.{digits}g}")


_DIGITS: dict[str, Callable[[float], float]] = {
    "max_abs": _significant(4),
    "max_rel": _significant(4),
    "mean_abs": _significant(4),
    "q999": _significant(4),
    # The sums of a float32 output leave no more of 1 - cosine.
    "cosine": lambda value: round(value, 9),
    "snr_db": lambda value: round(value, 2),
    "top_k_agreement": _significant(4),
    "passing_atol": rounded_up,
}


def junit(checks: Sequence[Check]) -> str:
    """JUnit XML, a test case per check; those that were not verified are skipped, with the reason."""
    cases = [_case(check) for check in checks]
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": 0,
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    totals = {name: str(count) for name, count in counts.items()}
    root = ElementTree.Element("testsuites", totals)
    ElementTree.SubElement(root, "testsuite", {"name": "soundport", **totals}).extend(cases)
    # Every text is an attribute, so that no text of a case is changed.
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(check: Check) -> ElementTree.Element:
    subject = joined((check.artifact, check.runtime, check.precision)) or "files"
    name = joined((check.case, check.output, check.kind))
    case = ElementTree.Element("testcase", classname=shown(subject), name=shown(name))
    if check.status == "failed":
        ElementTree.SubElement(case, "failure", message=shown(check.message))
    elif check.status == "not verified":
        ElementTree.SubElement(case, "skipped", message=f"NOT VERIFIED: {shown(check.message)}")
    return case
