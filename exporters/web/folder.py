"""The page's folder: static files as they are, and the model, its facts and sounds beside them."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path

from exporters.web import runtime
from recipes.base.facts import Facts
from recipes.base.spec import Variant

MODEL = "model.onnx"
ABOUT = "model.json"
SOUNDS = "sounds"
RUNTIME = "ort"

_PAGE = files("exporters.web") / "page"


def static() -> dict[str, bytes]:
    """The page's own files, which are the same for all models, by their path in the folder."""
    with as_file(_PAGE) as page:
        return {path.relative_to(page).as_posix(): path.read_bytes() for path in page.rglob("*") if path.is_file()}


def write(
    folder: Path, model: Path, variant: Variant, facts: Facts, sounds: Mapping[str, Path], package: Path
) -> None:
    """Fills the folder, which is there: `sounds` are WAV files by the names that people choose them by.

    `package` is that of ONNX Runtime Web.
    """
    for name, content in static().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    runtime.unpack(package, folder / RUNTIME)
    shutil.copyfile(model, folder / MODEL)
    (folder / SOUNDS).mkdir()
    for sound in sounds.values():
        shutil.copyfile(sound, folder / SOUNDS / sound.name)
    text = json.dumps(_about(variant, facts, [*sounds.items()]), indent=1, ensure_ascii=False)
    (folder / ABOUT).write_text(text + "\n", encoding="utf-8")


def _about(variant: Variant, facts: Facts, sounds: Sequence[tuple[str, Path]]) -> dict[str, object]:
    """What the page reads of the model; docs/web.md says what each key is."""
    tensor = variant.input
    return {
        "title": variant.title,
        "facts": facts.to_strings(),
        "input": {key: asdict(tensor)[key] for key in ("name", "axes", "default", "most")},
        "outputs": [{"name": output.name, "axes": output.axes, "kind": output.kind} for output in variant.outputs],
        "front_end": variant.coreml.float32_through,
        "sounds": [{"name": name, "file": f"{SOUNDS}/{path.name}"} for name, path in sounds],
    }
