"""The papers of a made folder: labels, front end, card and, last, the manifest that lists them all."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import resources
from importlib.metadata import version
from pathlib import Path

import numpy as np

from convert import manifest as manifests
from convert import targets
from convert.card import card
from convert.folder import listing
from convert.manifest import Artifact, Manifest, Rewritten
from convert.subject import Subject
from recipes.base.facts import licence
from recipes.base.labels import Label
from recipes.base.recipe import HostFrontEnd
from recipes.base.tensor import Stream
from validators import report
from validators.results import Check, exit_code

_PACKAGES = ("soundport", "torch", "numpy")


def versions() -> dict[str, str]:
    """Of everything that the numbers in a folder may depend on."""
    packages = (*_PACKAGES, *(name for target in targets.TARGETS for name in target.packages))
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def write(
    folder: Path,
    subject: Subject,
    command: str,
    versions: dict[str, str],
    artifacts: dict[str, Artifact],
    lowering: Sequence[Rewritten],
    checks: Sequence[Check],
) -> None:
    """All of them; `command` is what made the folder."""
    variant, origin = subject.variant, subject.origin
    if subject.classes:
        _write_labels(folder / "labels.json", subject.classes)
    if subject.front_end is not None:
        _write_front_end(folder / "frontend", subject.front_end)
        if subject.streaming:
            _write_streaming(folder / "frontend", subject.streaming[0].input.stream)
    manifest = Manifest(
        schema=manifests.SCHEMA,
        family=variant.family,
        variant=variant.name,
        title=variant.title,
        weights=origin.weights,
        checkpoint_file=origin.file,
        checkpoint_sha256=origin.sha256,
        licence=licence(variant, origin.weights),
        command=command,
        versions=versions,
        sample_rate=variant.sample_rate,
        scores=variant.scores,
        front_end=variant.coreml.float32_through,
        input=variant.input,
        alternative_inputs=(*variant.alternative_inputs, *([subject.streaming[0].input] if subject.streaming else [])),
        outputs=variant.outputs,
        lowering=tuple(lowering),
        artifacts=artifacts,
        files={},
        results={"exit_code": exit_code(checks), **report.summary(checks)},
        numbers=variant.front_end_numbers() if origin.weights == "computed" else {},
    )
    program = subject.front_end.program if subject.front_end is not None else None
    (folder / "README.md").write_text(card(manifest, program), encoding="utf-8")
    manifests.write(replace(manifest, files=listing(folder)), folder)


def _write_labels(path: Path, classes: Sequence[Label]) -> None:
    table = [{"index": label.index, "mid": label.mid, "name": label.name} for label in classes]
    path.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_streaming(folder: Path, stream: Stream | None) -> None:
    """What the host of a streaming file does, as a program and its numbers."""
    assert stream is not None
    numbers = (
        json.dumps({name: value for name, value in asdict(stream).items() if name != "tolerance"}, indent=1) + "\n"
    )
    (folder / "streaming.json").write_text(numbers, encoding="utf-8")
    program = resources.files("recipes.base").joinpath("streaming.py").read_text(encoding="utf-8")
    (folder / "streaming.py").write_text(program, encoding="utf-8")


def _write_front_end(folder: Path, front_end: HostFrontEnd) -> None:
    """The front end as data, for hosts that compute it themselves."""
    folder.mkdir()
    for name, array in front_end.arrays.items():
        np.save(folder / name, array)
    numbers = json.dumps(front_end.numbers, indent=1) + "\n"
    (folder / "front_end.json").write_text(numbers, encoding="utf-8")
    (folder / front_end.program_file).write_text(front_end.program, encoding="utf-8")
