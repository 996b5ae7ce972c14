"""manifest.json: what a made folder holds, what it was made from and with, and how it fared."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from recipes.base.errors import UserError
from recipes.base.spec import STRICT, Input, Output, Precision, Weights

MANIFEST = "manifest.json"

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, config=STRICT)
class FileEntry:
    size: int
    sha256: _Sha256


@dataclass(frozen=True, config=STRICT)
class Artifact:
    """How an artifact was made. `opset` is ONNX's; `size` fixes the input's last axis, None where it is free."""

    precision: Precision
    opset: int | None = None
    size: int | None = None


@dataclass(frozen=True, config=STRICT)
class Manifest:
    """Everything that `convert check` needs to verify the folder again."""

    schema: Literal["soundport.manifest/1"]
    family: str
    variant: str
    title: str
    weights: Weights
    checkpoint_file: str
    checkpoint_sha256: _Sha256
    licence: str
    command: str
    versions: dict[str, str]
    sample_rate: int
    scores: str
    input: Input
    outputs: tuple[Output, ...]
    artifacts: dict[str, Artifact]
    files: dict[str, FileEntry]
    results: dict[str, Any]


def write(manifest: Manifest, folder: Path) -> None:
    text = json.dumps(asdict(manifest), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest:
    """The manifest of a made folder; UserError when there is none or it is damaged."""
    path = folder / MANIFEST
    try:
        return TypeAdapter(Manifest).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder}: has no {MANIFEST}; `convert recipe` makes such folders") from None
    except NotADirectoryError:
        raise UserError(f"{folder}: is no folder; name the one that `convert recipe` made") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "top level"
        raise UserError(
            f"{path}: {place}: {first['msg']}; the file is damaged or from another version: make the folder again"
        ) from None
