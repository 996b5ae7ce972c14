"""What a made folder was made of, once more: its manifest says how, and the same code settles it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from convert.manifest import MANIFEST, Manifest
from convert.request import Request
from convert.subject import Subject, settle
from recipes.base.checkpoint import sha256
from recipes.base.config import find
from recipes.base.download import cached
from recipes.base.errors import UserError

_SWITCH = "--no-lowering"


class AbsentError(UserError):
    """The checkpoint that a folder was made of is not here."""


def settled_again(
    folder: Path, manifest: Manifest, checkpoint: Path | None = None, audio: tuple[Path, ...] = ()
) -> Subject:
    """The subject as `convert recipe` settled it, from the same weights: by their checksum they are.

    Real weights are those in the cache, or in `checkpoint`. Nothing is fetched, and what the command named beside that
    is not looked for: the folder has the sounds, the labels and the numbers. `audio` are more sounds.

    Raises AbsentError where the weights are not here, and UserError where they are others, or this version makes of
    them something else than the folder has.
    """
    request = request_of(folder, manifest, _weights(manifest, checkpoint), audio)
    variant = request.variant()
    drawn = request.checkpoint is not None or request.weights == "synthetic" or not variant.trained
    # Weights of another variant than the one that was looked for in the cache would be fetched.
    if not drawn and (manifest.weights, manifest.variant) != ("published", variant.name):
        raise UserError(
            f"{folder / MANIFEST}: command: is of {variant.name} with published weights, and the folder of "
            f"{manifest.variant} with {manifest.weights} ones; make the folder again"
        )
    subject = settle(request, variant, None, lambda variant: None)
    if subject.origin.sha256 != manifest.checkpoint_sha256:
        raise UserError(
            f"{folder}: was made of other {manifest.weights} weights than this version has (SHA-256 "
            f"{manifest.checkpoint_sha256[:12]}…, here {subject.origin.sha256[:12]}…); make the folder again"
        )
    variant = subject.variant
    if (variant.name, variant.input, variant.outputs) != (manifest.variant, manifest.input, manifest.outputs):
        raise UserError(
            f"{folder / MANIFEST}: this version has other inputs, outputs or tolerances for {manifest.variant}; make "
            "the folder again"
        )
    return subject


def request_of(folder: Path, manifest: Manifest, checkpoint: Path | None, audio: tuple[Path, ...] = ()) -> Request:
    """What was asked for. Raises UserError where the manifest's command is none that `Request.command` wrote."""
    name, given = _words(folder / MANIFEST, manifest.command)
    settings = {option: value for one in manifest.artifacts.values() for option, value in one.settings.items()}
    numbers = manifest.numbers if {"--set", "--config"} & given.keys() else {}
    return Request(
        name=name,
        formats=tuple(dict.fromkeys(one.format for one in manifest.artifacts.values())),
        checkpoint=checkpoint,
        weights="synthetic" if manifest.weights == "synthetic" else "published",
        # Nothing is written there.
        output=folder,
        inputs=given.get("--input", ()),
        outputs=given.get("--output", ()),
        config=None,
        numbers=tuple(f"{key}={json.dumps(value)}" for key, value in numbers.items()),
        labels=folder / "labels.json" if "--labels" in given else None,
        audio=audio,
        atol=given.get("--atol", ()),
        input_name=next(iter(given.get("--input-name", ())), None),
        output_names=given.get("--output-name", ()),
        lowering=_SWITCH not in given,
        options=settings,
        streaming=next(iter(map(int, given.get("--streaming", ()))), None),
    )


def _words(path: Path, command: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """The recipe's name, and what was given by each option."""
    given: dict[str, tuple[str, ...]] = {}
    try:
        convert, recipe, name, *rest = shlex.split(command)
        if (convert, recipe) != ("convert", "recipe"):
            raise ValueError
        words = iter(rest)
        for flag in words:
            if not flag.startswith("--"):
                raise ValueError
            given[flag] = (*given.get(flag, ()), "" if flag == _SWITCH else next(words))
        # It is a number of hops.
        list(map(int, given.get("--streaming", ())))
    except (ValueError, StopIteration):
        raise UserError(f"{path}: command: is no `convert recipe`; make the folder again") from None
    return name, given


def _weights(manifest: Manifest, checkpoint: Path | None) -> Path | None:
    """The checkpoint to read, None where the cache has it or none is needed. Raises UserError for another."""
    named = manifest.checkpoint_file
    if manifest.weights in ("synthetic", "computed"):
        if checkpoint is not None:
            raise UserError(f"--checkpoint: the folder has {manifest.weights} weights; leave it out")
        return None
    if checkpoint is None:
        published = cached(find(manifest.variant)) if manifest.weights == "published" else None
        if published is None:
            fetched = f", or `convert recipe {manifest.variant}` fetches it" if manifest.weights == "published" else ""
            raise AbsentError(f"{named}, which the folder was made of, is not here: give it by --checkpoint{fetched}")
        return None
    if checkpoint.is_file() and (found := sha256(checkpoint)) != manifest.checkpoint_sha256:
        raise UserError(
            f"{checkpoint}: is not the checkpoint that the folder was made of, {named}: its SHA-256 is {found} instead "
            f"of {manifest.checkpoint_sha256}"
        )
    return checkpoint
