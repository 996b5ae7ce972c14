"""Which stage of a folder broke its model, and what in it: by the op, where both sides tell what they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from convert import papers
from convert.manifest import MANIFEST
from convert.progress import Step
from convert.stages import REFERENCE, File, Stage, Stages, Tracer
from convert.targets.target import Settings
from recipes.base.errors import UserError
from validators.divergence import LIMITS, Divergence, diverged, grown
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
    if stage.file and last.file and stage.file.path == last.file.path:
        if last.file.runtime.unrounded:
            wrong = replace(wrong, by="rounding to float16", rounding=True)
        return _located(wrong, last.name, last.trace, stage, inputs, step)
    if stage.file is None or stage.file.job is None:
        return _located(wrong, last.name, last.trace, stage, inputs, step)
    return _of_file(wrong, stage, stage.file, last, inputs, found, step)


def _first(wrong: Break, stage: Stage, found: Stages) -> Break:
    """The faithful model answers otherwise than reference.json says, or a file is all that is here."""
    if stage.file is not None:
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


def _of_file(wrong: Break, stage: Stage, file: File, last: Stage, inputs: Arrays, found: Stages, step: Step) -> Break:
    """Its like, made here, tells the file from what makes it; and one in float32 tells rounding from all else."""
    assert file.job is not None

    def located(held_to: str, trace: Tracer | None, told: Break) -> Break:
        return _located(told, held_to, trace, stage, inputs, step)

    with TemporaryDirectory() as scratch:
        again, passes = _like(file, file.job.settings, Path(scratch) / "again", stage, found, step)
        if passes:
            why = f"what is made of this model now passes ({_versions(found)})"
            told = replace(wrong, by=f"the file {file.path.name} itself", why=(why, *wrong.why))
            return located(f"{file.path.name}, made again", partial(file.trace, path=again), told)
        for settings in file.target.remedies(file.job.settings)[-1:]:
            exact, passes = _like(file, settings, Path(scratch) / "exact", stage, found, step)
            if passes:
                told = replace(wrong, by="rounding to float16, already that of the weights,", rounding=True)
                return located(f"{file.path.name}, made in float32", partial(file.trace, path=exact), told)
        return located(last.name, last.trace, replace(wrong, by=f"the conversion to {file.target.title}"))


def _like(file: File, settings: Settings, folder: Path, stage: Stage, found: Stages, step: Step) -> tuple[Path, bool]:
    """The file as it is made now with these settings, and whether it passes where this one fails."""
    assert file.job is not None
    folder.mkdir()
    product = file.target.make(replace(file.job, settings=settings, folder=folder))
    name = file.path.relative_to(found.folder).as_posix()
    if name not in product.artifacts:
        made = ", ".join(product.artifacts)
        raise UserError(
            f"{found.folder / MANIFEST}: artifacts: {name}: what is made so is {made}; make the folder again"
        )
    own = replace(file, artifact=product.artifacts[name])
    failed = [
        case for case in stage.cases if any(one.case == case.name for one in stage.checks if one.status == "failed")
    ]
    with step(name):
        checks = own.checks(folder / name, failed or stage.cases[:1])
    return folder / name, not any(one.status == "failed" for one in checks if one.runtime in ("", file.runtime.name))


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
    precision = stage.file.artifact.precision if stage.file else "fp32"
    limit = LIMITS["float32" if precision == "fp32" else "float16"]
    with step("pair"):
        divergence = diverged(right, mine, limit=limit, agrees=_judge(stage))
        if wrong.rounding and {op.name for op in right.ops} == {op.name for op in mine.ops}:
            divergence = replace(divergence, growth=grown(right, mine))
    return replace(wrong, held_to=held_to, divergence=divergence)


def _judge(stage: Stage) -> Callable[[str, np.ndarray, np.ndarray], bool]:
    """Whether an output is within the tolerance that the stage was held to."""
    tolerances = {one.output: one.comparison for one in stage.checks if one.comparison}

    def agrees(name: str, right: np.ndarray, mine: np.ndarray) -> bool:
        if name not in tolerances:
            return True
        allowed = tolerances[name].atol + tolerances[name].rtol * np.abs(right.astype(np.float64))
        return bool((np.abs(mine.astype(np.float64) - right) <= allowed).all())

    return agrees
