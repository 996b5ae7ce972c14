"""Type promotion: written where types are mixed, and not looked for where none are."""

import pytest
import torch
from torch import Tensor, nn
from torch.onnx._internal.exporter import _fx_passes

from exporters.onnx.export import _translated
from exporters.onnx.promotion import mixes_types, without_promotion
from recipes.base.config import find

X = torch.randn(2, 3)


class _Of(nn.Module):
    def __init__(self, forward: object) -> None:
        super().__init__()
        self.function = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)  # type: ignore[operator]


FLOATS_ALONE = {
    "a sum": lambda x: x + 2 * x,
    "a whole number beside floats": lambda x: x * 3,
    "places to choose": lambda x: x.index_select(1, torch.arange(2)),
    "parts": lambda x: torch.cat(x.split(1, dim=1)),
}
MIXED = {
    "whole numbers and floats": lambda x: x + torch.arange(3),
    "whole numbers divided": lambda x: x + torch.arange(3) / 2,
    "two widths": lambda x: x + torch.ones(3, dtype=torch.float64),
    "a comparison": lambda x: x > 0,
    "truth values": lambda x: torch.where(x > 0, x, 0),
}


@pytest.mark.parametrize("name", FLOATS_ALONE)
def test_floats_alone_are_found(name: str) -> None:
    assert not mixes_types(torch.export.export(_Of(FLOATS_ALONE[name]), (X,)))


@pytest.mark.parametrize("name", MIXED)
def test_mixed_types_are_found(name: str) -> None:
    assert mixes_types(torch.export.export(_Of(MIXED[name]), (X,)))


def test_the_exporter_is_as_it_was() -> None:
    before = _fx_passes.insert_type_promotion_nodes

    def fail() -> None:
        with without_promotion():
            assert _fx_passes.insert_type_promotion_nodes is not before
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert _fx_passes.insert_type_promotion_nodes is before


def test_mixed_types_are_cast_in_the_graph() -> None:
    """The pass is there for them: without it the graph adds whole numbers to floats."""
    program = torch.export.export(_Of(MIXED["whole numbers and floats"]), (X,))
    assert "Cast" in {node.op_type for node in _translated(program, find("pann"), 18).model.graph}
