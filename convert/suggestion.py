"""Which ops of a Core ML package to keep in float32, so that what rounding breaks passes; tried before it is told.

Each op's float16 is tried alone: by how much it moves the outputs, the ops are put in order. Of those that move them
most three are kept, then more, until the outputs are within their tolerances on the cases that failed; then those that
can go again go. All of that is computed from one float32 run a clip. What is found is converted, and held to every
case; where another case fails, it is looked at as well.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np

from convert.broken import Break, breaks
from convert.manifest import Manifest
from convert.models import homes
from convert.progress import Step
from convert.stages import Run, Stage, Stages, stages
from convert.targets.coreml import FLOAT32_OP
from convert.targets.target import Job, Settings
from convert.verify import File
from exporters.coreml.precision import plain_name
from recipes.base.quiet import quiet
from validators.compare import Sampled, compare
from validators.results import Check
from validators.values import Case

with quiet("coremltools"):
    from validators.coreml import CoreMLModel
    from validators.coreml.halving import Halving

_FIRST = 3
# Beyond this part of the float16 ops, float32 throughout is the better answer.
_MOST = 0.5
# Parts of the tolerance that a choice may use: what is computed here and what is converted differ by a rounding or two.
_MARGINS = (0.95, 0.8, 0.6, 0.4)
_NO_OPS = ("const", "cast")


@dataclass(frozen=True)
class Suggestion:
    """What was found for one package; `ops` is empty where nothing was, and `why` says so.

    `most` are the three among them whose float16 moves the outputs most. `float32` and `kept` are how many ops were and
    are in float32, of `count`; `command` makes the folder with them. `checks` are those of the package that was tried.
    """

    artifact: str
    ops: tuple[str, ...]
    most: tuple[str, ...]
    float32: int
    kept: int
    count: int
    command: str
    why: str = ""
    checks: tuple[Check, ...] = ()


def suggestions(found: Stages, wrong: Sequence[Break], step: Step) -> list[Suggestion]:
    """For each package that rounding broke; none where it broke none."""
    rounded = {one.stage for one in wrong if one.rounding}
    broken = {stage.run.file.name for stage in found.stages if stage.run and stage.name in rounded}
    return [
        _suggested(stage, stage.run, found, step)
        for stage in found.stages
        if stage.run and stage.run.file.name in broken and _as_stored(stage.run) and stage.status == "failed"
    ]


def for_package(package: Path, step: Step, checkpoint: Path | None = None) -> list[Suggestion]:
    """As `suggestions`, for one package that lies in a made folder, whose reference and tolerances it is held to."""
    (folder,) = homes(package)
    found = stages(folder, step, checkpoint=checkpoint, run_code=False)
    every = suggestions(found, breaks(found, step), step)
    return [one for one in every if one.artifact == package.resolve().relative_to(folder).as_posix()]


def _as_stored(run: Run) -> bool:
    """Whether this runs a package, and rounds as it says; anywhere, and not Apple's runtime on macOS alone."""
    runtime = run.runtime
    return FLOAT32_OP in run.file.target.options and bool(runtime.tracer) and not runtime.unrounded


def _suggested(stage: Stage, run: Run, found: Stages, step: Step) -> Suggestion:
    nothing = Suggestion(run.file.name, (), (), 0, 0, 0, "")
    if run.job is None:
        return replace(nothing, why=f"it takes the model, which is not here: {found.absent}")
    job = run.job
    exacter = run.file.target.remedies(job.settings)
    if not exacter:
        return replace(nothing, why="all of it is in float32 already")
    with TemporaryDirectory() as scratch:
        made = _Made(run, job, Path(scratch))
        exact = CoreMLModel(made(exacter[-1]).file.path, precision="float32")
        halves, float32 = _types(CoreMLModel(made(job.settings).file.path), exact)
        start = replace(nothing, float32=float32, kept=float32, count=float32 + len(halves))
        failing = _failing(stage.cases, stage.checks)
        if not failing:
            return replace(start, why="what fails is the file's form, and no value")
        for margin in _MARGINS:
            with step("ops"):
                search = _Search(exact, halves, failing, run.file, margin)
                kept = search.found()
            if not kept:
                return replace(start, why=search.why)
            given = cast("tuple[str, ...]", job.settings[FLOAT32_OP.name])
            tried = made({**job.settings, FLOAT32_OP.name: (*given, *kept)})
            with step("check"):
                checks = tried.checks(stage.cases)
            more = _failing(stage.cases, checks)
            if not more:
                _, now = _types(CoreMLModel(tried.file.path), exact)
                command = _command(found.manifest, kept)
                return replace(start, ops=kept, most=search.most, kept=now, command=command, checks=checks)
            # The next choice must hold for these as well, and leave more room.
            failing = [*failing, *(case for case in more if all(case is not one for one in failing))]
        return replace(start, why=f"{len(kept)} ops were tried, and {more[0].name} still fails")


def _failing(cases: Sequence[Case], checks: Iterable[Check]) -> list[Case]:
    names = {check.case for check in checks if check.status == "failed"}
    return [case for case in cases if case.name in names]


def _command(manifest: Manifest, ops: Collection[str]) -> str:
    """Quoted anew: it is there to be typed, and a stranger's manifest may hold what a shell would run."""
    return shlex.join([*shlex.split(manifest.command), *(word for name in ops for word in (FLOAT32_OP.flag, name))])


