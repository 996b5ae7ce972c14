"""From a request to a folder of checked files, in three steps: the subject, the targets, the papers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from convert import papers
from convert.background import Submit, in_background
from convert.folder import check_target, written_whole
from convert.lowering import Proof, faithful_form, lowered_form, prover
from convert.manifest import Artifact, Rewritten, rewrites_in_words
from convert.progress import Step
from convert.request import Request
from convert.subject import branches, settle
from convert.targets import TARGETS, options
from convert.targets.target import SECONDS, Job, Product, Settings, Target
from convert.verify import File, check_in
from recipes.base.errors import UserError
from recipes.base.spec import Variant
from recipes.base.threads import one_thread
from recipes.base.worker import Worker
from validators.results import Check


@dataclass
class Made:
    """What came of a request; the folder is there whatever the checks say."""

    artifacts: dict[str, Artifact] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lowering: list[Rewritten] = field(default_factory=list)


def make(request: Request, step: Step) -> Made:
    """Everything asked for, in `request.output`, which appears whole or not at all.

    What is lowered is proved, and a file checked, while the next one is made. Raises UserError for bad input. Checks
    that failed are in the result, in the folder's manifest, and no error.
    """
    check_target(request.output)
    targets = request.targets()
    variant = request.variant()
    _refuse_made_of(targets)
    if request.streaming is None:
        _refuse_of_chunks(request.options)
    else:
        _refuse_without_chunks([target for target, _ in targets])

    def refuse(settled: Variant) -> None:
        for target, settings in targets:
            target.refuse(settings, settled)

    with step("checkpoint"):
        subject = settle(request, variant, _seconds(targets), refuse)

    made = Made(warnings=list(subject.warnings))
    proofs: list[Callable[[], Proof]] = []
    begun: list[tuple[Target, Job, Product, Callable[[], list[Check]]]] = []
    with written_whole(request.output) as folder, one_thread(), in_background() as submit:
        versions = papers.versions()
        with step("reference"):
            fed = list(branches(subject, folder, versions))
        for branch in fed:
            with step("lowering"):
                form = lowered_form(branch) if request.lowering else faithful_form(branch)
            if request.lowering:
                proofs.append(submit(prover(branch, form)))
            made.lowering += [Rewritten(branch.variant.input.name, done.rewrite, done.place) for done in form.applied]
            for target, settings in targets:
                job = Job(branch, form.module, settings, folder, step)
                begun.append((target, job, *_made(target, job, submit)))
        for proving in proofs:
            with step("proof"):
                proof = proving()
            made.checks += proof.checks
            made.warnings += proof.warnings
        for target, job, product, checking in begun:
            with step("check"):
                checks = checking()
            _add(made, target, job, product, checks, request.output)
        made.notes += rewrites_in_words(made.lowering, made.artifacts)
        with step("manifest"):
            papers.write(folder, subject, request.command(), versions, made.artifacts, made.lowering, made.checks)
    return made


def _refuse_of_chunks(given: Settings) -> None:
    if flags := [option.flag for option in options() if option.streaming and given.get(option.name) is not None]:
        raise UserError(f"{' and '.join(flags)}: is of files that take chunks; add --streaming CHUNK, or leave it out")


def _refuse_without_chunks(targets: Sequence[Target]) -> None:
    if without := [target for target in targets if not target.streaming]:
        flags = " and ".join(f"--to {target.name}" for target in without)
        titles = ", ".join(target.title for target in TARGETS if target.streaming)
        raise UserError(f"--streaming: files that take chunks are made as {titles} alone; leave out {flags}")


def _refuse_made_of(targets: Sequence[tuple[Target, Settings]]) -> None:
    """What some option makes of a format, where others are made of that format's files."""
    for maker, settings in targets:
        flags = [option.flag for option in maker.options if option.apart and settings.get(option.name)]
        others = [f"--to {target.name}" for target, _ in targets if maker.name in target.beside]
        if flags and others:
            raise UserError(
                f"{' and '.join(flags)}: {' and '.join(others)} would be made of that file too, which is not the one "
                "for all runtimes; make them in a folder of their own with -o"
            )


def _seconds(targets: Sequence[tuple[Target, Settings]]) -> float | None:
    """The length that some target fixes its input to."""
    given = (settings.get(SECONDS.name) for _, settings in targets)
    return next((float(seconds) for seconds in given if isinstance(seconds, (int, float))), None)


def _add(made: Made, target: Target, job: Job, product: Product, checks: list[Check], folder: Path) -> None:
    made.artifacts |= product.artifacts
    made.checks += checks
    made.notes += product.notes
    made.warnings += product.warnings
    for name in product.artifacts:
        if any(_off(check, name) for check in checks):
            made.warnings += _remedy(target, job, name, folder)


def _made(target: Target, job: Job, submit: Submit) -> tuple[Product, Callable[[], list[Check]]]:
    """The product, and what waits for its checks."""
    product = target.make(job)
    branch, variant = job.branch, job.branch.variant
    files = [
        File(job.folder, name, artifact, target, variant.input, variant.outputs)
        for name, artifact in product.artifacts.items()
    ]
    cases = [*branch.cases, *branch.sweep] if target.swept else branch.cases
    worker = Worker(target.needs())
    # It may be a fork of this process, which is to be made here: where no other thread is amid its work.
    worker.start()

    def check() -> list[Check]:
        checks: list[Check] = []
        with worker:
            for file in files:
                checks += check_in(worker, file, cases)
        return [*checks, *product.checks]

    return product, submit(check)


def _off(check: Check, artifact: str) -> bool:
    """Whether the values of this artifact are over their tolerance."""
    return check.artifact == artifact and check.kind == "values" and check.status == "failed"


def _remedy(target: Target, job: Job, name: str, folder: Path) -> list[str]:
    """Which other settings pass, found out by trying; nothing where the target knows none."""
    tried: list[str] = []
    for settings in target.remedies(job.settings):
        tried.append(_words(settings, job.settings))
        with TemporaryDirectory() as scratch, in_background() as submit:
            _, checking = _made(target, Job(job.branch, job.lowered, settings, Path(scratch), job.step), submit)
            with job.step("check"):
                checks = checking()
        if not any(check.status == "failed" for check in checks):
            search = target.search.format(quote(str(folder)))
            less = f", or see whether `{search}` finds less to change" if search else ""
            return [f"{name} fails its check; {tried[-1]} was tried, and passes: run again with it{less}"]
    return [f"{name} fails its check, and does so with {' and '.join(tried)} too"] if tried else []


def _words(settings: Settings, others: Mapping[str, object]) -> str:
    """What is set otherwise than in `others`."""
    changed = (option for option in options() if settings.get(option.name) != others.get(option.name))
    return " ".join(f"{option.flag} {settings[option.name]}" for option in changed)
