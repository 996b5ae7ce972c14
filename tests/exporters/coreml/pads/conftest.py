"""Small models through coremltools' PyTorch frontend, run as the ML program that came out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.frontend.milproto.load import load

from exporters.coreml.pads import Decision, graph_passes, installed
from recipes.base.spec import PadOverride
from validators.coreml import CoreMLModel

MIL_DTYPES = {torch.float32: np.float32, torch.int32: np.int32}


class Function(torch.nn.Module):
    """A model without parameters."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(*inputs)


@dataclass(frozen=True)
class Conversion:
    """A converted function; `outputs` names its results in order."""

    model: Any
    decisions: list[Decision]

    @property
    def operations(self) -> list[Any]:
        """The operations of the program as it would be saved, constants apart."""
        spec = self.model.get_spec()
        program = load(spec, spec.specificationVersion, self.model.weights_dir)
        return [op for op in program.functions["main"].operations if op.op_type != "const"]

    def __call__(self, x: torch.Tensor) -> list[np.ndarray]:
        spec = self.model.get_spec().description
        results = CoreMLModel(self.model, precision="float32").predict({spec.input[0].name: x.numpy()})
        return [results[output.name] for output in spec.output]


def convert(
    function: Callable[[torch.Tensor], Any],
    x: torch.Tensor,
    frontend: str,
    overrides: Mapping[str, PadOverride] | None = None,
    flexible: Mapping[int, tuple[int, int]] | None = None,
) -> Conversion:
    """Convert `function` of one tensor; `flexible` gives the range of the axes of `x` that are not fixed."""
    flexible = flexible or {}
    module = Function(function).eval()
    shape = [ct.RangeDim(*flexible[a], default=n) if a in flexible else n for a, n in enumerate(x.shape)]
    if frontend == "traced":
        source = torch.jit.trace(module, x)
        inputs: Sequence[Any] | None = [ct.TensorType(name="x", shape=shape, dtype=MIL_DTYPES[x.dtype])]
    else:
        dims = {a: torch.export.Dim(f"axis{a}", min=low, max=high) for a, (low, high) in flexible.items()}
        source = torch.export.export(module, (x,), dynamic_shapes=((dims,),) if dims else None).run_decompositions({})
        inputs = None
    with warnings.catch_warnings(), installed(overrides) as decisions:
        warnings.simplefilter("ignore")  # outputs without a name of their own, renamed one by one
        model = ct.convert(
            source,
            inputs=inputs,
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=graph_passes(),
            skip_model_load=True,
        )
    return Conversion(model, decisions)


@pytest.fixture(scope="session", name="convert")
def convert_fixture() -> Callable[..., Conversion]:
    return convert


@pytest.fixture(scope="session", params=["traced", "exported"])
def frontend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
