"""PANN as an ML program: what it takes, what it gives, and that it answers as PyTorch does."""

from collections.abc import Callable
from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

from exporters.coreml.convert import convert
from exporters.lowering import shipped
from recipes.base.sound import rich
from validators.coreml.rules import check_programs, programs
from validators.runners.coreml import open_float32, open_stored
from validators.runners.pytorch import answers
from validators.values import Case, check_values

FIXED = 16001


def _description(package: Any) -> Any:
    return ct.utils.load_spec(str(package.path)).description


def test_the_length_is_free_between_the_bounds(package: Callable[..., Any], pann: Any) -> None:
    (feature,) = _description(package("fp32")).input
    array = feature.type.multiArrayType
    assert feature.name == "waveform"
    assert array.dataType == ct.proto.FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    assert list(array.shape) == [1, pann.input.default]
    assert [(size.lowerBound, size.upperBound) for size in array.shapeRange.sizeRanges] == [
        (1, 1),
        (pann.input.least, pann.input.most),
    ]


def test_a_fixed_length_is_fixed_in_input_and_outputs(package: Callable[..., Any]) -> None:
    description = _description(package("mixed", FIXED))
    shapes = {feature.name: list(feature.type.multiArrayType.shape) for feature in description.output}
    array = description.input[0].type.multiArrayType
    assert list(array.shape) == [1, FIXED]
    assert array.WhichOneof("ShapeFlexibility") is None
    assert shapes == {
        "clipwise": [1, 527],
        "embedding": [1, 1024],
        "framewise": [1, 51, 527],
        "segment_clipwise": [1, 527],
        "melspec": [1, 51, 64],
    }


def test_a_fixed_length_leaves_nothing_that_a_device_refuses(package: Callable[..., Any]) -> None:
    """Longer than a GPU's widest image; with a free length the DFT has long axes and wide kernels."""
    breaches = {size: check_programs(programs(package("mixed", size).path)) for size in (32000, None)}
    assert list(breaches[32000]) == []
    assert {breach.rule for breach in breaches[None]} >= {"gpu-dimension", "neural-engine-kernel"}


@pytest.mark.parametrize("precision", ["fp32", "mixed", "fp16"])
def test_outputs_are_float32_in_the_order_of_the_configuration(
    package: Callable[..., Any], pann: Any, precision: str
) -> None:
    outputs = _description(package(precision)).output
    assert [feature.name for feature in outputs] == [output.name for output in pann.outputs]
    float32 = ct.proto.FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    assert {feature.type.multiArrayType.dataType for feature in outputs} == {float32}


def test_the_program_is_for_ios_16(package: Callable[..., Any]) -> None:
    assert ct.utils.load_spec(str(package("fp32").path)).specificationVersion == 7


def test_every_pad_and_pool_is_told(package: Callable[..., Any]) -> None:
    assert package("fp32").pads == ("pad", "avg_pool", "avg_pool")


@pytest.mark.parametrize("samples", [9920, 9921, 12345, 64000])
def test_any_length_answers_as_pytorch_does(
    package: Callable[..., Any], synthetic_pann: Any, pann: Any, samples: int
) -> None:
    inputs = {"waveform": rich(samples, 32000, seed=samples)[None]}
    case = Case(str(samples), inputs, answers(synthetic_pann, inputs))
    checks = check_values(
        open_stored(package("fp32").path), [case], pann.outputs, artifact="model.mlpackage", precision="fp32"
    )
    assert [check for check in checks if check.status != "passed"] == []


def test_a_fixed_length_answers_as_pytorch_does(package: Callable[..., Any], synthetic_pann: Any, pann: Any) -> None:
    inputs = {"waveform": rich(FIXED, 32000, seed=3)[None]}
    other = {"waveform": rich(9920, 32000)[None]}
    cases = [Case("fixed", inputs, answers(synthetic_pann, inputs)), Case("other", other, {})]
    runner = open_float32(package("mixed", FIXED).path)
    checks = check_values(runner, cases, pann.outputs, artifact="model.mlpackage", precision="mixed")
    assert {check.case for check in checks} == {"fixed"}
    assert [check for check in checks if check.status != "passed"] == []


def test_a_conversion_leaves_no_trace_in_coremltools_or_the_module(pann: Any) -> None:
    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1), requires_grad=False)

        def forward(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
            padded = torch.nn.functional.pad(waveform[:, None], (3, 3), mode="reflect")
            return {output.name: padded * self.scale + place for place, output in enumerate(pann.outputs)}

    module = shipped(Tiny(), pann)
    before = dict(_TORCH_OPS_REGISTRY.name_to_func_mapping)
    convert(module, pann, precision="mixed", size=9920)
    assert _TORCH_OPS_REGISTRY.name_to_func_mapping == before
    assert not module.training
    np.testing.assert_array_equal(module(torch.zeros(1, 9))[1].numpy(), np.ones((1, 1, 15), np.float32))
