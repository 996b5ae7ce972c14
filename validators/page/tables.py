"""The tables of a page: checks and findings as rows of plain values, in the order in which people need them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from validators.compare import rounded_up
from validators.report import badness, faulty, worst_cases
from validators.results import Check, Comparison, Status

if TYPE_CHECKING:
    from validators.coreml.hazards import Hazard
    from validators.coreml.rules import Breach

SEVERITY: dict[Status, int] = {"failed": 0, "not verified": 1, "passed": 2}
# A page of more rows is read by nobody; --json has them all.
_MOST_FAULTS = 60
_MOST_CASES = 300
_MOST_PLACES = 12
_MOST_HAZARDS = 40


@dataclass(frozen=True)
class Row:
    """A check of values, with the share of the tolerance that it uses and the atol at which it passes, to be told."""

    check: Check
    used: float | None
    passes_at: float | None

    @property
    def figures(self) -> Comparison | None:
        return self.check.comparison


@dataclass(frozen=True)
class Runtime:
    """All that one runtime answered: the worst case of each output, and every case, as far as there is room."""

    artifact: str
    runtime: str
    precision: str
    status: Status
    cases: int
    worst: tuple[Row, ...]
    all: tuple[Row, ...]
    left_out: int
    refusals: tuple[Check, ...]

    @property
    def nearest(self) -> Row | None:
        """The output that is nearest to its tolerance, or over it."""
        return max(self.worst, key=lambda row: badness(row.check), default=None)


@dataclass(frozen=True)
class Fault:
    """What did not pass, once for all cases that are alike."""

    status: Status
    subject: str
    what: str
    message: str


@dataclass(frozen=True)
class Faults:
    shown: tuple[Fault, ...]
    left_out: int


@dataclass(frozen=True)
class BrokenRule:
    """One rule, the places at which it is broken, and what to do."""

    breach: Breach
    places: tuple[str, ...]
    left_out: int


@dataclass(frozen=True)
class HazardRow:
    """A hazard at its worst, and in how many cases it is there."""

    hazard: Hazard
    figure: str
    cases: int


def row(check: Check) -> Row:
    found = check.comparison
    return Row(check, None, None) if found is None else Row(check, found.used, rounded_up(found.passing_atol))


def runtimes(checks: Sequence[Check]) -> list[Runtime]:
    """One for each artifact, runtime and precision whose values were to be checked, the worst first."""
    worst = worst_cases(checks)
    groups: dict[tuple[str, str, str], list[Check]] = {}
    statuses: dict[tuple[str, str, str], set[Status]] = {}
    for check in checks:
        key = (check.artifact, check.runtime, check.precision)
        statuses.setdefault(key, set()).add(check.status)
        if check.kind == "values":
            groups.setdefault(key, []).append(check)
    return sorted(
        (_runtime(key, group, worst.get(key, []), statuses[key]) for key, group in groups.items()), key=_order
    )


def _runtime(
    key: tuple[str, str, str], group: Sequence[Check], worst: Sequence[Check], statuses: Collection[Status]
) -> Runtime:
    """Its status is that of all its checks: right values under a wrong name have not passed."""
    of_outputs = sorted((check for check in group if check.output), key=badness, reverse=True)
    return Runtime(
        *key,
        status=min(statuses, key=lambda status: SEVERITY[status]),
        cases=len({check.case for check in group if check.case}),
        worst=tuple(map(row, worst)),
        all=tuple(map(row, of_outputs[:_MOST_CASES])),
        left_out=max(0, len(of_outputs) - _MOST_CASES),
        refusals=tuple(check for check in group if not check.output),
    )


def _order(found: Runtime) -> tuple[int, float]:
    used = found.nearest.used if found.nearest else None
    return SEVERITY[found.status], -inf if used is None else -used


def faults(checks: Sequence[Check]) -> Faults:
    """The failed ones first."""
    found = sorted(faulty(checks), key=lambda one: SEVERITY[one[0].status])
    rows = []
    for worst, count in found[:_MOST_FAULTS]:
        where = worst.case if count == 1 else f"{count} cases, the worst {worst.case}"
        what = ", ".join(filter(None, (worst.kind, worst.output, where)))
        rows.append(Fault(worst.status, subject(worst), what, worst.message))
    return Faults(tuple(rows), max(0, len(found) - _MOST_FAULTS))


def subject(check: Check) -> str:
    return ", ".join(filter(None, (check.artifact, check.runtime, check.precision))) or "files"


def forms(checks: Iterable[Check]) -> Mapping[str, Mapping[str, Mapping[Status, int]]]:
    """How many checks of each kind but values had each status, by artifact; those of no artifact are under ``""``."""
    found: dict[str, dict[str, Counter[Status]]] = {}
    for check in checks:
        if check.kind != "values":
            found.setdefault(check.artifact, {}).setdefault(check.kind, Counter())[check.status] += 1
    return found


def broken(breaches: Sequence[Breach]) -> list[BrokenRule]:
    """By rule, errors first."""
    groups: dict[str, list[Breach]] = {}
    for breach in sorted(breaches, key=lambda breach: breach.severity):
        groups.setdefault(breach.rule, []).append(breach)
    return [
        BrokenRule(
            group[0],
            tuple(f"{one.op_type} {one.op} {one.matter}" for one in group[:_MOST_PLACES]),
            max(0, len(group) - _MOST_PLACES),
        )
        for group in groups.values()
    ]


def hazard_rows(hazards: Sequence[Hazard]) -> tuple[list[HazardRow], int]:
    """Each op's and operand's at its worst, in the order of the program, and how many there is no room for."""
    groups: dict[tuple[str, str, str], list[Hazard]] = {}
    for hazard in hazards:
        groups.setdefault((hazard.op, hazard.operand, hazard.kind), []).append(hazard)
    rows = []
    # What overflows is worth more than what is coarse.
    for group in sorted(groups.values(), key=lambda group: group[0].kind != "overflow")[:_MOST_HAZARDS]:
        worst = max(group, key=lambda hazard: hazard.figure)
        figure = f"{worst.figure:.3g}" if worst.kind == "overflow" else f"{worst.figure:.1%} of its values"
        rows.append(HazardRow(worst, figure, len({hazard.case for hazard in group})))
    return rows, max(0, len(groups) - _MOST_HAZARDS)
