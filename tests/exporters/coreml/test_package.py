"""A saved package says what it is, and is the same bytes every time."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools as ct
import pytest

from exporters.coreml.convert import convert
from exporters.coreml.package import save
from exporters.lowering import lower
from recipes.base import labels
from recipes.base.facts import COREML_PREFIX, facts_of, from_strings

FILES = {
    "Manifest.json",
    "Data/com.apple.CoreML/model.mlmodel",
    "Data/com.apple.CoreML/weights/weight.bin",
}


def _files(package: Path) -> dict[str, bytes]:
    return {path.relative_to(package).as_posix(): path.read_bytes() for path in package.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def names() -> tuple[str, ...]:
    return tuple(label.name for label in labels.load("audioset"))


def test_two_conversions_give_the_same_bytes(
    package: Callable[..., Any], synthetic_pann: Any, pann: Any, names: tuple[str, ...], tmp_path: Path
) -> None:
    before = _files(package("mixed", 16001).path)
    again = convert(lower(synthetic_pann, pann), pann, precision="mixed", size=16001)
    save(again.model, tmp_path / "again.mlpackage", pann, facts_of(pann, "synthetic", "0" * 64, names), "mixed")
    assert before.keys() == FILES
    assert _files(tmp_path / "again.mlpackage") == before


def test_other_facts_are_other_bytes(
    package: Callable[..., Any], synthetic_pann: Any, pann: Any, names: tuple[str, ...], tmp_path: Path
) -> None:
    other = convert(lower(synthetic_pann, pann), pann, precision="mixed", size=16001)
    save(other.model, tmp_path / "other.mlpackage", pann, facts_of(pann, "custom", "1" * 64, names), "mixed")
    before, after = _files(package("mixed", 16001).path), _files(tmp_path / "other.mlpackage")
    assert {name for name in FILES if before[name] != after[name]} == {"Data/com.apple.CoreML/model.mlmodel"}


def test_the_package_holds_no_date_user_or_path(made_pann: Any) -> None:
    files = _files(made_pann.mlpackage)
    assert files.keys() == FILES
    for name in ("Manifest.json", "Data/com.apple.CoreML/model.mlmodel"):
        text = files[name].decode("utf-8", errors="replace")
        assert "conversion_date" not in text
        assert not re.search(r"20\d\d-\d\d-\d\d", text), name
        for private in (str(Path.home()) + "/", str(Path.cwd()), "/tmp/", "site-packages"):
            assert private not in text, (name, private)


def test_the_manifests_identifiers_follow_from_its_paths(package: Callable[..., Any]) -> None:
    manifests = [json.loads((package(*kind).path / "Manifest.json").read_text()) for kind in (("fp32",), ("fp16",))]
    assert manifests[0] == manifests[1]
    entries = manifests[0]["itemInfoEntries"]
    assert manifests[0]["rootModelIdentifier"] in entries
    assert {entry["path"] for entry in entries.values()} == {
        "com.apple.CoreML/model.mlmodel",
        "com.apple.CoreML/weights",
    }


def test_every_file_can_be_read_by_whoever_may_read_the_folder(made_pann: Any) -> None:
    rights = {path.stat().st_mode & 0o777 for path in made_pann.path.rglob("*") if path.is_file()}
    before = os.umask(0)
    os.umask(before)
    assert rights == {0o666 & ~before}


def test_the_package_describes_itself(made_pann: Any, pann: Any) -> None:
    description = ct.utils.load_spec(str(made_pann.mlpackage)).description
    metadata = description.metadata
    # Nobody's weights have nobody's licence.
    assert metadata.author == f"synthetic weights in the architecture of {pann.author}"
    assert metadata.license == "none: synthetic weights"
    assert metadata.shortDescription.startswith(pann.title)
    assert "synthetic weights" in metadata.shortDescription
    assert description.input[0].shortDescription == pann.input.description
    assert [feature.shortDescription for feature in description.output] == [o.description for o in pann.outputs]


def test_own_facts_stand_under_one_prefix(made_pann: Any, names: tuple[str, ...]) -> None:
    stored = dict(ct.utils.load_spec(str(made_pann.mlpackage)).description.metadata.userDefined)
    own = {key.removeprefix(COREML_PREFIX): value for key, value in stored.items() if key.startswith(COREML_PREFIX)}
    assert COREML_PREFIX == "org.soundport."
    assert {key for key in stored if not key.startswith(COREML_PREFIX)} <= {
        "com.github.apple.coremltools.source",
        "com.github.apple.coremltools.source_dialect",
        "com.github.apple.coremltools.version",
    }
    assert own["precision"] == "mixed"
    assert own["weights"] == "synthetic"
    assert json.loads(own["labels"]) == list(names)
    assert "Whack, thwack" in json.loads(own["labels"])
    assert from_strings(own, "model.mlpackage").labels == names
