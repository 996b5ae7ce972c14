"""PANN as the exporter converts it, in every precision and length that the tests look at."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class SavedPackage:
    """A saved package; `pads` are the names of the handlers that wrote its pads."""

    path: Path
    pads: tuple[str, ...]


@pytest.fixture(scope="session")
def package(made_once: Callable[..., Path], pann: Any, request: pytest.FixtureRequest) -> Callable[..., SavedPackage]:
    """`package(precision, size)`: the synthetic model converted and saved."""

    def get(precision: str, size: int | None = None) -> SavedPackage:
        def make(folder: Path) -> None:
            from exporters.coreml.convert import convert
            from exporters.coreml.package import save
            from exporters.lowering import lower
            from recipes.base import labels
            from recipes.base.facts import facts_of

            names = tuple(label.name for label in labels.load("audioset"))
            lowered = lower(request.getfixturevalue("synthetic_pann"), pann)
            converted = convert(lowered, pann, precision=precision, size=size)
            facts = facts_of(pann, "synthetic", "0" * 64, names)
            save(converted.model, folder / "model.mlpackage", pann, facts, precision)
            (folder / "pads.json").write_text(json.dumps([pad.handler for pad in converted.pads]))

        folder = made_once(f"{precision}-{size or 'free'}", make)
        return SavedPackage(folder / "model.mlpackage", tuple(json.loads((folder / "pads.json").read_text())))

    return get
