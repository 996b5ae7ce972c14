"""Packages of some of a model's outputs: `mixed` keeps the front end in float32 where its end is no output."""

from dataclasses import replace
from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from exporters.coreml.convert import convert
from exporters.coreml.package import save
from exporters.lowering import lowered, shipped
from exporters.lowering.shipped import Shipped
from recipes.base.facts import facts_of
from recipes.base.tensor import Input
from validators.coreml import CoreMLModel

SAMPLES = 640


class Tagger(nn.Module):
    """A front end whose floor float16 cannot hold, and a trunk with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, 8, 64, 32, bias=False)
        self.norm = nn.BatchNorm1d(8)
        self.trunk = nn.Conv1d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 5)
        assert self.norm.running_mean is not None
        self.norm.running_mean.fill_(-50)
        self.norm.running_var.fill_(900)  # type: ignore[union-attr]

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        power = self.filters(waveform[:, None]) ** 2
        melspec = 10 * torch.log10(torch.clamp(power, min=1e-10))
        seen = torch.relu(self.trunk(self.norm(melspec)))
        return {"clipwise": torch.sigmoid(self.fc(seen.mean(dim=2))), "framewise": seen, "melspec": melspec}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Tagger().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def variant(pann: Any) -> Any:
    by_name = {output.name: output for output in pann.outputs}
    return replace(
        pann,
        classes=5,
        input=Input("waveform", ("batch", "samples"), "Sound", least=320, default=SAMPLES, most=6400),
        outputs=(
            replace(by_name["clipwise"], axes=("batch", 5)),
            replace(by_name["melspec"], name="framewise", axes=("batch", 8, "frames")),
            replace(by_name["melspec"], axes=("batch", 8, "frames")),
        ),
    )


def _package(module: Shipped, variant: Any, path: Any, precision: Any = "mixed") -> CoreMLModel:
    converted = convert(module, variant, precision=precision, size=SAMPLES)
    save(converted.model, path, variant, facts_of(variant, "synthetic", "0" * 64, tuple("abcde")), precision)
    return CoreMLModel(path)


def _ops(path: Any) -> list[tuple[str, set[str]]]:
    (block,) = ct.utils.load_spec(str(path)).mlProgram.functions["main"].block_specializations.values()
    name = ct.proto.MIL_pb2.DataType.Name
    return [
        (op.type, {name(value.type.tensorType.dataType) for value in op.outputs})
        for op in block.operations
        if op.type != "const"
    ]


@pytest.mark.parametrize("make", [lambda m, v: lowered(m, v).module, shipped], ids=["lowered", "faithful"])
def test_the_front_end_stays_in_float32_where_its_end_is_no_output(
    make: Any, model: nn.Module, variant: Any, tmp_path: Any
) -> None:
    chosen = variant.giving(["clipwise"])
    silence = {"waveform": np.zeros((1, SAMPLES), np.float32)}
    package = _package(make(model, chosen), chosen, tmp_path / "a.mlpackage")
    ops = _ops(tmp_path / "a.mlpackage")
    assert dict(ops)["log"] == {"FLOAT32"}
    assert [kinds for op, kinds in ops if op == "conv"] == [{"FLOAT32"}, {"FLOAT16"}]
    found = package.predict(silence)
    assert list(found) == ["clipwise"]
    expected = model(torch.zeros(1, SAMPLES))["clipwise"].numpy()
    np.testing.assert_allclose(found["clipwise"], expected, atol=2e-3)
    # As in a package of all outputs.
    whole = _package(make(model, variant), variant, tmp_path / "b.mlpackage").predict(silence)
    np.testing.assert_array_equal(found["clipwise"], whole["clipwise"])


def test_without_knowing_where_it_ends_silence_would_break(model: nn.Module, variant: Any, tmp_path: Any) -> None:
    """What the test above would see."""
    chosen = variant.giving(["clipwise"])
    blind = Shipped(shipped(model, chosen).model, ("clipwise",)).eval()
    found = _package(blind, chosen, tmp_path / "a.mlpackage").predict({"waveform": np.zeros((1, SAMPLES), np.float32)})
    expected = model(torch.zeros(1, SAMPLES))["clipwise"].numpy()
    assert not np.allclose(found["clipwise"], expected, atol=2e-3)


def test_a_front_end_alone_is_float32_as_a_whole(model: nn.Module, variant: Any, tmp_path: Any) -> None:
    chosen = variant.giving(["melspec"])
    _package(lowered(model, chosen).module, chosen, tmp_path / "a.mlpackage")
    ops = _ops(tmp_path / "a.mlpackage")
    assert {kind for _, kinds in ops for kind in kinds} == {"FLOAT32"}
    assert [op for op, _ in ops].count("conv") == 1


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_other_precisions_have_no_such_end(precision: Any, model: nn.Module, variant: Any, tmp_path: Any) -> None:
    chosen = variant.giving(["framewise"])
    package = _package(shipped(model, chosen), chosen, tmp_path / "a.mlpackage", precision)
    assert list(package.predict({"waveform": np.ones((1, SAMPLES), np.float32)})) == ["framewise"]
    assert not [op for op, _ in _ops(tmp_path / "a.mlpackage") if op == "linear"]
