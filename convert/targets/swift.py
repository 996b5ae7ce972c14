"""Swift: a package around the Core ML model, for apps; the model runs as Core ML's do, the package in `swift test`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from convert.targets import coreml
from convert.targets.coreml import FLOAT32_OP, PRECISION
from convert.targets.target import SECONDS, Job, Product, Target
from exporters.swift import COMMAND, PACKAGE, RESOURCES
from validators.runners.runtime import Runtime, needs_macos

if TYPE_CHECKING:
    from pathlib import Path

    from convert.manifest import Artifact, Manifest
    from recipes.base.tensor import Input, Output
    from validators.results import Check
    from validators.runners.runner import Runner

_SAMPLE = """## `{file}` in Swift

A package for an app: `.package(path: "{file}")`, or dropped into Xcode. `swift test` in it, on a Mac, holds it to the
reference. `swift run tag SOUND` is this program of it:

```swift
"""
# Braces of its own are no places to fill.
_SAMPLE += (PACKAGE / COMMAND).read_text(encoding="utf-8").replace("{", "{{").replace("}", "}}") + "```\n"

_NOT_SOUND = "no Swift package is made of the model that is fed {name}: it takes sound; ask for that input, too"
_MODEL = f"{RESOURCES}/model.mlpackage"
_RUNNER = "validators.runners.coreml"


def make(job: Job) -> Product:
    """The folder of the package; none for a model that is fed its front end's result."""
    from exporters.swift import package

    branch = job.branch
    if branch.stem != "model":
        return Product({}, warnings=(_NOT_SOUND.format(name=branch.variant.input.name),))
    (job.folder / NAME / RESOURCES).mkdir(parents=True)
    made = coreml.make(replace(job, folder=job.folder / NAME / RESOURCES))
    (artifact,) = made.artifacts.values()
    package.write(job.folder / NAME, branch.variant, branch.facts, artifact.size)
    # The settings are those that it has itself: the package inside has more.
    return replace(made, artifacts={NAME: replace(artifact, format=TARGET.name, settings=dict(job.settings))})


def check_file(path: Path, artifact: Artifact, tensor: Input, outputs: tuple[Output, ...]) -> list[Check]:
    import hashlib

    from exporters.swift import package
    from validators.swift_package import check_swift_package

    known = {name: hashlib.sha256(content).hexdigest() for name, content in package.static().items()}
    return check_swift_package(path, tensor, outputs, artifact.precision, artifact.size, known)


def open_native(path: Path) -> Runner:
    """The package's model in Apple's runtime."""
    from validators.runners.coreml import open_native

    return open_native(path / _MODEL)


def open_stored(path: Path) -> Runner:
    """The package's model in the executor."""
    from validators.runners.coreml import open_stored

    return open_stored(path / _MODEL)


def remarks(artifact: Artifact, manifest: Manifest) -> str:
    return (
        "It is a Swift package for iOS 16 and macOS 13: a `Tagger` that resamples, goes over long sound in windows and "
        f"names the classes. The Core ML model in it computes {coreml.computing(artifact, manifest)}."
    )


NAME = "swift"

TARGET = Target(
    name="swift",
    title="Swift package",
    suffix=NAME,
    packages=("coremltools",),
    runtimes=(
        Runtime("coreml", "convert.targets.swift:open_native", needs_macos, needs=(_RUNNER,)),
        Runtime("executor", "convert.targets.swift:open_stored", needs=(_RUNNER,)),
    ),
    make=make,
    check_file=check_file,
    sample=_SAMPLE,
    options=(PRECISION, FLOAT32_OP, SECONDS),
    refuse=coreml.refuse,
    remarks=remarks,
    bounded=True,
    remedies=coreml.remedies,
)
