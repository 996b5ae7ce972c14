"""A mean over an axis of an image is a pooling where its size is known, and stays where it is not."""

import pytest
import torch
from torch import Tensor, nn

from exporters.lowering.axes import carry_axes
from exporters.lowering.graph import finish, trace
from exporters.lowering.means import pool_means
from exporters.lowering.normal import normalise
from tests.exporters.lowering.rewritten import same


class Mean(nn.Module):
    def __init__(self, dims: object, keep: bool, turned: bool = False) -> None:
        super().__init__()
        self.dims, self.keep, self.turned = dims, keep, turned
        self.conv = nn.Conv2d(1, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.transpose(2, 3) if self.turned else x)
        return x.mean(dim=self.dims, keepdim=self.keep).relu()  # type: ignore[call-overload, no-any-return]


def pooled(model: nn.Module, kind: torch.dtype, *rewrites: object) -> list[str]:
    """Where; on images (batch, 1, 7, length), which are held to give the same for other lengths."""
    graph = trace(model.to(kind))
    normalise(graph, *(torch.zeros(2, 1, 7, length, dtype=kind) for length in (9, 18)))
    places = list(pool_means(graph))
    for rewrite in rewrites:
        list(rewrite(graph))  # type: ignore[operator]
    finish(graph)
    for length in (5, 9, 20):
        x = torch.randn(3, 1, 7, length, dtype=kind)
        with torch.no_grad():
            same(graph(x), model(x))
    return places


@pytest.mark.parametrize("dims", [2, -2, (2,)])
@pytest.mark.parametrize("keep", [False, True])
def test_over_an_axis_of_known_size(kind: torch.dtype, dims: object, keep: bool) -> None:
    assert pooled(Mean(dims, keep), kind) == ["mean"]


@pytest.mark.parametrize("dims", [3, (2, 3), 1, 0, (1, 2)], ids=str)
def test_over_any_other_it_stays(kind: torch.dtype, dims: object) -> None:
    assert pooled(Mean(dims, keep=False), kind) == []


@pytest.mark.parametrize("keep", [False, True])
def test_axes_are_carried_through_it(kind: torch.dtype, keep: bool) -> None:
    assert pooled(Mean(3, keep, turned=True), kind, carry_axes) == ["mean"]


def test_a_mean_of_what_has_no_two_places_stays(kind: torch.dtype) -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(2).mean(dim=1)

    assert pooled(Flat(), kind) == []
