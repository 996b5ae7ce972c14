"""Small graphs, and what they give before and after a rewrite."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from exporters.lowering.graph import find_shapes, finish, shape, trace, varying
from exporters.lowering.normal import normalise

Rewrite = Callable[[GraphModule], Iterator[str]]

# Relative to the greatest number of the result.
BOUNDS = {torch.float64: 1e-10, torch.float32: 1e-5}


@dataclass(frozen=True)
class Rewritten:
    graph: GraphModule
    places: list[str]

    def layers(self) -> list[nn.Module]:
        """Those that are called, in order."""
        called = [node.target for node in self.graph.graph.nodes if node.op == "call_module"]
        return [self.graph.get_submodule(str(target)) for target in called]


def rewritten(model: nn.Module, example: Tensor, *rewrites: Rewrite, others: tuple[Tensor, ...] = ()) -> Rewritten:
    """What the rewrites make of a model; the model is held to be as it was, and the graph to give the same.

    `others` are inputs of other sizes that are to be taken too.
    """
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model(example)
    graph = trace(model)
    normalise(graph, example, *others)
    places = [place for rewrite in rewrites for place in rewrite(graph)]
    noted = {node: shape(node) for node in graph.graph.nodes if "shape" in node.meta}
    varies = {node: varying(node) for node in noted}
    finish(graph)
    with torch.no_grad():
        same(graph(example), expected)
        same(model(example), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    find_shapes(graph, example, *others)
    assert {node: shape(node) for node in noted} == noted
    assert all(varying(node) <= known for node, known in varies.items())
    return Rewritten(graph, places)


def same(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert (found - expected).abs().max() <= BOUNDS[expected.dtype] * expected.abs().max().clamp(min=1e-30)


def randomised(model: nn.Module, kind: torch.dtype) -> nn.Module:
    """In evaluation mode, with random weights and statistics."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.2, 3)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return model.eval().to(kind).requires_grad_(False)
