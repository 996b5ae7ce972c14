"""What is converted: a variant with weights, settled once, and its answers to the reference cases.

All that a user can put right is refused here, before anything is computed or written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from convert.progress import download_bar
from convert.request import Request, with_tolerances
from recipes.base import audio, labels, preparation
from recipes.base.checkpoint import sha256
from recipes.base.config import variants
from recipes.base.download import fetch, is_published, refuse_damaged
from recipes.base.errors import UserError
from recipes.base.facts import Facts, facts_of
from recipes.base.recipe import (
    Checkpoint,
    HostFrontEnd,
    Recipe,
    digest,
    digest_of_numbers,
    faithful_model,
    load,
)
from recipes.base.renamed import renamed
from recipes.base.sound import rich
from recipes.base.spec import Variant, Weights
from validators import reference
from validators.reference.cases import SoundCase
from validators.runners.pytorch import answers
from validators.runners.runner import Arrays
from validators.values import Case, fed

# Begins the names of the files that are fed sound as it is.
WHOLE = "model"


@dataclass(frozen=True)
class Origin:
    """Where weights are from: a file's name without folders, or "synthetic", or "numbers" where there are none.

    Then `sha256` is that of the configuration's own numbers.
    """

    weights: Weights
    file: str
    sha256: str


@dataclass(frozen=True)
class Subject:
    """A variant with weights, which `model` computes faithfully.

    `inputs` are the names of those that files are made for, and `fed_by(name)` gives the variant and its model as fed
    by one of them. `sounds` are the reference cases, not answered yet. `recordings` are the user's own sounds by the
    names of their cases, (samples,), whole where the network takes only a part. `streaming` is the variant that is fed
    chunks and its model, as the recipe has it, None where that is not asked for.
    """

    variant: Variant
    origin: Origin
    classes: tuple[labels.Label, ...]
    model: nn.Module
    facts: Facts
    inputs: tuple[str, ...]
    fed_by: Callable[[str], tuple[Variant, nn.Module]]
    sounds: Sequence[SoundCase]
    recordings: Mapping[str, NDArray[np.float32]]
    front_end: HostFrontEnd | None
    streaming: tuple[Variant, nn.Module] | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Branch:
    """The subject as fed by one of its inputs, and what its files are held to.

    `size` gives the length of the input's last axis for a sound of so many samples. `stem` begins its files' names.
    `recordings` are the user's own sounds as its files are fed them, by the names of their cases; those of a network
    that takes one length are whole, and as long as they are.
    """

    variant: Variant
    model: nn.Module
    facts: Facts
    cases: Sequence[Case]
    sweep: Sequence[Case]
    stem: str
    size: Callable[[int], int]
    recordings: Mapping[str, NDArray[np.float32]]


def settle(request: Request, variant: Variant, seconds: float | None, refuse: Callable[[Variant], None]) -> Subject:
    """Everything that the request says of what is converted; fetches the checkpoint where it must.

    `seconds` is the length that the reference's sounds have, None for the usual one. `refuse` raises UserError for a
    variant that cannot be made as asked, as this function does for all else.
    """
    recipe = load(variant.family)
    # A user's checkpoint may say what the network is; a published one is fetched only when all else is right.
    own = None
    if request.checkpoint:
        refuse_damaged(request.checkpoint, variants())
        own = recipe.read_checkpoint(request.checkpoint, variant)
    settled = own.variant if own else variant
    if settled != variant and request.name == variant.name:
        raise UserError(
            f"{request.checkpoint}: is of {settled.title}, and {variant.name} is asked for; "
            f"use `convert recipe {variant.family}`, which takes what the checkpoint says"
        )
    refuse(settled)
    sounds, recordings = _sounds(request, settled, seconds)
    state, origin = _weights(request, recipe, settled, own)
    count = recipe.classes(state) or settled.classes
    warnings = (*recipe.doubts(settled), *_doubts(request, settled, origin, count))
    counted = settled.with_classes(count)
    # Before its classes are named: a file may say that it has any number of them.
    network = faithful_model(counted, state)
    classes = _classes(request, settled, count)
    settled = request.giving(counted)
    settled = replace(settled, outputs=with_tolerances(settled.outputs, request.atol))
    names = request.names(settled)

    def fed_by(name: str) -> tuple[Variant, nn.Module]:
        fed = settled.fed_by({new: old for old, new in names.items()}.get(name, name))
        return fed.renamed(names), renamed(faithful_model(fed, state), names)

    variant = settled.renamed(names)
    streaming = None
    if request.streaming is not None and recipe.streaming is not None:
        chunked, block = recipe.streaming(settled, request.streaming)
        if (called := names.get(settled.input.name)) in {**chunked.input.fed(), **chunked.input.given(())}:
            raise UserError(f"two tensors would be called {called!r}; give each a name of its own")
        outputs = {old: new for old, new in names.items() if old != settled.input.name}
        streaming = chunked.renamed(outputs), renamed(block, outputs)
    return Subject(
        variant=variant,
        origin=origin,
        classes=classes,
        model=renamed(network, names),
        facts=facts_of(variant, origin.weights, origin.sha256, tuple(label.name for label in classes)),
        inputs=tuple(names.get(name, name) for name in request.inputs) or (variant.input.name,),
        fed_by=fed_by,
        sounds=sounds,
        recordings=recordings,
        front_end=recipe.front_end(settled) if recipe.front_end else None,
        streaming=streaming,
        warnings=warnings,
    )


def branches(subject: Subject, folder: Path, versions: dict[str, str]) -> Iterator[Branch]:
    """Writes the reference into the folder, and gives the subject as fed by each input that is asked for."""
    variant, model = subject.variant, subject.model
    kept = [name for name in subject.inputs if name != variant.input.name]
    head = reference.header(
        variant,
        weights=subject.origin.weights,
        checkpoint=subject.origin.file,
        sha256=subject.origin.sha256,
        versions=versions,
        fed=kept,
    )
    run = partial(_answers, model, [*(output.name for output in variant.outputs), *kept])
    reference.write(folder, head, subject.sounds, run, kept)
    return held_to(subject, reference.read(folder).cases, _sweep(model, variant, kept))


def held_to(subject: Subject, cases: Sequence[Case], sweep: Sequence[Case] = ()) -> Iterator[Branch]:
    """The subject as fed by each input that is asked for, held to these cases of the whole model."""
    variant = subject.variant
    whole = Branch(
        variant=variant,
        model=subject.model,
        facts=subject.facts,
        cases=cases,
        sweep=sweep,
        stem=WHOLE,
        size=int,
        recordings={
            name: sound.reshape(variant.input.shape(1, len(sound))) for name, sound in subject.recordings.items()
        },
    )
    for name in subject.inputs:
        yield whole if name == variant.input.name else _behind(whole, subject, name)
    if subject.streaming:
        yield _in_chunks(whole, *subject.streaming)


def _answers(model: nn.Module, names: Sequence[str], inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
    """Those of these names alone: a model gives more than files do."""
    outputs = answers(model, inputs)
    return {name: outputs[name] for name in names}


def _behind(whole: Branch, subject: Subject, name: str) -> Branch:
    """The same weights fed what the whole model gives out as `name`."""
    variant, model = subject.fed_by(name)

    def size(samples: int) -> int:
        silence = {whole.variant.input.name: np.zeros(whole.variant.input.shape(1, samples), np.float32)}
        return int(answers(whole.model, silence)[name].shape[-1])

    cases = fed(whole.cases, variant.input)
    return Branch(
        variant=variant,
        model=model,
        facts=replace(whole.facts, least_size=variant.input.least),
        cases=cases,
        sweep=fed(whole.sweep, variant.input),
        stem=f"{whole.stem}.{name}",
        size=size,
        recordings={case.name: case.inputs[name] for case in cases if case.name in whole.recordings},
    )


def _in_chunks(whole: Branch, variant: Variant, model: nn.Module) -> Branch:
    """The same sounds, which the same frames are expected of, chunk by chunk."""
    return replace(
        whole,
        variant=variant,
        model=model,
        facts=replace(whole.facts, least_size=variant.input.least),
        sweep=[case for case in whole.sweep if _is_short(case, variant.sample_rate)],
        stem="streaming",
        size=lambda samples: variant.input.default,
    )


def _is_short(case: Case, samples: int) -> bool:
    return all(array.shape[-1] <= samples for array in case.inputs.values())


def _sounds(
    request: Request, variant: Variant, seconds: float | None
) -> tuple[list[SoundCase], dict[str, NDArray[np.float32]]]:
    """The reference's sounds, and the user's own among them as they are before anything of them is cut off."""
    cases, recordings = reference.built_in(variant, seconds), {}
    for path in request.audio:
        most = audio.MOST_SAMPLES if variant.preparation else variant.input.most
        whole = waveform = audio.read(path, variant.sample_rate, most)
        if variant.preparation:
            whole = preparation.normalised(whole, variant.preparation.peak)
            waveform = preparation.fitted(whole, variant.input.default)
        audio.check(waveform, variant.sample_rate, variant.input.least, variant.input.most, origin=str(path))
        cases.append(reference.from_audio(variant, path.stem, waveform))
        recordings[cases[-1].name] = whole
    return cases, recordings


def _weights(
    request: Request, recipe: Recipe, variant: Variant, own: Checkpoint | None
) -> tuple[dict[str, Tensor], Origin]:
    if not variant.trained:
        return {}, Origin("computed", "numbers", digest_of_numbers(variant.front_end_numbers()))
    if own is None and request.weights == "synthetic":
        state = recipe.synthesize(variant)
        return state, Origin("synthetic", "synthetic", digest(state))
    found = own or recipe.read_checkpoint(fetch(variant, download_bar), variant)
    path = found.file
    # Some variants have tensors of the same names and shapes, so that each would load the others' weights.
    for other in variants():
        if other.name != variant.name and is_published(path, other):
            raise UserError(f"{path}: is the published checkpoint of {other.name}; use `convert recipe {other.name}`")
    weights: Weights = "published" if is_published(path, variant) else "custom"
    return found.state, Origin(weights, path.name, sha256(path))


def _doubts(request: Request, variant: Variant, origin: Origin, count: int) -> Iterator[str]:
    """About a checkpoint that nothing identifies; `count` classes are in it."""
    if origin.weights != "custom":
        return
    for other in variants():
        if variant.source and other.source and origin.file == other.source.file != variant.source.file:
            yield (
                f"{origin.file} has the name of {other.name}'s published checkpoint and is taken for one of "
                f"{variant.name}; if it is that file, use `convert recipe {other.name}`"
            )
    if request.labels is not None:
        return
    if variant.labels is None or count != variant.classes:
        yield f"{origin.file} has {count} classes of its own: they are numbered; --labels FILE names them"
    elif variant.source:
        yield (
            f"{origin.file} is not known to be the published checkpoint: its {count} classes are taken for those of "
            f"{variant.labels}; --labels FILE names others"
        )


def _classes(request: Request, variant: Variant, count: int) -> tuple[labels.Label, ...]:
    """What the checkpoint's classes are called."""
    if request.labels is not None:
        return labels.read(request.labels, count)
    if variant.labels is None or count != variant.classes:
        return labels.numbered(count)
    return labels.load(variant.labels)


def _sweep(model: nn.Module, variant: Variant, kept: Sequence[str]) -> list[Case]:
    """Batches of 1, 2 and 3 at the shortest, an odd, a 1 s and the default length, or at the only one.

    Files are fed what is in `kept`.
    """
    tensor = variant.input
    given = [output.name for output in variant.outputs]
    inner = [name for name in kept if name not in given]
    lengths = (tensor.least, 2 * tensor.least + 1, variant.sample_rate, tensor.default)
    cases = []
    for samples in lengths if not tensor.fixed else (tensor.default,):
        rows = np.stack([rich(samples, variant.sample_rate, seed) for seed in (1, 2, 3)])
        for batch in (1, 2, 3):
            inputs = {tensor.name: rows[:batch].reshape(tensor.shape(batch, samples))}
            outputs = answers(model, inputs)
            expected, fed_too = ({name: outputs[name] for name in names} for names in (given, inner))
            cases.append(Case(f"{batch} x {samples}", inputs, expected, fed_too))
    return cases
