"""Attention (coremltools `iOS18/transformers.py`)."""

import math

import torch
from torch import Tensor

from validators.coreml.registry import kernel


@kernel("scaled_dot_product_attention", opset="iOS18")
def scaled_dot_product_attention(
    *, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """softmax(query keyᵀ / sqrt(E) + mask) value for (..., L, E), (..., S, E) and (..., S, EV) -> (..., L, EV).

    A boolean mask keeps what is True; a row with nothing kept is NaN, by the definition. Written out because PyTorch's
    own function returns zeros for such a row.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return torch.softmax(scores, dim=-1) @ value
