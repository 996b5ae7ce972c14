"""What a variant is once it is read: fed by another input, called otherwise, of one length."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from recipes.base.config import find
from recipes.base.errors import UserError
from recipes.base.renamed import renamed
from recipes.base.spec import Preparation
from recipes.base.tensor import Input

MN = find("mn04_as")


def test_tensors_are_called_as_asked() -> None:
    called = MN.renamed({"waveform": "images", "logits": "output", "melspec": "features"})
    assert called.input.name == "images"
    assert [output.name for output in called.outputs] == ["output", "embedding", "features"]
    assert [tensor.name for tensor in called.alternative_inputs] == ["features"]
    assert (called.scores, called.coreml.float32_through) == ("output", "features")
    assert called.fed_by("features").coreml.float32_through is None
    assert MN.renamed({}) == MN


def test_outputs_are_chosen_in_the_order_of_the_variant() -> None:
    chosen = MN.giving(["melspec", "logits"])
    assert [output.name for output in chosen.outputs] == ["logits", "melspec"]
    assert (chosen.scores, chosen.fed_by("melspec").scores) == ("logits", "logits")
    assert MN.giving(["melspec", "embedding", "logits"]) == MN
    assert chosen.with_classes(3).outputs[0].axes == ("batch", 3)


def test_what_is_left_out_is_neither_ranked_nor_renamed() -> None:
    chosen = MN.giving(["embedding"])
    assert (chosen.scores, chosen.coreml.float32_through) == (None, "melspec")
    called = chosen.renamed({"embedding": "logits"})
    assert (called.scores, [output.name for output in called.outputs]) == (None, ["logits"])
    with pytest.raises(UserError, match="has no tensor 'logits' to rename; it has waveform, embedding"):
        chosen.renamed({"logits": "scores"})
    with pytest.raises(UserError, match="two tensors would be called 'melspec'"):
        chosen.renamed({"embedding": "melspec"})


def test_outputs_that_cannot_be_chosen() -> None:
    with pytest.raises(UserError, match="mn04_as has no output 'scores'; choose from logits, embedding, melspec"):
        MN.giving(["logits", "scores"])
    with pytest.raises(UserError, match="mn04_as gives no melspec when it is fed that; choose another output too"):
        MN.giving(["melspec"]).fed_by("melspec")
    with pytest.raises(ValidationError, match="names the output 'logits', which is not among embedding"):
        replace(MN.giving(["embedding"]), scores="logits")


@pytest.mark.parametrize(
    ("names", "part"),
    [
        ({"sound": "images"}, "has no tensor 'sound' to rename; it has waveform, logits, embedding, melspec"),
        ({"logits": "the-output"}, "'the-output' cannot name a tensor"),
        ({"logits": "1st"}, "'1st' cannot name a tensor"),
        ({"logits": ""}, "'' cannot name a tensor"),
        ({"logits": "x\n"}, "cannot name a tensor"),
        ({"logits": "func"}, "'func' cannot name a tensor: in some formats it is a word of their own"),
        ({"waveform": "string"}, "'string' cannot name a tensor: in some formats it is a word of their own"),
        ({"logits": "embedding"}, "two tensors would be called"),
        ({"logits": "Embedding"}, "two tensors would be called 'Embedding', in capitals or not"),
        ({"waveform": "logits"}, "two tensors would be called"),
    ],
)
def test_names_that_cannot_be(names: dict[str, str], part: str) -> None:
    with pytest.raises(UserError, match=part):
        MN.renamed(names)


def test_two_names_may_change_places() -> None:
    called = MN.renamed({"logits": "embedding", "embedding": "logits"})
    assert [output.name for output in called.outputs] == ["embedding", "logits", "melspec"]


def test_a_model_answers_under_the_names_asked_for() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"once": x, "twice": 2 * x}

    outputs = renamed(Two(), {"twice": "output", "waveform": "images"})(torch.ones(1))
    assert {name: value.item() for name, value in outputs.items()} == {"once": 1.0, "output": 2.0}
    # What is left out may lose its name to another.
    outputs = renamed(Two(), {"twice": "once"})(torch.ones(1))
    assert {name: value.item() for name, value in outputs.items()} == {"once": 2.0}
    outputs = renamed(Two(), {"twice": "once", "once": "twice"})(torch.ones(1))
    assert {name: value.item() for name, value in outputs.items()} == {"twice": 1.0, "once": 2.0}
    model = Two()
    assert renamed(model, {}) is model


def _input(**said: object) -> Input:
    return Input(name="x", description="Sound", **said)


def test_a_last_axis_that_is_a_number_is_every_bound() -> None:
    fixed = _input(axes=("batch", 1, 114688))
    assert fixed.fixed
    assert (fixed.least, fixed.default, fixed.most) == (114688, 114688, 114688)
    assert fixed.shape(3, 114688) == (3, 1, 114688)
    # As a manifest has it.
    assert _input(axes=("batch", 1, 8), least=8, default=8, most=8) == _input(axes=("batch", 1, 8))
    assert not MN.input.fixed


@pytest.mark.parametrize(
    "said",
    [
        {"axes": ("batch", 1, 8), "least": 4},
        {"axes": ("batch", 1, 8), "most": 9},
        {"axes": ("batch", "samples")},
        {"axes": ("batch", "samples"), "least": 1, "default": 2},
        {"axes": ("batch", "samples"), "least": 3, "default": 2, "most": 4},
        {"axes": ("batch", "samples"), "least": -1, "default": 2, "most": 4},
    ],
)
def test_bounds_that_contradict_each_other(said: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        _input(**said)


def test_only_what_takes_one_length_is_prepared_to_it() -> None:
    with pytest.raises(ValidationError, match="is prepared to a fixed length, and its input has none"):
        replace(MN, preparation=Preparation(peak=0.95))
