"""The page's folder: static files as they are, and the model, its facts and sounds beside them."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from exporters import about
from exporters.web import runtime
from recipes.base.facts import Facts
from recipes.base.spec import Variant

MODEL = "model.onnx"
SOUNDS = "sounds"
RUNTIME = "ort"

_PAGE = Path(__file__).parent / "page"


def static() -> dict[str, bytes]:
    """The page's own files, which are the same for all models, by their path in the folder."""
    return {path.relative_to(_PAGE).as_posix(): path.read_bytes() for path in _PAGE.rglob("*") if path.is_file()}


def write(folder: Path, model: Path, variant: Variant, facts: Facts, sounds: Mapping[str, Path], package: Path) -> None:
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
    size = variant.input.default if variant.input.fixed else None
    choices = [{"name": name, "file": f"{SOUNDS}/{path.name}"} for name, path in sounds.items()]
    about.write({**about.about(variant, facts, size), "sounds": choices}, folder)
