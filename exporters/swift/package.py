"""The package's folder: Swift files as they are, and the model and its facts as resources."""

from importlib.resources import as_file, files
from pathlib import Path

from exporters import about
from recipes.base.facts import Facts
from recipes.base.spec import Variant

RESOURCES = "Sources/SoundTagger/Model"
COMMAND = "Sources/tag/Tag.swift"

_PACKAGE = files("exporters.swift") / "package"


def static() -> dict[str, bytes]:
    """The package's own files, which are the same for all models, by their path in it."""
    with as_file(_PACKAGE) as package:
        return {path.relative_to(package).as_posix(): path.read_bytes() for path in package.rglob("*.swift")}


def command() -> str:
    """The program that tags the files it is given, which is how an app does it too."""
    return (_PACKAGE / COMMAND).read_text(encoding="utf-8")


def write(folder: Path, variant: Variant, facts: Facts, size: int | None) -> None:
    """All but the model, whose place is in RESOURCES; `size` is the one length of its input, None where it is free."""
    for name, content in static().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / RESOURCES).mkdir(exist_ok=True)
    about.write(about.about(variant, facts, size), folder / RESOURCES)
