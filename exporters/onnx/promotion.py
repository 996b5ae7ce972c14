"""Type promotion, which PyTorch's exporter writes out as casts: skipped where a program mixes no types.

The exporter traces the whole program once more to find what to cast, which takes a tenth of a conversion, and finds
nothing in a network of floats.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.export import ExportedProgram
from torch.fx import Node
from torch.onnx._internal.exporter import _fx_passes

# They take numbers of places beside what they choose from, and give that as it is.
_CHOOSING = (
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_select.default,
    torch.ops.aten.gather.default,
    torch.ops.aten.embedding.default,
)


def mixes_types(program: ExportedProgram) -> bool:
    """Whether some operator takes tensors of several types, or gives another type than it takes."""
    return any(_mixes(node) for node in program.graph.nodes if node.op == "call_function")


def _mixes(node: Node) -> bool:
    if node.target in _CHOOSING:
        return False
    taken = {value.dtype for value in map(_value, node.all_input_nodes) if isinstance(value, torch.Tensor)}
    given = _value(node)
    values = given if isinstance(given, list | tuple) else (given,)
    made = {value.dtype for value in values if isinstance(value, torch.Tensor)}
    return len(taken) > 1 or bool(taken and made and taken != made)


def _value(node: Node) -> object:
    return node.meta.get("val")


@contextmanager
def without_promotion() -> Iterator[None]:
    """Exports inside the block write no casts; for programs that mix no types."""
    kept = _fx_passes.insert_type_promotion_nodes
    _fx_passes.insert_type_promotion_nodes = lambda graph_module: None
    try:
        yield
    finally:
        _fx_passes.insert_type_promotion_nodes = kept
