"""What a rule is, the table of all of them, and the checker that goes through it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from typing import Literal

import coremltools as ct

from validators.coreml.rules.program import Op, Program, programs

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Where a program breaks a rule: an op or a feature by name, its type, and what is the matter there."""

    name: str
    type: str
    matter: str


Judge = Callable[[Program], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """One rule of the runtime. `source` names the trackers and documents it is known from ("ct": apple/coremltools).

    An error: Core ML refuses the model, or answers wrongly. A warning: part of it leaves the GPU or the Neural Engine,
    or may be wrong there.
    """

    name: str
    severity: Severity
    why: str
    fix: str
    source: str
    judge: Judge


@dataclass(frozen=True)
class Breach:
    """A rule broken at one place; `op` is the name of the op's first result, or of the input or output.

    `matter` is what is so there; `why` and `fix` are the rule's.
    """

    rule: str
    severity: Severity
    op: str
    op_type: str
    matter: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.op_type} {self.op!r} {self.matter}: {self.why} ({self.rule}); {self.fix}"


RULES: dict[str, Rule] = {}


def rule(name: str, severity: Severity, *, why: str, fix: str, source: str) -> Callable[[Judge], Judge]:
    """Enter the decorated function into the table."""

    def enter(judge: Judge) -> Judge:
        if name in RULES:
            raise ValueError(f"there is a rule {name!r} already; give each a name of its own")
        RULES[name] = Rule(name, severity, why, fix, source, judge)
        return judge

    return enter


def at(op: Op, matter: str) -> Finding:
    return Finding(op.name, op.type, matter)


def check_rules(package: str | PathLike[str] | ct.models.MLModel) -> list[Breach]:
    """Every breach of every function of the package, errors first, in the order of the table and of the program.

    Raises `PackageError` when the package cannot be read at all.
    """
    return check_programs(programs(package))


def check_programs(found: Iterable[Program]) -> list[Breach]:
    """As `check_rules`, of functions that are read already."""
    breaches = [
        Breach(known.name, known.severity, finding.name, finding.type, finding.matter, known.why, known.fix)
        for program in found
        for known in RULES.values()
        for finding in known.judge(program)
    ]
    return sorted(breaches, key=lambda breach: breach.severity != "error")
