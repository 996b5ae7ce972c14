"""From a recipe to a folder of checked files: the one place that strings exporters and validators together."""

import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from torch import Tensor, nn

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
from recipes.base.config import find, variants
from recipes.base.download import fetch, is_published
from recipes.base.errors import UserError
from recipes.base.facts import Facts, facts_of, licence
from recipes.base.recipe import HostFrontEnd, digest, faithful_model, load
from recipes.base.sound import rich
from recipes.base.spec import Variant, Weights
from recipes.base.threads import one_thread
from validators import reference, report
from validators.results import Check, exit_code
from validators.runners.onnxruntime import open_model
from validators.runners.pytorch import answers
from validators.values import Case, check_values, fed

_FP16 = (
    "--precision fp16 computes the front end in float16 too, where loud sound overflows, faint sound may vanish and "
    "the melspec is coarse; use --precision mixed unless the checks pass on your sounds"
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
    """A state dict, and where it is from."""

    state: dict[str, Tensor]
    weights: Weights
    file: str
    sha256: str


@dataclass(frozen=True)
class Branch:
    """What is made for one input: the variant as fed by it, its faithful model, and what its files are held to."""

    variant: Variant
    model: nn.Module
    facts: Facts
    cases: Sequence[Case]
    sweep: Sequence[Case]
    stem: str
    size: int | None


def make(request: Request, step: Step) -> Made:
    """Everything asked for, in `request.output`, which appears whole or not at all.

    Raises UserError for bad input. Checks that failed are in the result, in the folder's manifest, and no error.
    """
    check_target(request.output)
    variant = find(request.name)
    chosen = request.inputs or (variant.input.name,)
    # What can be refused is refused before anything is fetched.
    for name in chosen:
        variant.fed_by(name)
    with_tolerances(variant.outputs, request.atol)
    samples = fixed_samples(request, variant)

    with step("checkpoint"):
        weighted = _weighted(request, variant)
        count = load(variant.family).classes(weighted.state) or variant.classes
        warnings = tuple(_checkpoint_warnings(request, variant, weighted, count))
        classes = _classes(request, variant, count)
        variant = variant if count == variant.classes else variant.with_classes(count)
        variant = replace(variant, outputs=with_tolerances(variant.outputs, request.atol))
        model = faithful_model(variant, weighted.state)
    if "coreml" in request.formats and request.precision == "fp16" and variant.input.name in chosen:
        warnings = (*warnings, _FP16)
    facts = facts_of(variant, weighted.weights, weighted.sha256, tuple(label.name for label in classes))

    artifacts: dict[str, Artifact] = {}
    checks: list[Check] = []
    notes: tuple[str, ...] = ()
    with written_whole(request.output) as folder, one_thread():
        with step("reference"):
            _write_reference(folder, request, variant, model, weighted)
            whole = Branch(
                variant, model, facts, reference.read(folder).cases, _sweep(model, variant), "model", samples
            )
        for name in chosen:
            branch = whole if name == variant.input.name else _branch(whole, weighted.state, name)
            onnx_file = f"{branch.stem}.onnx"
            artifacts[onnx_file] = Artifact(name, "fp32", opset=request.opset)
            checks += _make_onnx(folder / onnx_file, artifacts[onnx_file], branch, step)
            if "coreml" in request.formats:
                package = f"{branch.stem}.mlpackage"
                artifacts[package] = Artifact(name, request.precision, size=branch.size)
                notes += _make_coreml(folder / package, artifacts[package], branch, step)
                with step("check"):
                    checks += check_artifact(
                        folder / package, artifacts[package], branch.variant.input, branch.variant.outputs, branch.cases
                    )
        with step("manifest"):
            _write_papers(folder, request, variant, weighted, classes, artifacts, checks)
    return Made(checks, warnings, notes)


def _weighted(request: Request, variant: Variant) -> Weighted:
    recipe = load(variant.family)
    if request.checkpoint is None and request.weights == "synthetic":
        state = recipe.synthesize(variant)
        return Weighted(state, "synthetic", "synthetic", digest(state))
    path = request.checkpoint or fetch(variant, download_bar)
    state = recipe.read_checkpoint(path, variant)
    # Some variants have tensors of the same names and shapes, so that each would load the others' weights.
    for other in variants():
        if other.name != variant.name and is_published(path, other):
            raise UserError(f"{path}: is the published checkpoint of {other.name}; use `convert recipe {other.name}`")
    weights: Weights = "published" if is_published(path, variant) else "custom"
    return Weighted(state, weights, path.name, sha256(path))


def _checkpoint_warnings(request: Request, variant: Variant, weighted: Weighted, count: int) -> Iterator[str]:
    """About a checkpoint that nothing identifies; `count` classes are in it."""
    if weighted.weights != "custom":
        return
    for other in variants():
        if weighted.file == other.source.file != variant.source.file:
            yield (
                f"{weighted.file} has the name of {other.name}'s published checkpoint and is taken for one of "
                f"{variant.name}; if it is that file, use `convert recipe {other.name}`"
            )
    if request.labels is not None:
        return
    if count == variant.classes:
        yield (
            f"{weighted.file} is not known to be the published checkpoint: its {count} classes are taken for those of "
            f"{variant.labels}; --labels FILE names others"
        )
    else:
        yield f"{weighted.file} has {count} classes of its own: they are numbered; --labels FILE names them"


def _classes(request: Request, variant: Variant, count: int) -> tuple[labels.Label, ...]:
    """What the checkpoint's classes are called."""
    if request.labels is not None:
        return labels.read(request.labels, count)
    return labels.load(variant.labels) if count == variant.classes else labels.numbered(count)


def _branch(whole: Branch, state: dict[str, Tensor], name: str) -> Branch:
    """The same weights fed what the whole model gives out as `name`."""
    variant = whole.variant.fed_by(name)
    size = None
    if whole.size is not None:
        silence = {whole.variant.input.name: np.zeros(whole.variant.input.shape(1, whole.size), np.float32)}
        size = answers(whole.model, silence)[name].shape[-1]
    return Branch(
        variant=variant,
        model=faithful_model(variant, state),
        facts=replace(whole.facts, least_size=variant.input.least),
        cases=fed(whole.cases, variant.input),
        sweep=fed(whole.sweep, variant.input),
        stem=f"{whole.stem}.{name}",
        size=size,
    )


def _write_reference(folder: Path, request: Request, variant: Variant, model: nn.Module, weighted: Weighted) -> None:
    cases = reference.built_in(variant, request.seconds)
    for path in request.audio:
        waveform = audio.read(path, variant.sample_rate)
        audio.check(waveform, variant.sample_rate, variant.input.least, variant.input.most, origin=str(path))
        cases.append(reference.from_audio(variant, path.stem, waveform))
    head = reference.header(
        variant, weights=weighted.weights, checkpoint=weighted.file, sha256=weighted.sha256, versions=_versions()
    )
    keep = [name for name in request.inputs if name != variant.input.name]
    reference.write(folder, head, cases, partial(answers, model), keep)


def _sweep(model: nn.Module, variant: Variant) -> list[Case]:
    """Batches of 1, 2 and 3 at the shortest, an odd, a 1 s and the default length."""
    tensor = variant.input
    cases = []
    for samples in (tensor.least, 2 * tensor.least + 1, variant.sample_rate, tensor.default):
        rows = np.stack([rich(samples, variant.sample_rate, seed) for seed in (1, 2, 3)])
        for batch in (1, 2, 3):
            inputs = {tensor.name: rows[:batch]}
            cases.append(Case(f"{batch} x {samples}", inputs, answers(model, inputs)))
    return cases


def _make_onnx(path: Path, artifact: Artifact, branch: Branch, step: Step) -> list[Check]:
    variant = branch.variant
    assert artifact.opset is not None
    with step("export"):
        exported = export(lower(branch.model, variant), variant, artifact.opset)
    with step("simplify"):
        simplified = simplify(exported)
        describe(simplified, variant, branch.facts)
        onnx.save(simplified, str(path))
    with step("check"):
        cases = [*branch.cases, *branch.sweep]
        checks = check_artifact(path, artifact, variant.input, variant.outputs, cases)
        return checks + _against_exported(path.name, exported, simplified, branch)


def _against_exported(
    artifact: str, exported: onnx.ModelProto, simplified: onnx.ModelProto, branch: Branch
) -> list[Check]:
    """The simplified graph held to the one it was made from."""
    before = open_model(exported.SerializeToString())
    pairs = [Case(f"{case.name}, simplified", case.inputs, before.run(case.inputs)) for case in branch.cases]
    after = open_model(simplified.SerializeToString())
    return check_values(after, pairs, branch.variant.outputs, artifact=artifact, precision="fp32")


def _make_coreml(path: Path, artifact: Artifact, branch: Branch, step: Step) -> tuple[str, ...]:
    with step("Core ML"):
        # Seconds to import, and needed only here.
        from exporters.coreml.convert import convert
        from exporters.coreml.package import save

        lowered = lower(branch.model, branch.variant)
        converted = convert(lowered, branch.variant, precision=artifact.precision, size=artifact.size)
        save(converted.model, path, branch.variant, branch.facts, artifact.precision)
    return tuple(
        f"pad {pad.node}: {pad.mode} {pad.amounts or ''} by {pad.handler}: {pad.why}" for pad in converted.pads
    )


def _write_papers(
    folder: Path,
    request: Request,
    variant: Variant,
    weighted: Weighted,
    classes: Sequence[labels.Label],
    artifacts: dict[str, Artifact],
    checks: list[Check],
) -> None:
    """labels.json, README.md and, last, the manifest that lists them all."""
    table = [{"index": label.index, "mid": label.mid, "name": label.name} for label in classes]
    (folder / "labels.json").write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    make_front_end = load(variant.family).front_end
    program = _write_front_end(folder / "frontend", make_front_end(variant)) if make_front_end else None
    manifest = Manifest(
        schema="soundport.manifest/1",
        family=variant.family,
        variant=variant.name,
        title=variant.title,
        weights=weighted.weights,
        checkpoint_file=weighted.file,
        checkpoint_sha256=weighted.sha256,
        licence=licence(variant, weighted.weights),
        command=request.command(),
        versions=_versions(),
        sample_rate=variant.sample_rate,
        scores=variant.scores,
        input=variant.input,
        alternative_inputs=variant.alternative_inputs,
        outputs=variant.outputs,
        artifacts=artifacts,
        files={},
        results={"exit_code": exit_code(checks), **report.summary(checks)},
    )
    (folder / "README.md").write_text(card(manifest, program), encoding="utf-8")
    manifests.write(replace(manifest, files=listing(folder)), folder)


def _write_front_end(folder: Path, front_end: HostFrontEnd) -> str:
    """The front end as data, for hosts that compute it themselves; returns the program that shows how."""
    folder.mkdir()
    for name, array in front_end.arrays.items():
        np.save(folder / name, array)
    numbers = json.dumps(front_end.numbers, indent=1) + "\n"
    (folder / "front_end.json").write_text(numbers, encoding="utf-8")
    (folder / front_end.program_file).write_text(front_end.program, encoding="utf-8")
    return front_end.program


def _versions() -> dict[str, str]:
    packages = ("soundport", "torch", "numpy", "onnx", "onnxruntime", "onnxsim", "coremltools")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
