"""Saving a `.mlpackage` that says what it is, the same bytes every time."""

import json
import uuid
from pathlib import Path

import coremltools as ct
from coremltools.proto import Model_pb2

from recipes.base.facts import COREML_PREFIX, Facts, summary
from recipes.base.quiet import quiet
from recipes.base.spec import Variant
from recipes.base.tensor import Precision

_DATE = "com.github.apple.coremltools.conversion_date"


def save(model: ct.models.MLModel, path: Path, variant: Variant, facts: Facts, precision: Precision) -> None:
    """Write the package to `path`, with descriptions and metadata, free of dates and random identifiers."""
    _describe(model, variant, facts, precision)
    with quiet("coremltools"):
        model.save(str(path))
    _pin_bytes(path)


def _describe(model: ct.models.MLModel, variant: Variant, facts: Facts, precision: Precision) -> None:
    model.author = facts.author
    model.license = facts.license
    model.version = facts.version
    model.short_description = summary(variant, facts)
    texts = variant.input.descriptions(variant.outputs)
    for name in variant.input.fed():
        model.input_description[name] = texts[name]
    for name in variant.input.given(variant.outputs):
        model.output_description[name] = texts[name]
    own = facts.to_strings() | {"precision": precision}
    for key, value in own.items():
        model.user_defined_metadata[COREML_PREFIX + key] = value
    model.user_defined_metadata.pop(_DATE, None)


def _pin_bytes(path: Path) -> None:
    """The manifest names its items by random UUIDs, and protobuf writes maps in any order: settle both."""
    manifest_path = path / "Manifest.json"
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    entries = manifest["itemInfoEntries"]
    names = {old: str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])).upper() for old, item in entries.items()}
    manifest["itemInfoEntries"] = {names[old]: item for old, item in entries.items()}
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    manifest_path.write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n", encoding="utf-8")

    spec_path = path / "Data" / "com.apple.CoreML" / "model.mlmodel"
    spec = Model_pb2.Model()
    spec.ParseFromString(spec_path.read_bytes())
    # coremltools makes the folder private to its owner.
    for folder in (path, *(entry for entry in path.rglob("*") if entry.is_dir())):
        folder.chmod(path.parent.stat().st_mode & 0o777)
    # A new file, with any new file's rights: coremltools leaves one that its owner alone can read.
    spec_path.unlink()
    spec_path.write_bytes(spec.SerializeToString(deterministic=True))
