"""What PyTorch's exporter has no ONNX form for, since it always takes these operators apart first.

It does that by tracing the program twice again, which for a deep graph of free sizes takes as long as all else
together; with a form for each operator of the layers there is nothing to take apart.
"""

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18 as op
from torch.export import ExportedProgram


def _batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, momentum: float, eps: float, cudnn: bool
) -> Any:
    if training or any(value is None for value in (weight, bias, mean, variance)):
        raise NotImplementedError("a norm in training, or without all four of its tensors")
    return op.BatchNormalization(x, weight, bias, mean, variance, epsilon=eps)


def _flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """As Reshape, which every converter takes; a 0 copies the size at its place."""
    if start_dim < 0 or end_dim not in (-1, len(x.shape) - 1):
        raise NotImplementedError("axes that are kept behind those that are flattened")
    shape: Any = op.Constant(value_ints=[0] * start_dim + [-1])
    return op.Reshape(x, shape)


FORMS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.batch_norm.default: _batch_norm,
    torch.ops.aten.flatten.using_ints: _flatten,
}
"""By operator: a function of what it takes, which gives ONNX operators."""


def changes_in_place(program: ExportedProgram) -> bool:
    """Whether some operator writes into what it is given, which no ONNX operator does."""
    schemas = (getattr(node.target, "_schema", None) for node in program.graph.nodes)
    return any(schema is not None and schema.is_mutable for schema in schemas)
