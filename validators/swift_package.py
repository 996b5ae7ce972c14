"""Whether a Swift package is what it should be; on macOS its own tests too."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from shutil import which

from recipes.base.errors import UserError
from recipes.base.facts import COREML_PREFIX
from recipes.base.quiet import quiet
from recipes.base.tensor import Input, Output, Precision
from validators import about
from validators.coreml_file import check_coreml_file
from validators.coreml_rules import check_coreml_rules
from validators.known import foreign_faults
from validators.results import Check, judged

RESOURCES = Path("Sources/SoundTagger/Model")
MODEL = RESOURCES / "model.mlpackage"

# What `swift test` runs, as a runtime is called.
_TESTS = "swift-test"
# What says that there is no XCTest, which Xcode alone brings.
_WITHOUT_XCTEST = "no such module 'XCTest'"


def check_swift_package(
    folder: Path,
    tensor: Input,
    outputs: tuple[Output, ...],
    precision: Precision,
    size: int | None,
    known: Mapping[str, str],
) -> list[Check]:
    """The package's own files, the model, what is said of it, and on macOS its tests.

    `known` is the SHA-256 of each file that all packages have: no other program is there, and none is run.
    """
    checks = [judged(folder.name, precision, "file", [*foreign_faults(folder, known), *_other_faults(folder, known)])]
    of_model = [
        *check_coreml_file(folder / MODEL, tensor, outputs, precision, size),
        check_coreml_rules(folder / MODEL, precision),
    ]
    checks += [replace(check, artifact=folder.name) for check in of_model]
    if any(check.status == "failed" for check in checks):
        return checks
    fixed = tensor.default if tensor.fixed else size
    checks.append(judged(folder.name, precision, "metadata", _about_faults(folder, tensor, outputs, fixed)))
    return checks if checks[-1].status == "failed" else [*checks, tested(folder, precision)]


def tested(folder: Path, precision: Precision) -> Check:
    """What `swift test` says, which holds each output of each case to the manifest's tolerances; macOS only."""
    check = Check(folder.name, _TESTS, precision, "", "", "values", "not verified")
    if sys.platform != "darwin":
        return replace(check, message="Core ML is on macOS only; run `swift test` in this folder there")
    if not which("swift"):
        return replace(
            check, message="Swift is not installed; Xcode brings it, and `swift test` in this folder tests it"
        )
    with tempfile.TemporaryDirectory() as built:
        # Nothing is left in the folder, which would then hold what nobody made.
        command = ["swift", "test", "--package-path", str(folder), "--scratch-path", built]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    said = f"{done.stdout}\n{done.stderr}"
    if _WITHOUT_XCTEST in said:
        return replace(check, message="XCTest is not installed; Xcode brings it, and its command line tools do not")
    if done.returncode == 0:
        return replace(check, case="swift test", output="all", status="passed")
    first = next((line.strip() for line in said.splitlines() if "error:" in line), "it says no error")
    return replace(check, case="swift test", output="all", status="failed", message=first)


def _other_faults(folder: Path, known: Mapping[str, str]) -> Iterator[str]:
    """Whatever else a compiler would take."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_dir() and name.as_posix() not in known and not name.is_relative_to(RESOURCES):
            yield f"{name} is no file of this version of soundport; make the folder again"


def _about_faults(folder: Path, tensor: Input, outputs: tuple[Output, ...], size: int | None) -> Iterator[str]:
    with quiet("coremltools"):
        import coremltools as ct

        own = ct.utils.load_spec(str(folder / MODEL)).description.metadata.userDefined
    facts = {key.removeprefix(COREML_PREFIX): value for key, value in own.items() if key.startswith(COREML_PREFIX)}
    del facts["precision"]
    try:
        said = about.read(folder / RESOURCES)
    except UserError as error:
        yield str(error)
        return
    yield from about.faults(said, facts, tensor, outputs, size)