@dataclass
class _Made:
    """Makes packages like the one of `run` with other settings, each in a folder of its own."""

    run: Run
    job: Job
    scratch: Path
    count: int = 0

    def __call__(self, settings: Settings) -> Run:
        self.count += 1
        folder = self.scratch / str(self.count)
        folder.mkdir()
        self.run.file.target.make(replace(self.job, settings=settings, folder=folder))
        return replace(self.run, file=replace(self.run.file, folder=folder))


def _types(model: CoreMLModel, exact: CoreMLModel) -> tuple[list[str], int]:
    """The ops of a package that are float16, as the one in float32 calls their results; and how many are not."""
    operations = [op for op in exact.package.function.operations if op.op_type not in _NO_OPS]
    by_result = {op.outputs[0].name: op.outputs[0].name for op in operations}
    by_name = {op.name: op.outputs[0].name for op in operations}
    halves, float32 = [], 0
    for op in model.package.function.operations:
        result = op.outputs[0]
        dtype = model.package.declared[result.name].dtype if op.op_type not in _NO_OPS else ""
        called = by_result.get(plain_name(result.name)) or by_name.get(plain_name(op.name))
        if dtype == "fp16" and called:
            halves.append(called)
        float32 += dtype == "fp32"
    return halves, float32


class _Search:
    """The ops that need float32 for these cases to pass; `why` says why there are none."""

    def __init__(
        self, exact: CoreMLModel, halves: Sequence[str], cases: Sequence[Case], file: File, margin: float
    ) -> None:
        self.why = ""
        self.most: tuple[str, ...] = ()
        self._halves = halves
        self._file, self._margin = file, margin
        self._around = _around(exact)
        self._runs = [(case, [Halving(exact, clip) for clip in _clips(case)]) for case in cases]

    def found(self) -> tuple[str, ...]:
        """In the order of the program."""
        if self._need(())[0] > 1:
            self.why = "the cases that fail do so in float32 throughout too, so that it is not rounding"
            return ()
        moved = {name: self._need((name,)) for name in self._halves}
        ranked = sorted(moved, key=lambda name: moved[name], reverse=True)
        most = int(len(ranked) * _MOST)
        count = _FIRST
        while count < most and not self._passes(ranked[:count]):
            count = min(2 * count, most)
        if not self._passes(ranked[:count]):
            self.why = (
                f"{count} of {len(ranked)} float16 ops were tried in float32, and that is not enough: take "
                "--precision fp32, which passes on the cases that fail"
            )
            return ()
        kept = ranked[: self._least(ranked, count)]
        for name in reversed(kept):
            without = [one for one in kept if one != name]
            if len(without) >= _FIRST and self._passes(without):
                kept = without
        self.most = tuple(kept[:_FIRST])
        whole = self._whole(kept)
        return tuple(name for name in self._halves if name in whole)

    def _least(self, ranked: Sequence[str], enough: int) -> int:
        """How many of them pass, at least; where that is not monotone, some number that does."""
        too_few = enough // 2 if enough > _FIRST else 0
        while enough - too_few > 1 and enough > _FIRST:
            middle = (enough + too_few) // 2
            if self._passes(ranked[:middle]):
                enough = middle
            else:
                too_few = middle
        return enough

    def _passes(self, kept: Collection[str]) -> bool:
        whole = self._whole(kept)
        return self._need([name for name in self._halves if name not in whole])[0] <= self._margin

    def _whole(self, kept: Collection[str]) -> set[str]:
        """With those between them: float16 between two that are float32 would round all that goes through."""
        whole = set(kept)
        halves = set(self._halves)
        for _ in self._halves:
            more = {
                name
                for name in halves - whole
                if whole & self._around[name] and not (halves - whole) & self._around[name]
            }
            if not more:
                break
            whole |= more
        return whole

    def _need(self, halves: Collection[str]) -> tuple[float, float]:
        """Of the worst output with these ops in float16: which share of its tolerance it uses, and which atol it needs.

        Where no atol is allowed, the second alone tells one choice from another.
        """
        return max(need for case, runs in self._runs for need in self._needs(case, runs, halves))

    def _needs(self, case: Case, runs: Sequence[Halving], halves: Collection[str]) -> Iterator[tuple[float, float]]:
        rows = [run.outputs(halves) for run in runs]
        for output in self._file.outputs:
            expected = Sampled.of(case.expected[output.name])
            actual = np.concatenate([np.atleast_1d(row[output.name]) for row in rows])
            if not np.isfinite(actual).all():
                yield inf, inf
                continue
            found = compare(expected, actual, output.tolerances[self._file.artifact.precision], output.kind)
            yield found.used, found.passing_atol


def _clips(case: Case) -> list[dict[str, np.ndarray]]:
    """One row each: these packages take no batch."""
    rows = len(next(iter(case.inputs.values())))
    return [{name: value[row : row + 1] for name, value in case.inputs.items()} for row in range(rows)]


def _around(model: CoreMLModel) -> dict[str, set[str]]:
    """By op: those that it is fed by, and those that it feeds; constants, and the program's ends, are none."""
    around: dict[str, set[str]] = {}
    for op in model.package.function.operations:
        if op.op_type == "const":
            continue
        name = op.outputs[0].name
        around[name] = set()
        given = (
            one for value in op.inputs.values() for one in (value if isinstance(value, (list, tuple)) else [value])
        )
        for var in given:
            maker = var.op.outputs[0].name if var is not None and var.op is not None else ""
            if maker in around:
                around[name].add(maker)
                around[maker].add(name)
    return around
