"""Verifies a made folder from its own files alone: no checkpoint, no PyTorch model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from validators.runners.runtime import Runtime
from validators.values import Case, check_values, fed


@dataclass(frozen=True)
class File:
    """An artifact in a folder, which its manifest calls `name`: its path there. It takes `tensor` and gives `outputs`.

    Checks are of that name, for two folders inside may hold files that are called alike.
    """

    folder: Path
    name: str
    artifact: Artifact
    target: Target
    tensor: Input
    outputs: tuple[Output, ...]

    @property
    def path(self) -> Path:
        return self.folder / self.name

    def runtimes(self) -> tuple[Runtime, ...]:
        """Those that are for it, whether they are here or not."""
        return self.target.runtimes_of(self.path.name)


def file_of(folder: Path, manifest: Manifest, name: str) -> File:
    """An artifact as the folder's manifest lists it. Raises UserError where it is fed what is no input."""
    artifact = manifest.artifacts[name]
    tensor, outputs = manifest.fed_by(artifact.input)
    return File(folder, name, artifact, named(artifact.format), tensor, outputs)


def cases_of(file: File, manifest: Manifest, cases: Sequence[Case]) -> Sequence[Case]:
    """The folder's cases, as the artifact is fed them. Raises UserError as `fed` does."""
    return cases if file.tensor == manifest.input else fed(cases, file.tensor)


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
    for name in manifest.artifacts:
        with step(name):
            file = file_of(folder, manifest, name)
            checks += check_artifact(file, cases_of(file, manifest, cases), run_code=run_code)
    return checks


def check_artifact(file: File, cases: Sequence[Case], *, run_code: bool = True) -> list[Check]:
    """As `check_in`, in a worker of its own."""
    with Worker(file.target.needs()) as worker:
        return check_in(worker, file, cases, run_code=run_code)


def check_in(worker: Worker, file: File, cases: Sequence[Case], *, run_code: bool = True) -> list[Check]:
    """The file itself, and its values in every runtime of its format; runtimes that are absent are not verified.

    All that opens the file does so in the worker: one that dies has failed one check. Programs are run where that is
    allowed, and they are those that are made of the graph beside them.
    """
    target, precision = file.target, file.artifact.precision
    try:
        form = worker.call(
            target.check_file,
            file.path,
            file.artifact,
            file.tensor,
            file.outputs,
            returns=list[Check],
            raises=(UserError,),
        )
    except (WorkerError, UserError) as error:
        # What is wrong with one file says nothing of the others.
        fault = str(error) if isinstance(error, UserError) else f"what reads it {error}"
        form = [Check(file.name, "", precision, "", "", "file", "failed", fault)]
    # What looks at a file alone knows nothing of the folder that it is in.
    checks = [replace(check, artifact=file.name) for check in form]
    refused = ""
    if target.code and not all(check.status == "passed" for check in checks):
        refused = "it is a program, and not known to be made here: it is not run"
    elif target.code and not run_code:
        refused = "it is a program; --run-code runs it, for folders that you trust: `convert check --run-code FOLDER`"
    for runtime in file.runtimes():
        unseen = Check(file.name, runtime.name, precision, "", "", "values", "not verified")
        if reason := refused or runtime.absent():
            checks.append(replace(unseen, message=reason))
            continue
        try:
            runner = runtime.open(file.path, worker, file.tensor)
        except RunnerError as error:
            checks.append(replace(unseen, status="failed", message=str(error)))
            continue
        checks += check_values(runner, cases, file.outputs, artifact=file.name, precision=precision)
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
