"""Whether a web page's folder is what it should be, before any browser opens it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import onnx

from recipes.base.errors import UserError
from recipes.base.tensor import Input, Output
from validators import about
from validators.known import foreign_faults
from validators.onnx_file import check_onnx_file
from validators.onnx_tensors import content
from validators.results import Check, judged

_MODEL = "model.onnx"


def check_web_page(
    folder: Path, tensor: Input, outputs: tuple[Output, ...], opset: int, known: Mapping[str, str]
) -> list[Check]:
    """The page's own files, the model and what is said of it; a failed check says what was found and expected.

    `known` is the SHA-256 of each file that all pages have.
    """
    model = folder / _MODEL
    checks = [judged(folder.name, "fp32", "file", foreign_faults(folder, known))]
    checks += [replace(check, artifact=folder.name) for check in check_onnx_file(model, tensor, outputs, opset)]
    if any(check.status == "failed" for check in checks):
        return checks
    return [*checks, judged(folder.name, "fp32", "rules", _about_faults(folder, model, tensor, outputs))]


def _about_faults(folder: Path, model: Path, tensor: Input, outputs: tuple[Output, ...]) -> Iterator[str]:
    """What model.json has against the model, and against the files beside it."""
    facts = {item.key: item.value for item in onnx.load_from_string(content(model)).metadata_props}
    try:
        said = about.read(folder)
    except UserError as error:
        yield str(error)
        return
    yield from about.faults(said, facts, tensor, outputs, tensor.default if tensor.fixed else None)
    sounds = said.get("sounds")
    if not isinstance(sounds, list):
        yield f"{about.FILE} has no list of sounds"
        return
    for sound in sounds:
        name = sound.get("file") if isinstance(sound, dict) else None
        if not isinstance(name, str) or Path(name).parent != Path("sounds") or not (folder / name).is_file():
            yield f"{about.FILE} names a sound that is not there: {name!r}"
