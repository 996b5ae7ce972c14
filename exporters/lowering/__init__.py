"""Lowering: from the faithful model to the form that is shipped, by small exact rewrites.

The faithful model is traced by torch.fx into a graph of layers: PyTorch's own modules and functions, with the weights
in reach, still a module that runs, exports to ONNX and traces for Core ML like any other. (The graph of torch.export
has operators with every size an expression, where a layer takes many nodes to find; exchanging modules without a graph
sees no functions and no order.) What only outputs need that do not ship goes first. `normal` gives everything one
spelling. Then each rewrite looks for layers that meet its conditions, on weights and shapes and never on a name, and
puts fewer or faster ones in their place; each is a module of its own, with its algebra. New weights are computed in
float64 and rounded once. The faithful model is never changed.

What is for one runtime alone is not in the list: a format asks for it (`fixed`, `strides`, `orders`, `rows`). What a
family alone knows has no place here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx import GraphModule
from torch.fx.proxy import TraceError

from exporters.lowering.axes import carry_axes
from exporters.lowering.bins import drop_bins
from exporters.lowering.chunks import in_chunks, of_blocks
from exporters.lowering.edges import recompute_edges
from exporters.lowering.fourier import factorise_dft
from exporters.lowering.graph import finish, trace
from exporters.lowering.images import as_images
from exporters.lowering.means import pool_means
from exporters.lowering.normal import normalise
from exporters.lowering.norms import fold_norms
from exporters.lowering.outputs import add_marked, choose_outputs
from exporters.lowering.pools import merge_pools
from exporters.lowering.positions import drop_positions
from exporters.lowering.shipped import Shipped
from recipes.base.spec import Variant

__all__ = ["REWRITES", "UNROUNDED", "Applied", "Lowered", "LoweringError", "Rewrite", "lower", "lowered", "shipped"]

Rewrite = Callable[[GraphModule], Iterator[str]]

REWRITES: Mapping[str, Rewrite] = {
    "fold-norms": fold_norms,
    "merge-pools": merge_pools,
    "pool-means": pool_means,
    "carry-axes": carry_axes,
    "factorise-dft": factorise_dft,
    "drop-bins": drop_bins,
    "as-images": as_images,
    "recompute-edges": recompute_edges,
    "drop-positions": drop_positions,
}
"""In the order in which they run: each takes a graph, changes it in place, and yields where."""

UNROUNDED = frozenset({"factorise-dft"})
"""Those that compute from what the model's weights were rounded from. All others give its own answers in float64."""


class LoweringError(Exception):
    """A model cannot be lowered."""


@dataclass(frozen=True)
class Applied:
    """A rewrite, and the place in the model where it was applied."""

    rewrite: str
    place: str


@dataclass(frozen=True)
class Lowered:
    """The module that is shipped, and what was done to make it."""

    module: Shipped
    applied: tuple[Applied, ...]


def shipped(model: nn.Module, variant: Variant) -> Shipped:
    """A model as exporters take it: the variant's input -> its outputs in order, in evaluation mode."""
    names, through = _names(variant), variant.coreml.float32_through
    inner = () if through is None or through in names else (through,)
    return in_chunks(Shipped(model, names, inner).eval(), variant)


def _names(variant: Variant) -> tuple[str, ...]:
    return tuple(output.name for output in variant.outputs)


def lower(model: nn.Module, variant: Variant) -> Shipped:
    """As `shipped`, with the same answers, faster."""
    return lowered(model, variant).module


def _applied(name: str, rewrite: Rewrite, graph: GraphModule) -> list[str]:
    try:
        return list(rewrite(graph))
    except Exception as error:
        raise LoweringError(f"the rewrite {name} failed: {type(error).__name__}: {error}") from error


def lowered(model: nn.Module, variant: Variant, rewrites: Mapping[str, Rewrite] = REWRITES) -> Lowered:
    """As `lower`, with what was applied, in order; `rewrites` may be fewer, to see what each does.

    Raises LoweringError for a model that a rewrite does not cope with, or that torch.fx cannot trace: a function whose
    Python depends on sizes is made one step of the graph by `torch.fx.wrap`.
    """
    names, through = _names(variant), variant.coreml.float32_through
    try:
        graph = trace(model)
    except TraceError as error:
        raise LoweringError(f"the model cannot be traced: {error}") from error
    choose_outputs(graph, names, through)
    # Each is run once. What differs between a short one and one twelve times as long goes with the length.
    fed = of_blocks(variant).input
    size = max(fed.least, fed.default // 50)
    lengths = (size,) if fed.fixed else (size, max(fed.default // 4, 12 * size))
    normalise(graph, *(torch.zeros(fed.shape(2, length)) for length in lengths))
    applied = tuple(
        Applied(name, place) for name, rewrite in rewrites.items() for place in _applied(name, rewrite, graph)
    )
    inner = add_marked(graph, through)
    finish(graph)
    return Lowered(in_chunks(Shipped(graph, names, inner).eval(), variant), applied)
