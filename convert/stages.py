"""The stages of a made folder's model: each form that it has on its way, held to what the faithful one answers.

What lies before the files is made again, by the code of `convert recipe`; the files are the folder's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from torch import nn

from convert import manifest as manifests
from convert.again import AbsentError, request_of, settled_again
from convert.background import Submit, in_background
from convert.lowering import Form, Proof, faithful_form, lowered_form, proved, prover
from convert.manifest import Manifest
from convert.progress import Step
from convert.subject import Branch, Subject, held_to
from convert.targets import named
from convert.targets.target import Job
from convert.verify import File, cases_of, check_artifact, check_in, checksums, file_of
from recipes.base.errors import UserError
from recipes.base.threads import one_thread
from recipes.base.worker import Worker
from validators import reference
from validators.report import badness
from validators.results import Check, Status
from validators.runners.pytorch import answers, open_model
from validators.runners.runner import Arrays, Runner
from validators.runners.runtime import Runtime
from validators.traces import Trace
from validators.traces.pytorch import trace_model
from validators.values import Case, check_values

REFERENCE = "reference.json"

# Of jobs that write nothing.
_NOWHERE = Path(os.devnull)

Tracer = Callable[[Arrays], Trace]


@dataclass(frozen=True)
class Run:
    """A file of the folder as one runtime runs it; `job` makes its like, and is None where the model is not here."""

    file: File
    runtime: Runtime
    job: Job | None

    def trace(self, inputs: Arrays) -> Trace:
        """Raises RunnerError."""
        return self.runtime.trace(self.file.path, inputs)

    def checks(self, cases: Sequence[Case]) -> tuple[Check, ...]:
        """Of the file's form, and of its values in this runtime."""
        return tuple(one for one in check_artifact(self.file, cases) if one.runtime in ("", self.runtime.name))


@dataclass(frozen=True)
class Stage:
    """One form of the model, and how its answers to the cases fared.

    `by` is what makes it, and `of` the name of the stage that it is made of, None where that is not here. `trace` gives
    all that it computes on the way, where it can tell. `notes` say more of what went wrong.
    """

    name: str
    by: str
    of: str | None
    checks: tuple[Check, ...]
    cases: Sequence[Case]
    trace: Tracer | None = None
    run: Run | None = None
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """Passed where values were compared, and no check has failed."""
        if any(check.status == "failed" for check in self.checks):
            return "failed"
        return "passed" if any(check.comparison for check in self.checks) else "not verified"

    @property
    def worst(self) -> Check | None:
        """The check that is furthest from passing."""
        return max(self.checks, key=_telling, default=None)


@dataclass(frozen=True)
class Stages:
    """All of a folder, each behind the one that it is made of. `absent` says why those before its files are not."""

    folder: Path
    manifest: Manifest
    stages: tuple[Stage, ...]
    absent: str = ""


def _telling(check: Check) -> tuple[bool, bool, bool, tuple[float, ...]]:
    """Of two that fail, one in float32 tells people more than one in float64; of others, one that has figures."""
    failed = check.status == "failed"
    return failed, check.precision != "fp64", failed or check.comparison is not None, badness(check)


def stages(
    folder: Path, step: Step, *, checkpoint: Path | None = None, on: Path | None = None, run_code: bool
) -> Stages:
    """Every stage on every case of the reference, or on the sound `on` alone.

    Without the checkpoint the files alone are held to reference.json, which has the faithful model's answers.
    `run_code` runs programs, as `convert check` does.

    Raises UserError where the folder is none that was made here, or a file of it is not the one that was made; where
    weights or a version are not those that it was made with; and for a sound that needs the model, which is not here.
    """
    manifest = manifests.read(folder)
    with step("checksums"):
        for check in checksums(folder, manifest):
            if check.status == "failed":
                raise UserError(f"{folder}: {check.message}; `convert check` lists all that is so")
    cases: Sequence[Case] = reference.read(folder).cases
    try:
        with step("checkpoint"):
            subject = settled_again(folder, manifest, checkpoint, (on,) if on else ())
    except AbsentError as error:
        if on is not None:
            raise UserError(f"{on}: what is right there is for the model to say, and {error}") from None
        with in_background() as submit:
            made = _Made(folder, manifest, step, run_code, submit)
            begun = [stage for name in manifest.artifacts for stage in made.held(name, cases, None, None)]
            return Stages(folder, manifest, tuple(whole() for whole in begun), absent=str(error))
    branches = held_to(subject, [_asked(subject)] if on else cases)
    # A proof takes as long as all that is made meanwhile, and files are not to wait for it.
    with one_thread(), in_background(2) as submit:
        made = _Made(folder, manifest, step, run_code, submit)
        begun = [stage for branch in branches for stage in made.on_the_way(branch)]
        with step("check"):
            return Stages(folder, manifest, tuple(whole() for whole in begun))


