"""Matrix products (coremltools `iOS15/linear.py`; iOS 17 only frees the types of the constants)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from validators.coreml.registry import kernel


@kernel("linear")
def linear(*, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias`; x is [..., D_in], weight [D_out, D_in]."""
    if x.dtype == weight.dtype:
        return F.linear(x, weight, bias)
    return F.linear(x.float(), weight.float(), None if bias is None else bias.float())


@kernel("matmul")
def matmul(*, x: Tensor, y: Tensor, transpose_x: Tensor, transpose_y: Tensor) -> Tensor:
    """Products of the last two dimensions, the others broadcast; a vector has no second dimension to transpose."""
    if bool(transpose_x) and x.dim() > 1:
        x = x.transpose(-1, -2)
    if bool(transpose_y) and y.dim() > 1:
        y = y.transpose(-1, -2)
    if x.dtype != y.dtype:
        x, y = x.float(), y.float()
    return torch.matmul(x, y)


@kernel("einsum")
def einsum(*, values: tuple[Tensor, ...], equation: str) -> Tensor:
    """Batch dimensions of size one broadcast."""
    return torch.einsum(equation, *values)
