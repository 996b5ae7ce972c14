"""A permuted output is the same behind a product with one, and nothing else is touched."""

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from exporters.lowering.graph import finish, trace
from exporters.lowering.normal import normalise
from exporters.lowering.orders import hold_orders


class Turned(nn.Module):
    """(batch, 5, length) -> by places, and what reads the same numbers as they are."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.layer, self.head = nn.Conv1d(5, 5, 3, padding=1), nn.Conv1d(5, 2, 1)
        self.shared = shared

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        y = torch.relu(self.layer(x))
        turned = torch.permute(y, (0, 2, 1))
        return (turned, self.head(y)) if self.shared else turned


def graph_of(model: nn.Module, kind: torch.dtype) -> GraphModule:

    graph = trace(model.to(kind).requires_grad_(False))
    normalise(graph, torch.randn(2, 5, 9, dtype=kind), torch.randn(2, 5, 30, dtype=kind))
    finish(graph)
    return graph


def test_any_length_gives_the_same(kind: torch.dtype) -> None:
    graph = graph_of(Turned(shared=True), kind)
    nodes = len(graph.graph.nodes)
    held, places = hold_orders(graph)
    assert len(places) == 1
    assert len(graph.graph.nodes) == nodes  # The given module is as it was.
    assert sum(node.target is torch.matmul for node in held.graph.nodes) == 1
    for batch, length in ((1, 4), (3, 9), (2, 31)):
        x = torch.randn(batch, 5, length, dtype=kind)
        for found, expected in zip(held(x), graph(x), strict=True):
            assert torch.equal(found, expected)


def test_what_nothing_else_reads_stays(kind: torch.dtype) -> None:
    graph = graph_of(Turned(shared=False), kind)
    assert hold_orders(graph) == (graph, ())
