"""The outputs that ship: the others are gone before any rewrite looks, and where float32 may end stays known."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from exporters.lowering import REWRITES, Rewrite, lowered, shipped
from exporters.lowering.graph import layer, nodes
from exporters.onnx.export import export
from recipes.base.spec import CoreML


class Branches(nn.Module):
    """(batch, 2, 3, time) to a map that a norm follows, the logits behind that, and a map of which both are made."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv2d(2, 2, 1)
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)
        nn.init.uniform_(self.norm.weight, 0.5, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        front = self.front(x).transpose(2, 3)
        seen = self.conv(front.transpose(2, 3))
        normed = self.norm(seen)
        return {"logits": self.fc(normed.mean(dim=(2, 3))), "map": seen, "normed": normed, "front": front}


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Branches().eval().requires_grad_(False)


@pytest.fixture
def variant(tiny: Any) -> Any:
    logits, like = tiny.outputs
    others = (replace(like, name="normed"), replace(like, name="front", axes=("batch", 2, "time", 3)))
    return replace(tiny, outputs=(logits, like, *others), coreml=CoreML(float32_through="front"))


def _called(graph: nn.Module) -> list[str]:
    return [str(node.target) for node in nodes(graph.model) if node.op == "call_module"]  # type: ignore[arg-type]


def test_what_only_other_outputs_need_is_not_there(model: nn.Module, variant: Any) -> None:
    x = torch.randn(2, 2, 3, 9)
    expected = dict(zip((o.name for o in variant.outputs), shipped(model, variant)(x), strict=True))
    layers = {
        "logits": {"front", "conv", "fc"},
        "map": {"front", "conv"},
        "normed": {"front", "conv"},
        "front": {"front"},
    }
    for name, left in layers.items():
        module = lowered(model, variant.giving([name])).module
        (found,) = module(x)
        torch.testing.assert_close(found, expected[name])
        assert set(_called(module)) == left
        assert {key.split(".")[1] for key in module.state_dict()} == left
        (found,) = shipped(model, variant.giving([name]))(x)
        assert torch.equal(found, expected[name])


def test_the_authors_graph_computes_no_more_either(model: nn.Module, variant: Any) -> None:
    for name, convolutions in (("front", 1), ("map", 2)):
        graph = export(shipped(model, variant.giving([name])), variant.giving([name])).graph
        kinds = [node.op_type for node in graph.node]
        assert [value.name for value in graph.output] == [name]
        assert kinds.count("Conv") == convolutions
        assert not {"Gemm", "ReduceMean", "BatchNormalization"} & set(kinds)
        assert {tensor.name.split(".")[1] for tensor in graph.initializer if "." in tensor.name} <= {"front", "conv"}


def test_rewrites_see_only_what_ships_and_may_do_more(model: nn.Module, variant: Any) -> None:
    """A norm behind a convolution whose own result is an output cannot be folded."""
    assert not [step for step in lowered(model, variant).applied if step.rewrite == "fold-norms"]
    seen: list[set[str]] = []

    def look(graph: GraphModule) -> Iterator[str]:
        seen.append({str(node.target) for node in nodes(graph) if layer(node) is not None})
        return iter(())

    done = lowered(model, variant.giving(["normed"]), {"look": look, **REWRITES})
    assert seen == [{"front", "conv", "norm"}]
    assert "fold-norms" in {step.rewrite for step in done.applied}


def test_outputs_are_in_the_order_of_the_variant(model: nn.Module, variant: Any) -> None:
    module = lowered(model, variant.giving(["normed", "logits"])).module
    assert module.names == ("logits", "normed")
    assert [value.ndim for value in module(torch.randn(1, 2, 3, 8))] == [2, 4]


@pytest.mark.parametrize(("through", "becomes"), [("front", "front"), ("map", "normed"), ("normed", "normed")])
def test_where_float32_may_end_is_known_after_every_rewrite(
    model: nn.Module, variant: Any, through: str, becomes: str
) -> None:
    """A norm that is folded into what ends there is part of it then."""
    chosen = replace(variant, coreml=CoreML(float32_through=through)).giving(["logits"])
    x = torch.randn(2, 2, 3, 9)
    expected = model(x)
    for module, end in ((lowered(model, chosen).module, becomes), (shipped(model, chosen), through)):
        assert module.inner == (through,)
        logits, found = module.with_inner()(x)
        assert torch.equal(logits, module(x)[0])
        # In whatever order of axes.
        torch.testing.assert_close(found.flatten().sort()[0], expected[end].flatten().sort()[0], rtol=1e-4, atol=1e-5)


def test_an_output_needs_no_mark(model: nn.Module, variant: Any) -> None:
    assert lowered(model, variant.giving(["logits", "front"])).module.inner == ()
    assert shipped(model, variant).inner == ()
    none = replace(variant, coreml=CoreML(float32_through=None)).giving(["logits"])
    assert lowered(model, none).module.inner == shipped(model, none).inner == ()


def test_what_nothing_needs_marks_what_it_was_made_of(model: nn.Module, variant: Any) -> None:
    chosen = replace(variant, coreml=CoreML(float32_through="normed")).giving(["map"])
    done = lowered(model, chosen)
    assert done.module.inner == ("normed",)
    found, end = done.module.with_inner()(torch.randn(1, 2, 3, 8))
    assert torch.equal(found, end)
    chosen = replace(variant, coreml=CoreML(float32_through="logits")).giving(["front"])
    assert "fc" not in _called(lowered(model, chosen).module)


def test_a_rewrite_that_loses_where_float32_ends_is_found(model: nn.Module, variant: Any) -> None:
    def careless(graph: GraphModule) -> Iterator[str]:
        for node in nodes(graph):
            node.meta.pop("float32_through", None)
        return iter(())

    rewrites: dict[str, Rewrite] = {"careless": careless}
    lowered(model, variant, rewrites)
    with pytest.raises(ValueError, match="a rewrite has lost where front ends"):
        lowered(model, variant.giving(["logits"]), rewrites)
