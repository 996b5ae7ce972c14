"""The classes that the models tell apart."""

import csv
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from recipes.base.errors import UserError


@dataclass(frozen=True)
class Label:
    """`index` is the place on the class axis, `mid` AudioSet's machine id; many names hold commas."""

    index: int
    mid: str
    name: str


def read(path: Path, classes: int) -> tuple[Label, ...]:
    """A user's labels, by index: a text file with a name a line, or a labels.json as `convert recipe` writes it.

    Raises UserError for another count than `classes`.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            found = tuple(Label(index, str(row["mid"]), str(row["name"])) for index, row in enumerate(json.loads(text)))
        else:
            found = tuple(Label(index, "", name.strip()) for index, name in enumerate(text.splitlines()))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{path}: is no list of labels; write one name a line, or a labels.json") from None
    if len(found) != classes or not all(label.name for label in found):
        raise UserError(
            f"{path}: names {len(found)} classes and the checkpoint has {classes}; one name a line, none empty"
        )
    return found


def numbered(classes: int) -> tuple[Label, ...]:
    """Stand-ins where nobody has said what the classes are."""
    return tuple(Label(index, "", f"class {index}") for index in range(classes))


@cache
def load(labels: Literal["audioset"]) -> tuple[Label, ...]:
    """All labels of a set, by index.

    AudioSet: the 527 classes of Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events",
    2017 (https://research.google.com/audioset/), in the order of its `class_labels_indices.csv`.
    """
    text = resources.files("recipes.base").joinpath(f"{labels}.csv").read_text(encoding="utf-8")
    return tuple(Label(int(row["index"]), row["mid"], row["name"]) for row in csv.DictReader(text.splitlines()))
