"""Which stage of a folder broke its model, and what in it: by the op, where both sides tell what they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from convert import papers
from convert.manifest import MANIFEST, Manifest
from convert.progress import Step
from convert.stages import REFERENCE, Run, Stage, Stages, Tracer
from convert.targets import named
from convert.targets.target import Job, Settings
from convert.verify import File
from recipes.base.errors import UserError
from recipes.base.tensor import Tolerance
from validators.compare import Sampled, compare
from validators.divergence import LIMITS, Divergence, diverged, grown
from validators.partners import difference
from validators.results import Check
from validators.runners.runner import Arrays, RunnerError


@dataclass(frozen=True)
class Break:
    """A stage that is wrong where what it is made of is right.

    `by` names to people what broke it, `agree` are the stages before it, which do, and `check` is what fails worst.
    `divergence` is where its computation first goes another way than that of `held_to`, None where one of them does
    not tell; `rounding` says that nothing but rounding does.
    """

    stage: str
    by: str
    agree: tuple[str, ...]
    check: Check
    why: tuple[str, ...] = ()
    held_to: str = ""
    divergence: Divergence | None = None
    rounding: bool = False


def breaks(found: Stages, step: Step) -> list[Break]:
    """One for each stage that is wrong, and made of none that is."""
    known = {stage.name: stage for stage in found.stages}
    wrong = []
    for stage in found.stages:
        before = _before(stage, known)
        if stage.status == "failed" and not any(one.status == "failed" for one in before):
            wrong.append(_explained(stage, before, found, step))
    return wrong


def _before(stage: Stage, known: Mapping[str, Stage]) -> list[Stage]:
    """The stages that it is made of, the last one first."""
    found = []
    while stage.of is not None:
        stage = known[stage.of]
        found.append(stage)
    return found


def _explained(stage: Stage, before: Sequence[Stage], found: Stages, step: Step) -> Break:
    check = stage.worst
    assert check is not None
    agree = tuple(one.name for one in reversed(before) if one.status == "passed")
    wrong = Break(stage.name, stage.by, agree or (REFERENCE,), check, stage.notes)
    if not before:
        return _first(wrong, stage, found)
    inputs, last = _inputs(stage, check), before[0]
    if stage.run and last.run and stage.run.file == last.run.file:
        if last.run.runtime.unrounded:
            wrong = replace(wrong, by="rounding to float16", rounding=True)
        return _located(wrong, last.name, last.trace, stage, inputs, step)
    if stage.run is None or stage.run.job is None:
        return _located(wrong, last.name, last.trace, stage, inputs, step)
    return _of_file(wrong, stage, stage.run, stage.run.job, last, inputs, found, step)


def _first(wrong: Break, stage: Stage, found: Stages) -> Break:
    """The faithful model answers otherwise than reference.json says, or a file is all that is here."""
    if stage.run is not None:
        return wrong
    return replace(wrong, by=f"what the model is built with here ({_versions(found)})")


def _versions(found: Stages) -> str:
    """Those that differ from the folder's."""
    here = papers.versions()
    changed = [
        f"{name} {version} there, {here[name]} here"
        for name, version in found.manifest.versions.items()
        if name in here and here[name] != version
    ]
    return ", ".join(changed) or "in the versions that the folder was made with"


def _of_file(
    wrong: Break, stage: Stage, run: Run, job: Job, last: Stage, inputs: Arrays, found: Stages, step: Step
) -> Break:
    """Its like, made here, tells the file from what makes it; and one in float32 tells rounding from all else."""
    name, target = run.file.name, run.file.target

    def located(held_to: str, trace: Tracer | None, told: Break) -> Break:
        return _located(told, held_to, trace, stage, inputs, step)

    with TemporaryDirectory() as scratch:

        def made(settings: Settings, place: str) -> Stage:
            return _like(stage, run, replace(job, settings=settings, folder=Path(scratch) / place), found, step)

        again = made(job.settings, "again")
        if again.status == "passed":
            why = f"what is made of this model now passes ({_versions(found)})"
            told = replace(wrong, by=f"the file {name} itself", why=(why, *wrong.why))
            return located(f"{name}, made again", again.trace, told)
        if again.status == "not verified":
            reason = next(
                (check.message for check in again.checks if check.status == "not verified"), "no case fits it"
            )
            why = f"it, or what makes it: what is made of this model now is NOT VERIFIED: {reason}"
            return located(last.name, last.trace, replace(wrong, why=(why, *wrong.why)))
        for settings in target.remedies(job.settings)[-1:]:
            exact = made(settings, "exact")
            if exact.status == "passed":
                told = replace(wrong, by="rounding to float16, already that of the weights,", rounding=True)
                return located(f"{name}, made in float32", exact.trace, told)
        return located(last.name, last.trace, replace(wrong, by=f"the conversion to {target.title}"))


