"""What `convert bisect` does: two models, run with all their intermediate values, and where the second goes wrong."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from convert import models
from convert.comparison import left_out, refuse_missing, refuse_unknown, tolerances_for
from convert.request import limits_given
from convert.targets import of_artifact
from recipes.base import plain_json
from recipes.base.errors import UserError
from recipes.base.tensor import Tolerance
from validators.compare import Sampled, compare
from validators.divergence import LIMITS, Divergence, Growth, amplifiers, diverged, grown
from validators.dumps import Dump
from validators.feeds import Feed
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
        """As `plain_json.finite`."""
        return {"exit_code": self.exit_code, "says": WORDS[self.verdict], **plain_json.finite(asdict(self))}


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
        return diverged(self.right, trace, limit=self.limit, outputs=pairs, used=self._used)

    def _used(self, name: str, expected: np.ndarray, actual: np.ndarray) -> float:
        return compare(Sampled.of(expected), actual, self.tolerances[name], "feature").used


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
