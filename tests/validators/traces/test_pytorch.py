"""An exported program shows every operator, and its values are those of the ONNX that is made of it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from validators.divergence import diverged
from validators.traces.onnx import trace_model as trace_onnx
from validators.traces.pytorch import trace_model

IMAGES = np.random.RandomState(2).randn(1, 2, 3, 9).astype(np.float32)


def test_functions_between_layers_are_there_too(tiny_model: Any) -> None:
    found = trace_model(tiny_model, {"images": IMAGES}, "tiny")
    assert (found.inputs, found.outputs, found.runtime) == (("images",), ("logits", "map"), "pytorch")
    assert any("relu" in op.kind for op in found.ops)
    assert any("reshape" in op.kind or "view" in op.kind for op in found.ops)
    (conv,) = (op for op in found.ops if "conv2d" in op.kind)
    assert conv.parameters["padding"] == [1, 1]
    assert set(conv.inputs[1:]) <= set(found.constants)
    np.testing.assert_array_equal(found.values["map"], tiny_model(torch.from_numpy(IMAGES))["map"])


def test_the_export_does_not_diverge_from_it(tiny_model: Any, tiny_exported: Any) -> None:
    a, b = trace_model(tiny_model, {"images": IMAGES}, "tiny"), trace_onnx(tiny_exported, {"images": IMAGES}, "tiny")
    found = diverged(a, b)
    assert found.culprit is None
    assert {one.b for one in found.outputs} == {"logits", "map"}


def test_what_works_in_place_does_not_change_what_was_kept() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = x * 2
            z = y + 1
            y.add_(5)
            return y, z

    found = trace_model(InPlace(), {"x": IMAGES}, "in place")
    doubled = next(op for op in found.ops if "mul" in op.kind).outputs[0]
    np.testing.assert_array_equal(found.values[doubled], 2 * IMAGES)
    assert len(found.outputs) == 2
