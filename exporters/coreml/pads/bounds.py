"""The smallest size that each axis of a tensor can have, as far as the graph tells.

Core ML checks a reflect or replicate amount against the lower bound of a flexible dimension, whatever size arrives.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from coremltools.converters.mil.input_types import EnumeratedShapes, RangeDim
from coremltools.converters.mil.mil import Var
from coremltools.converters.mil.mil.types.symbolic import is_symbolic

from exporters.coreml.pads.node import Amounts


def smallest_sizes(context: Any, node: Any, x: Var, amounts: Amounts | None) -> tuple[int | None, ...]:
    """The smallest size of each axis of `x`, the tensor that `node` pads by `amounts`; None where unknown.

    A flexible dimension is judged by the ranges of the model's inputs where MIL still expresses it in their symbols.
    Convolutions and slices start a new symbol in MIL; there an exported program knows the range (its shape environment
    carries it), a traced one does not.
    """
    ranges = _input_ranges(context.torch_graph.inputs.values())
    exported = _exported_sizes(node, amounts)
    return tuple(
        _corner_minimum(size, ranges) or exported.get(axis) if is_symbolic(size) else int(size)
        for axis, size in enumerate(x.shape)
    )


def _input_ranges(inputs: Any) -> dict[Any, tuple[int, int]]:
    """Lower and upper bound of every symbol in the shapes of the model's inputs."""
    ranges: dict[Any, tuple[int, int]] = {}
    for spec in inputs:
        shapes = spec.shape.shapes if isinstance(spec.shape, EnumeratedShapes) else [spec.shape]
        for axis, symbol in enumerate(spec.shape.symbolic_shape):
            if not is_symbolic(symbol):
                continue
            dims = [shape.shape[axis] for shape in shapes]
            lower = [dim.lower_bound if isinstance(dim, RangeDim) else int(dim) for dim in dims]
            upper = [dim.upper_bound if isinstance(dim, RangeDim) else int(dim) for dim in dims]
            ranges[symbol] = (min(lower), max(upper))
    return ranges


def _corner_minimum(size: Any, ranges: dict[Any, tuple[int, int]]) -> int | None:
    """The minimum of a size over its symbols' ranges; a size is monotone in each symbol, so the corners suffice."""
    symbols = sorted(size.free_symbols, key=str)
    if not all(symbol in ranges for symbol in symbols):
        return None
    corners = product(*(ranges[symbol] for symbol in symbols))
    return int(min(size.subs(dict(zip(symbols, corner, strict=True))) for corner in corners))


def _exported_sizes(node: Any, amounts: Amounts | None) -> dict[int, int]:
    """Lower bounds that torch.export derived: those of the node's output, less what the node adds."""
    output = (node.meta or {}).get("val")
    if output is None or amounts is None:
        return {}
    return {
        axis: int(size.node.shape_env.bound_sympy(size.node.expr).lower) - before - after
        for axis, (size, (before, after)) in enumerate(zip(output.shape, amounts, strict=True))
        if isinstance(size, torch.SymInt)
    }
