"""Verifies a made folder from its own files alone: no checkpoint, no PyTorch model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from convert import manifest as manifests
from convert.folder import entries, entry_of
from convert.manifest import MANIFEST, Artifact, FileEntry, Manifest
from convert.progress import Step
from convert.targets import named
from convert.targets.target import Target
from recipes.base import files
from recipes.base.errors import UserError
from recipes.base.tensor import Input, Output
from recipes.base.worker import Worker, WorkerError
from validators import reference
from validators.results import Check
from validators.runners.runner import RunnerError
from validators.values import Case, check_values, fed


def verify(folder: Path, step: Step, *, run_code: bool = False) -> list[Check]:
    """Checksums, names, axes, shapes and values; UserError when the folder is not one that was made here.

    `run_code` runs its programs too: what is compiled of a stranger's graph may do whatever the graph makes it do.
    """
    manifest = manifests.read(folder)
    with step("checksums"):
        checks = checksums(folder, manifest)
    if any(check.status == "failed" for check in checks):
        # Bytes that are not those that were made are not worth a closer look, nor safe to load.
        return checks
    cases = reference.read(folder).cases
    for name, artifact in manifest.artifacts.items():
        with step(name):
            tensor, outputs = manifest.fed_by(artifact.input)
            own = cases if tensor == manifest.input else fed(cases, tensor)
            target = named(artifact.format)
            checks += check_artifact(target, folder / name, artifact, tensor, outputs, own, run_code=run_code)
    return checks


def check_artifact(
    target: Target,
    path: Path,
    artifact: Artifact,
    tensor: Input,
    outputs: tuple[Output, ...],
    cases: Sequence[Case],
    *,
    run_code: bool = True,
) -> list[Check]:
    """As `check_in`, in a worker of its own."""
    with Worker(target.needs()) as worker:
        return check_in(worker, target, path, artifact, tensor, outputs, cases, run_code=run_code)


def check_in(
    worker: Worker,
    target: Target,
    path: Path,
    artifact: Artifact,
    tensor: Input,
    outputs: tuple[Output, ...],
    cases: Sequence[Case],
    *,
    run_code: bool = True,
) -> list[Check]:
    """The file itself, and its values in every runtime of its format; runtimes that are absent are not verified.

    All that opens the file does so in the worker: one that dies has failed one check. Programs are run where that is
    allowed, and they are those that are made of the graph beside them.
    """
    try:
        checks = worker.call(
            target.check_file, path, artifact, tensor, outputs, returns=list[Check], raises=(UserError,)
        )
    except (WorkerError, UserError) as error:
        # What is wrong with one file says nothing of the others.
        fault = str(error) if isinstance(error, UserError) else f"what reads it {error}"
        checks = [Check(path.name, "", artifact.precision, "", "", "file", "failed", fault)]
    refused = ""
    if target.code and not all(check.status == "passed" for check in checks):
        refused = "it is a program, and not known to be made here: it is not run"
    elif target.code and not run_code:
        refused = "it is a program; `convert check --run-code FOLDER` runs it, for folders that you trust"
    for runtime in target.runtimes_of(path.name):
        unseen = Check(path.name, runtime.name, artifact.precision, "", "", "values", "not verified")
        if reason := refused or runtime.absent():
            checks.append(replace(unseen, message=reason))
            continue
        try:
            runner = runtime.open(path, worker, tensor)
        except RunnerError as error:
            checks.append(replace(unseen, status="failed", message=str(error)))
            continue
        checks += check_values(runner, cases, outputs, artifact=path.name, precision=artifact.precision)
    return checks


def checksums(folder: Path, manifest: Manifest) -> list[Check]:
    """Whatever lies in the folder is a file, and the one that the manifest lists: nothing else is ever loaded."""
    found = {name: path for name, path in entries(folder) if name != MANIFEST}
    checks = []
    for name in sorted({*found, *manifest.files}):
        if name not in found:
            message = f"{name} is missing; make the folder again"
        elif what := files.kind(found[name].lstat().st_mode):
            message = f"{name} is {what}, and no file that was made; remove it, or make the folder again"
        elif name not in manifest.files:
            message = f"{name} is not in {MANIFEST}; remove it"
        elif not _is_listed(found[name], manifest.files[name]):
            message = f"{name} is not the file that was made: its size or SHA-256 differs; make the folder again"
        else:
            message = ""
        checks.append(Check("", "", "", name, "", "checksum", "failed" if message else "passed", message))
    return checks


def _is_listed(path: Path, entry: FileEntry) -> bool:
    """The size is known at once, and a wrong one may be of more bytes than anybody waits for."""
    return path.stat().st_size == entry.size and entry_of(path) == entry