def _asked(subject: Subject) -> Case:
    """The last of the subject's sounds, and what the faithful model answers to it."""
    variant, sound = subject.variant, subject.sounds[-1]
    inputs = {variant.input.name: sound.waveform.reshape(variant.input.shape(*sound.waveform.shape))}
    outputs = answers(subject.model, inputs)
    given = {output.name: outputs[output.name] for output in variant.outputs}
    return Case(sound.name, inputs, given, {name: outputs[name] for name in subject.inputs if name in outputs})


Begun = Callable[[], Stage]
"""Waits for what a stage lacks, its checks above all, which are done beside the making of others."""


@dataclass(frozen=True)
class _Made:
    """A folder that was made, and what is needed to make its like."""

    folder: Path
    manifest: Manifest
    step: Step
    run_code: bool
    submit: Submit

    def on_the_way(self, branch: Branch) -> Iterator[Begun]:
        """Of what is fed by one input: the forms of the model, and for each format those up to its files."""
        variant = branch.variant
        own = {name: one for name, one in self.manifest.artifacts.items() if one.input == variant.input.name}
        if variant.input.stream:
            # What takes sound chunk by chunk has no form that takes a whole one.
            for name in own:
                yield from self.held(name, branch.cases, None, None)
            return
        more = "" if branch.stem == "model" else f", fed {variant.input.name}"

        def stage(name: str, by: str, of: str | None, runner: Runner, trace: Tracer) -> Stage:
            checks = check_values(runner, branch.cases, variant.outputs, artifact=name, precision="fp32")
            return Stage(name, by, of, tuple(checks), branch.cases, trace)

        def of_module(name: str, by: str, of: str | None, model: nn.Module) -> Stage:
            with self.step(name):
                return stage(
                    name,
                    by,
                    of,
                    open_model(model, variant.input, variant.outputs),
                    partial(trace_model, model, source=name),
                )

        before, form = f"faithful{more}", faithful_form(branch)
        lowering = request_of(self.folder, self.manifest, None).lowering
        if lowering:
            with self.step("lowering"):
                form = lowered_form(branch)
            proving = self.submit(prover(_on_one(branch), form))
        yield partial(_same, of_module(before, "the model", None, branch.model))
        if lowering:
            of, before = before, f"lowered{more}"
            done = of_module(before, "the lowering", of, form.module.model)
            yield partial(_with_proof, done, proving, branch, form)
        for (target, settings), names in groupby(own, lambda name: (own[name].format, own[name].settings)):
            job = Job(branch, form.module, settings, _NOWHERE, self.step)
            of = before
            for interim in named(target).interim(job):
                yield partial(_same, stage(f"{interim.name}{more}", interim.by, of, interim.runner, interim.trace))
                of = f"{interim.name}{more}"
            for name in names:
                yield from self.held(name, branch.cases, of, job)

    def held(self, name: str, cases: Sequence[Case], of: str | None, job: Job | None) -> Iterator[Begun]:
        """An artifact: a stage a runtime. The first that runs here says what the file is, and the others follow it.

        What the file declares of itself is the first one's, too.
        """
        file = file_of(self.folder, self.manifest, name)
        if job is None:
            cases = cases_of(file, self.manifest, cases)
        runtimes = sorted(file.runtimes(), key=lambda runtime: (runtime.absent() is not None, not runtime.unrounded))
        worker = Worker(file.target.needs())
        # It may be a fork of this process, which is to be made here: where no other thread is amid its work.
        worker.start()

        def check() -> list[Check]:
            with worker:
                return check_in(worker, file, cases, run_code=self.run_code)

        checking = self.submit(check)
        first = ""
        for runtime in runtimes:
            run = Run(file, runtime, job)
            trace = run.trace if runtime.tracer else None
            by = f"the runtime {runtime.name}" if first else f"the file {name}"
            stage = Stage(f"{name}, {runtime.name}", by, first or of, (), cases, trace, run)
            yield partial(_with_checks, stage, checking, {runtime.name} if first else {runtime.name, ""})
            first = first or f"{name}, {runtime.name}"


def _same(stage: Stage) -> Stage:
    return stage


def _with_checks(stage: Stage, checking: Callable[[], list[Check]], runtimes: set[str]) -> Stage:
    """With those checks of a file that are of these runtimes; none is named where all of the file is meant."""
    return replace(stage, checks=tuple(check for check in checking() if check.runtime in runtimes))


def _with_proof(done: Stage, proving: Callable[[], Proof], branch: Branch, form: Form) -> Stage:
    proof = proving()
    if done.status == "failed" and not proof.warnings and done.worst:
        proof = proved(_on_one(branch, done.worst.case), form)
    return replace(done, checks=(*done.checks, *proof.checks), notes=tuple(proof.warnings))


def _on_one(branch: Branch, name: str = "") -> Branch:
    """In float64 one case is enough: that one, or a short one that is heard."""
    heard = [case for case in branch.cases if name in ("", case.name) and not _silent(case)]
    one = min(heard or branch.cases, key=lambda case: sum(value.size for value in case.inputs.values()))
    return replace(branch, cases=[one], sweep=())


_QUIET = 1e-3


def _silent(case: Case) -> bool:
    return all(np.ptp(value) < _QUIET for value in case.inputs.values())
