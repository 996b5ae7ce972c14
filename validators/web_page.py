"""Whether a web page's folder is what it should be, before any browser opens it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import onnx

from recipes.base import files, plain_json
from recipes.base.errors import UserError
from recipes.base.spec import Input, Output
from validators.onnx_file import check_onnx_file
from validators.onnx_tensors import content
from validators.results import Check, judged

_MOST_BYTES = 2**26
_MODEL = "model.onnx"
_ABOUT = "model.json"


def check_web_page(
    folder: Path, tensor: Input, outputs: tuple[Output, ...], opset: int, known: Mapping[str, str]
) -> list[Check]:
    """The page's own files, the model and what is said of it; a failed check says what was found and expected.

    `known` is the SHA-256 of each file that all pages have.
    """
    model = folder / _MODEL
    checks = [judged(folder.name, "fp32", "file", script_faults(folder, known))]
    checks += [replace(check, artifact=folder.name) for check in check_onnx_file(model, tensor, outputs, opset)]
    if any(check.status == "failed" for check in checks):
        return checks
    return [*checks, judged(folder.name, "fp32", "rules", _about_faults(folder, model, tensor, outputs))]


def script_faults(folder: Path, known: Mapping[str, str]) -> Iterator[str]:
    """What of the page's own files is missing or another; and whatever else a browser would run."""
    for name, sha256 in known.items():
        try:
            found = hashlib.sha256(files.content(folder / name, _MOST_BYTES)).hexdigest()
        except OSError:
            yield f"{name} is missing; make the page again"
            continue
        if found != sha256:
            yield f"{name} is not that of this version of soundport; make the page again"


def about(folder: Path) -> dict[str, object]:
    """What the page reads of the model. Raises UserError where that is no JSON object."""
    path = folder / _ABOUT
    try:
        found = plain_json.read(files.content(path, _MOST_BYTES))
    except (OSError, ValueError) as error:
        raise UserError(f"{_ABOUT} cannot be read ({error}); make the page again") from None
    if not isinstance(found, dict):
        raise UserError(f"{_ABOUT} is no JSON object; make the page again")
    return found


def _about_faults(folder: Path, model: Path, tensor: Input, outputs: tuple[Output, ...]) -> Iterator[str]:
    """What model.json has against the model, and against the files beside it."""
    try:
        said = about(folder)
    except UserError as error:
        yield str(error)
        return
    facts = {item.key: item.value for item in onnx.load_from_string(content(model)).metadata_props}
    expected = {
        "facts": facts,
        "input": {"name": tensor.name, "axes": list(tensor.axes), "default": tensor.default, "most": tensor.most},
        "outputs": [{"name": output.name, "axes": list(output.axes), "kind": output.kind} for output in outputs],
    }
    for key, value in expected.items():
        if said.get(key) != value:
            yield f"{_ABOUT} says other {key} than the model has"
    sounds = said.get("sounds")
    for sound in sounds if isinstance(sounds, list) else ():
        name = sound.get("file") if isinstance(sound, dict) else None
        if not isinstance(name, str) or Path(name).parent != Path("sounds") or not (folder / name).is_file():
            yield f"{_ABOUT} names a sound that is not there: {name!r}"
