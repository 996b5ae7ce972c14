"""What the shipped file says of itself: each key once, labels with their commas, nothing of whoever made it."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from exporters.onnx.metadata import describe
from recipes.base import labels
from recipes.base.facts import facts_of, from_strings


@pytest.fixture(scope="module")
def model(made_pann: Any) -> onnx.ModelProto:
    return onnx.load(str(made_pann.onnx))


def test_each_key_stands_once(model: onnx.ModelProto) -> None:
    keys = [item.key for item in model.metadata_props]
    assert len(keys) == len(set(keys))
    facts = {item.key: item.value for item in model.metadata_props}
    assert facts["model_type"] == "pann"
    assert facts["variant"] == "mobilenetv1"
    assert facts["weights"] == "synthetic"
    assert facts["sample_rate"] == "32000"
    assert facts["license"] == "none: synthetic weights"
    assert facts["source"] == "synthetic"
    assert facts["scores"] == "clipwise"


def test_labels_keep_their_commas(model: onnx.ModelProto) -> None:
    (text,) = (item.value for item in model.metadata_props if item.key == "labels")
    names = json.loads(text)
    assert names == [label.name for label in labels.load("audioset")]
    assert len(names) == 527
    assert sum("," in name for name in names) == 75
    assert from_strings({item.key: item.value for item in model.metadata_props}, "").labels == tuple(names)


def test_inputs_and_outputs_are_described(model: onnx.ModelProto, pann: Any) -> None:
    assert model.graph.input[0].doc_string == pann.input.description
    assert [value.doc_string for value in model.graph.output] == [output.description for output in pann.outputs]
    assert pann.title in model.doc_string
    assert "synthetic weights" in model.doc_string


def test_describing_twice_changes_nothing(model: onnx.ModelProto, pann: Any) -> None:
    names = tuple(label.name for label in labels.load("audioset"))
    twice = onnx.ModelProto()
    twice.CopyFrom(model)
    facts = facts_of(pann, "synthetic", "0" * 64, names)
    describe(twice, pann, facts)
    once = twice.SerializeToString(deterministic=True)
    describe(twice, pann, facts)
    assert twice.SerializeToString(deterministic=True) == once


def test_nothing_tells_who_made_it_where_or_when(model: onnx.ModelProto, made_pann: Any) -> None:
    assert model.producer_name == "soundport"
    content = made_pann.onnx.read_bytes()
    for private in (
        str(Path.home()) + "/",
        str(Path.cwd()),
        "site-packages",
        "onnxsim",
        "pkg.torch",
    ):
        assert private.encode() not in content, private
