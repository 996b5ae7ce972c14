"""The package's folder: Swift files as they are, and the model and its facts as resources."""

from pathlib import Path

from exporters import about
from exporters.swift import PACKAGE, RESOURCES
from recipes.base.facts import Facts
from recipes.base.spec import Variant


def static() -> dict[str, bytes]:
    """The package's own files, which are the same for all models, by their path in it."""
    return {path.relative_to(PACKAGE).as_posix(): path.read_bytes() for path in PACKAGE.rglob("*.swift")}


def write(folder: Path, variant: Variant, facts: Facts, size: int | None) -> None:
    """All but the model, whose place is in RESOURCES; `size` is the one length of its input, None where it is free."""
    for name, content in static().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / RESOURCES).mkdir(exist_ok=True)
    about.write(about.about(variant, facts, size), folder / RESOURCES)
