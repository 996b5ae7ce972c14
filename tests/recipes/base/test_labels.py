import csv
from pathlib import Path

import pytest

from recipes.base import config, labels


def test_audioset_is_the_published_table(shared: Path) -> None:
    with (shared / "labels" / "class_labels_indices.csv").open(encoding="utf-8", newline="") as file:
        published = [(int(row["index"]), row["mid"], row["display_name"]) for row in csv.DictReader(file)]
    assert [(label.index, label.mid, label.name) for label in labels.load("audioset")] == published


def test_audioset() -> None:
    audioset = labels.load("audioset")
    assert [label.index for label in audioset] == list(range(527))
    assert len({label.mid for label in audioset}) == 527
    assert len({label.name for label in audioset}) == 527
    assert audioset[0] == labels.Label(0, "/m/09x0r", "Speech")
    assert audioset[1].name == "Male speech, man speaking"
    assert audioset[384].name == "Typing"


@pytest.mark.parametrize("variant", config.variants(), ids=lambda variant: variant.name)
def test_every_variant_has_a_label_per_class(variant: config.Variant) -> None:
    assert len(labels.load(variant.labels)) == variant.classes
