"""manifest.json: what a made folder holds, what it was made from and with, and how it fared."""

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from convert import targets
from recipes.base import files, plain_json
from recipes.base.errors import UserError
from recipes.base.fields import STRICT, complaint
from recipes.base.recipe import digest_of_numbers
from recipes.base.spec import Weights
from recipes.base.tensor import Input, Output, Precision

MANIFEST = "manifest.json"
SCHEMA: Literal["soundport.manifest/3"] = "soundport.manifest/3"

# Twice what a folder of every format with all its checks failed takes.
MOST_BYTES = 2**24
# Ten times what a folder of every format has: each artifact is looked at in a process of its own.
_MOST_ARTIFACTS = 256
_AGAIN = "the file is damaged or from another version: make the folder again"

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, config=STRICT)
class FileEntry:
    size: Annotated[int, Field(ge=0, le=2**32)]
    sha256: _Sha256


@dataclass(frozen=True, config=STRICT)
class Rewritten:
    """A rewrite of the model that is fed `input`, and the place in it where it was applied."""

    input: str
    rewrite: str
    place: str


@dataclass(frozen=True, config=STRICT)
class Artifact:
    """How an artifact was made, and which of the manifest's inputs it is fed.

    `format` is the target's name, `settings` are all its options; one that asks for something more, or is of files that
    are fed chunks alone, is not asked for where a version that did not know it made the artifact. `size` fixes the
    input's last axis, None where that is free. `rewrites` were applied for it alone, behind those of the lowering.
    """

    format: str
    input: str
    precision: Precision
    size: Annotated[int, Field(gt=0)] | None
    settings: dict[str, int | float | str | tuple[str, ...] | None]
    rewrites: tuple[Rewritten, ...] = ()

    def __post_init__(self) -> None:
        options = {target.name: target.options for target in targets.TARGETS}.get(self.format)
        if options is None:
            raise ValueError(f"the format {self.format!r} is unknown")
        for option in (one for one in options if one.repeat or one.streaming):
            self.settings.setdefault(option.name, option.default)
        if self.settings.keys() != {option.name for option in options}:
            raise ValueError(f"has the settings {', '.join(self.settings) or '(none)'}, which are not {self.format}'s")
        for option in options:
            if not option.admits(self.settings[option.name]):
                raise ValueError(f"the setting {option.name} cannot be {self.settings[option.name]!r}")


@dataclass(frozen=True, config=STRICT)
class Manifest:
    """Everything that `convert check` needs to verify the folder again."""

    schema: Literal["soundport.manifest/3"]
    family: str
    variant: str
    title: str
    weights: Weights
    checkpoint_file: str
    checkpoint_sha256: _Sha256
    licence: str
    command: str
    versions: dict[str, str]
    sample_rate: Annotated[int, Field(gt=0)]
    # The output that ranks the classes; None where no artifact gives it.
    scores: str | None
    # What the front end makes of sound, an output or not; None where the network takes sound as it is.
    front_end: str | None
    input: Input
    # What else artifacts are fed: the result of the front end, or the sound in chunks.
    alternative_inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    # In the order in which they were applied; none where the authors' graph ships.
    lowering: tuple[Rewritten, ...]
    artifacts: Annotated[dict[str, Artifact], Field(max_length=_MOST_ARTIFACTS)]
    files: dict[str, FileEntry]
    results: dict[str, Any]
    # What stands for the checkpoint where a network has no weights: `checkpoint_sha256` is their digest.
    numbers: dict[str, Any] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.artifacts:
            raise ValueError("lists no artifact")
        if self.weights == "computed" and digest_of_numbers(self.numbers) != self.checkpoint_sha256:
            raise ValueError("checkpoint_sha256 is not the digest of the numbers")
        ordered = sorted(self.files)
        for name in self.artifacts if ordered else ():
            # A package is a folder; whatever is loaded must be among the files whose bytes are checked.
            inside = f"{name}/"
            place = bisect_left(ordered, inside)
            if name not in self.files and not any(file.startswith(inside) for file in ordered[place : place + 1]):
                raise ValueError(f"the artifact {name!r} is not among the files")

    def fed_by(self, name: str) -> tuple[Input, tuple[Output, ...]]:
        """The input of that name and the outputs of an artifact that takes it. Raises UserError if there is none."""
        for tensor in (self.input, *self.alternative_inputs):
            if tensor.name == name:
                return tensor, tuple(output for output in self.outputs if output.name != name)
        raise UserError(f"{MANIFEST}: an artifact is fed {name!r}, which is no input; make the folder again")


def rewrites_in_words(lowering: Iterable[Rewritten], artifacts: Mapping[str, Artifact]) -> list[str]:
    """Each with its place: those that all artifacts have, then those of each alone."""
    of = [("lowering", lowering), *((name, artifact.rewrites) for name, artifact in artifacts.items())]
    return [f"{name}, fed {one.input}: {one.rewrite}: {one.place}" for name, applied in of for one in applied]


def write(manifest: Manifest, folder: Path) -> None:
    text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest:
    """The manifest of a made folder; UserError when there is none or it is damaged."""
    path = folder / MANIFEST
    if path.is_symlink():
        raise UserError(f"{path}: is a link, which may lead anywhere; give a folder that holds the file itself")
    try:
        content = files.content(path, MOST_BYTES)
        plain_json.read(content)
        manifest = TypeAdapter(Manifest).validate_json(content)
    except FileNotFoundError:
        what = f"has no {MANIFEST}" if folder.is_dir() else "there is no such folder"
        raise UserError(f"{folder}: {what}; `convert recipe` makes such folders") from None
    except NotADirectoryError:
        raise UserError(f"{folder}: is no folder; name the one that `convert recipe` made") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "top level"
        raise UserError(f"{path}: {place}: {complaint(first['msg'])}; {_AGAIN}") from None
    except ValueError as error:
        raise UserError(f"{path}: top level: is no JSON, or only a part of it ({error}); {_AGAIN}") from None
    if not manifest.files or any(Path(name).is_absolute() or ".." in Path(name).parts for name in manifest.files):
        raise UserError(f"{path}: files: lists none, or some outside the folder; make the folder again")
    return manifest


def artifacts_in(folder: Path) -> list[Path]:
    """The artifacts of a made folder; none where it is no such folder."""
    try:
        return [folder / name for name in read(folder).artifacts]
    except UserError:
        return []
