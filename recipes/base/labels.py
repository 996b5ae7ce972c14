"""The classes that the models tell apart."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal


@dataclass(frozen=True)
class Label:
    """`index` is the place on the class axis, `mid` AudioSet's machine id; many names hold commas."""

    index: int
    mid: str
    name: str


@cache
def load(labels: Literal["audioset"]) -> tuple[Label, ...]:
    """All labels of a set, by index.

    AudioSet: the 527 classes of Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events",
    2017 (https://research.google.com/audioset/), in the order of its `class_labels_indices.csv`.
    """
    text = resources.files("recipes.base").joinpath(f"{labels}.csv").read_text(encoding="utf-8")
    return tuple(Label(int(row["index"]), row["mid"], row["name"]) for row in csv.DictReader(text.splitlines()))
