"""From a recipe to a folder of checked files: the one place that strings exporters and validators together."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from torch import nn

from convert import manifest as manifests
from convert.card import card
from convert.folder import check_target, listing, written_whole
from convert.manifest import Artifact, Manifest
from convert.progress import Step, download_bar
from convert.request import Request, fixed_samples, with_tolerances
from convert.verify import check_artifact
from exporters.lowering import lower
from exporters.onnx.export import export
from exporters.onnx.metadata import describe
from exporters.onnx.simplify import simplify
from recipes.base import audio, labels
from recipes.base.checkpoint import sha256
from recipes.base.config import find
from recipes.base.download import fetch, is_published
from recipes.base.facts import Facts, facts_of
from recipes.base.recipe import digest, faithful_model, load
from recipes.base.sound import rich
from recipes.base.spec import Variant, Weights
from validators import reference, report
from validators.results import Check, exit_code
from validators.runners.onnxruntime import open_model
from validators.runners.pytorch import answers
from validators.runners.registry import runtimes_for
from validators.values import Case, check_values

ONNX = "model.onnx"
COREML = "model.mlpackage"

_FP16 = (
    "--precision fp16 computes the front end in float16 too, where loud sound overflows and silence vanishes; "
    "use --precision mixed unless you know that neither occurs"
)


@dataclass(frozen=True)
class Made:
    """What came of a request; the folder is there whatever the checks say.

    `notes` say how each pad of the Core ML program is written.
    """

    checks: list[Check]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Weighted:
    """The faithful model with weights in it, and where they are from."""

    model: nn.Module
    weights: Weights
    file: str
    sha256: str


def make(request: Request, step: Step) -> Made:
    """Everything asked for, in `request.output`, which appears whole or not at all.

    Raises UserError for bad input. Checks that failed are in the result, in the folder's manifest, and no error.
    """
    check_target(request.output)
    variant = find(request.name)
    variant = replace(variant, outputs=with_tolerances(variant.outputs, request.atol))
    samples = fixed_samples(request, variant)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    with step("checkpoint"):
        weighted = _weighted(request, variant)
    names = tuple(label.name for label in labels.load(variant.labels))
    facts = facts_of(variant, weighted.weights, weighted.sha256, names)

    with written_whole(request.output) as folder:
        with step("reference"):
            _write_reference(folder, request, variant, weighted)
            cases = reference.read(folder).cases
        lowered = lower(weighted.model, variant)
        with step("export"):
            exported = export(lowered, variant, request.opset)
        with step("simplify"):
            simplified = simplify(exported)
            describe(simplified, variant, facts)
            onnx.save(simplified, str(folder / ONNX))
        artifacts = {ONNX: Artifact("fp32", opset=request.opset)}
        with step("check"):
            checks = check_artifact(folder / ONNX, artifacts[ONNX], variant.input, variant.outputs, cases)
            checks += _against_exported(exported, simplified, cases, variant)
            checks += _sweep(folder / ONNX, weighted.model, variant)
        if "coreml" in request.formats:
            artifacts[COREML] = Artifact(request.precision, size=samples)
            with step("Core ML"):
                notes = _write_coreml(folder, lowered, variant, facts, artifacts[COREML])
            if request.precision == "fp16":
                warnings = (_FP16,)
            with step("check"):
                checks += check_artifact(folder / COREML, artifacts[COREML], variant.input, variant.outputs, cases)
        with step("manifest"):
            _write_papers(folder, request, variant, weighted, artifacts, checks)
    return Made(checks, warnings, notes)


def _weighted(request: Request, variant: Variant) -> Weighted:
    recipe = load(variant.family)
    if request.checkpoint is None and request.weights == "synthetic":
        state = recipe.synthesize(variant)
        return Weighted(faithful_model(variant, state), "synthetic", "synthetic", digest(state))
    path = request.checkpoint or fetch(variant, download_bar)
    state = recipe.read_checkpoint(path, variant)
    weights: Weights = "published" if is_published(path, variant) else "custom"
    return Weighted(faithful_model(variant, state), weights, path.name, sha256(path))


def _write_reference(folder: Path, request: Request, variant: Variant, weighted: Weighted) -> None:
    cases = reference.built_in(variant, request.seconds)
    for path in request.audio:
        cases.append(reference.from_audio(variant, path.stem, audio.read(path, variant.sample_rate)))
    head = reference.header(
        variant, weights=weighted.weights, checkpoint=weighted.file, sha256=weighted.sha256, versions=_versions()
    )
    reference.write(folder, head, cases, partial(answers, weighted.model))


def _against_exported(
    exported: onnx.ModelProto, simplified: onnx.ModelProto, cases: Sequence[Case], variant: Variant
) -> list[Check]:
    """The simplified graph held to the one it was made from."""
    before = open_model(exported.SerializeToString())
    pairs = [Case(f"{case.name}, simplified", case.inputs, before.run(case.inputs)) for case in cases]
    after = open_model(simplified.SerializeToString())
    return check_values(after, pairs, variant.outputs, artifact=ONNX, precision="fp32")


def _sweep(path: Path, model: nn.Module, variant: Variant) -> list[Check]:
    """Batches of 1, 2 and 3 at the shortest, an odd, a 1 s and the default length, in every runtime that is here."""
    tensor = variant.input
    lengths = (tensor.least, 2 * tensor.least + 1, variant.sample_rate, tensor.default)
    cases = []
    for samples in lengths:
        rows = np.stack([rich(samples, variant.sample_rate, seed) for seed in (1, 2, 3)])
        for batch in (1, 2, 3):
            inputs = {tensor.name: rows[:batch]}
            cases.append(Case(f"{batch} x {samples}", inputs, answers(model, inputs)))
    checks: list[Check] = []
    for runtime in runtimes_for(path):
        if runtime.absent() is None:
            runner = runtime.open(path)
            checks += check_values(runner, cases, variant.outputs, artifact=path.name, precision="fp32")
    return checks


def _write_coreml(
    folder: Path, lowered: nn.Module, variant: Variant, facts: Facts, artifact: Artifact
) -> tuple[str, ...]:
    # Seconds to import, and needed only here.
    from exporters.coreml.convert import convert
    from exporters.coreml.package import save

    converted = convert(lowered, variant, precision=artifact.precision, size=artifact.size)
    save(converted.model, folder / COREML, variant, facts, artifact.precision)
    return tuple(
        f"pad {pad.node}: {pad.mode} {pad.amounts or ''} by {pad.handler}: {pad.why}" for pad in converted.pads
    )


def _write_papers(
    folder: Path,
    request: Request,
    variant: Variant,
    weighted: Weighted,
    artifacts: dict[str, Artifact],
    checks: list[Check],
) -> None:
    """labels.json, README.md and, last, the manifest that lists them all."""
    table = [{"index": label.index, "mid": label.mid, "name": label.name} for label in labels.load(variant.labels)]
    (folder / "labels.json").write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    manifest = Manifest(
        schema="soundport.manifest/1",
        family=variant.family,
        variant=variant.name,
        title=variant.title,
        weights=weighted.weights,
        checkpoint_file=weighted.file,
        checkpoint_sha256=weighted.sha256,
        licence=variant.licence,
        command=request.command(),
        versions=_versions(),
        sample_rate=variant.sample_rate,
        scores=variant.scores,
        input=variant.input,
        outputs=variant.outputs,
        artifacts=artifacts,
        files={},
        results={"exit_code": exit_code(checks), **report.summary(checks)},
    )
    (folder / "README.md").write_text(card(manifest), encoding="utf-8")
    manifests.write(replace(manifest, files=listing(folder)), folder)


def _versions() -> dict[str, str]:
    packages = ("soundport", "torch", "numpy", "onnx", "onnxruntime", "onnxsim", "coremltools")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
