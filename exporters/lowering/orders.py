"""Outputs whose axes stand in another order than other layers read them in, kept apart from those by a product.

x^T I = x^T: each number times one, and zeros, which is exact for finite numbers. tract 0.23 carries a permutation back
through all that made its input, to where it is free, and from there forward again into whatever else reads that: PANN's
melspec, given out by frames, turned its first layers over, where memory no longer runs along time. A product takes any
order of axes, so that nothing is carried back.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn
from torch.fx import GraphModule, Node

from exporters.lowering.graph import call_behind, calls, new_constant, nodes, place, shape, varying

_Module = TypeVar("_Module", bound=nn.Module)


def hold_orders(module: _Module) -> tuple[_Module, tuple[str, ...]]:
    """A module whose graph has these products, and behind what; the given one where nothing is to hold.

    The module that is given is not changed.
    """
    if not any(True for graph in _graphs(module) for _ in _turned(graph)):
        return module, ()
    changed, places = deepcopy(module), []
    for graph in _graphs(changed):
        for node in list(_turned(graph)):
            kind = next(tensor.dtype for tensor in graph.state_dict().values() if tensor.is_floating_point())
            one = new_constant(node, f"{node.name}_one", torch.eye(shape(node)[-1], dtype=kind))
            call_behind(node, torch.matmul, one)
            places.append(place(node))
        graph.graph.lint()
        graph.recompile()
    return changed, tuple(places)


def _graphs(module: nn.Module) -> Iterator[GraphModule]:
    return (part for part in module.modules() if isinstance(part, GraphModule))


def _turned(graph: GraphModule) -> Iterator[Node]:
    """Permutations that only outputs read, of what other layers read too, with a last axis of known size."""
    for node in nodes(graph):
        if not calls(node, torch.permute) or any(user.op != "output" for user in node.users):
            continue
        (source,) = node.all_input_nodes
        if len(source.users) > 1 and "shape" in node.meta and len(shape(node)) - 1 not in varying(node):
            yield node
