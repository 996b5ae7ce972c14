"""The mean over an axis of an image whose size is known, as an average pooling of that size.

Both sum the same numbers and divide by as many. A pooling is what runtimes compute in the layout of the convolutions
before it: ONNX Runtime rearranges all channels for a mean, and so would everything behind it.
"""

import operator
from collections.abc import Iterator

import torch
from torch import nn
from torch.fx import GraphModule

from exporters.lowering.graph import arguments, call, call_layer, calls, nodes, shape, take_over, varying


def pool_means(graph: GraphModule) -> Iterator[str]:
    """Turn each mean over one of an image's two axes into a pooling; yields where."""
    for node in nodes(graph):
        if not calls(node, torch.mean, "mean"):
            continue
        given = arguments(node, "input", "dim", "keepdim", dim=None, keepdim=False)
        x, dims = given.pop("input"), given.pop("dim")
        keep = given.pop("keepdim")
        if given or dims is None or len(shape(x)) != 4:
            continue
        each = {operator.index(dim) % 4 for dim in ((dims,) if isinstance(dims, int) else dims)}
        if each not in ({2}, {3}) or each & varying(x):
            continue
        (axis,) = each
        # A single place may be all that is left of short sounds alone.
        if shape(x)[axis] == 1:
            continue
        length = shape(x)[axis]
        new = call_layer(node, f"{node.name}_pool", nn.AvgPool2d((length, 1) if axis == 2 else (1, length)), x)
        if not keep:
            new.meta["shape"] = tuple(1 if place == axis else size for place, size in enumerate(shape(x)))
            new.meta["varying"] = varying(x)
            new = call(node, torch.squeeze, new, axis)
        yield node.name
        take_over(new, node)