def _like(stage: Stage, run: Run, job: Job, found: Stages, step: Step) -> Stage:
    """The stage of the file as it is made now, of the cases on which this one fails."""
    file = run.file
    job.folder.mkdir()
    for format_ in file.target.beside:
        named(format_).make(replace(job, settings=_settings(format_, file, found.manifest, found.folder)))
    product = file.target.make(job)
    if file.name not in product.artifacts:
        made = ", ".join(product.artifacts)
        raise UserError(
            f"{found.folder / MANIFEST}: artifacts: {file.name}: what is made so is {made}; make the folder again"
        )
    own = replace(run, file=replace(file, folder=job.folder, artifact=product.artifacts[file.name]))
    failed = {check.case for check in stage.checks if check.status == "failed"}
    cases = [case for case in stage.cases if case.name in failed] or stage.cases[:1]
    with step(file.name):
        checks = own.checks(cases)
    return replace(stage, checks=checks, cases=cases, trace=own.trace if own.runtime.tracer else None, run=own)


def _settings(format_: str, file: File, manifest: Manifest, folder: Path) -> Settings:
    """Those of the folder's file of that format and the same model."""
    for other in manifest.artifacts.values():
        if (other.format, other.input) == (format_, file.artifact.input):
            return other.settings
    raise UserError(
        f"{folder / MANIFEST}: artifacts: none is {named(format_).title} fed {file.artifact.input}, and {file.name} is "
        "made beside it; make the folder again"
    )


def _inputs(stage: Stage, check: Check) -> Arrays:
    """The clip that fails, alone."""
    name = check.case.partition(", fed ")[0]
    case = next((case for case in stage.cases if case.name == name), stage.cases[0])
    row = check.comparison.worst[0] if check.comparison and check.comparison.worst else 0
    return {name: value[row : row + 1] if row < len(value) else value[:1] for name, value in case.inputs.items()}


def _located(wrong: Break, held_to: str, trace: Tracer | None, stage: Stage, inputs: Arrays, step: Step) -> Break:
    """With the op that first goes another way, where both sides tell what they compute."""
    if trace is None or stage.trace is None:
        return wrong
    try:
        with step("trace"):
            right, mine = trace(inputs), stage.trace(inputs)
    except RunnerError as error:
        return replace(wrong, why=(*wrong.why, f"the op is not found: {error}"))
    precision = stage.run.file.artifact.precision if stage.run else "fp32"
    limit = LIMITS["float32" if precision == "fp32" else "float16"]
    with step("pair"):
        divergence = diverged(right, mine, limit=limit, used=_used(stage, limit))
        if wrong.rounding and {op.name for op in right.ops} == {op.name for op in mine.ops}:
            divergence = replace(divergence, growth=grown(right, mine))
    return replace(wrong, held_to=held_to, divergence=divergence)


def _used(stage: Stage, limit: float) -> Callable[[str, np.ndarray, np.ndarray], float]:
    """The share of the tolerance that its stage was held to, or of `limit` where it was to none.

    A proof's tolerance in float64 is none of those: what is traced computes in float32.
    """
    held = {one.output: one.comparison for one in stage.checks if one.comparison and one.precision != "fp64"}

    def used(name: str, right: np.ndarray, mine: np.ndarray) -> float:
        if name not in held:
            return difference(right, mine) / limit
        tolerance = Tolerance(held[name].atol, held[name].rtol, reason="what its stage was held to")
        return compare(Sampled.of(right), mine, tolerance, "feature").used

    return used
