"""Quantized activations and weights (coremltools `iOS17/quantization_ops.py`)."""

import torch
from torch import Tensor

from validators.coreml.registry import kernel

_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


def _along(parameter: Tensor, like: Tensor, axis: Tensor | None) -> Tensor:
    """A scalar, or a vector shaped to broadcast along `axis` of `like`."""
    if parameter.dim() == 0 or axis is None:
        return parameter
    shape = [1] * like.dim()
    shape[int(axis)] = -1
    return parameter.reshape(shape)


@kernel("quantize", opset="iOS17")
def quantize(
    *,
    input: Tensor,
    scale: Tensor,
    output_dtype: str,
    zero_point: Tensor | None = None,
    axis: Tensor | None = None,
) -> Tensor:
    """clip(round(input / scale) + zero_point) to the range of `output_dtype`, halves to even."""
    if output_dtype not in _RANGES:
        raise ValueError(f"output_dtype {output_dtype!r} is not one of {', '.join(_RANGES)}")
    steps = torch.round(input / _along(scale, input, axis))
    if zero_point is not None:
        steps = steps + _along(zero_point, input, axis)
    return steps.clamp(*_RANGES[output_dtype]).to(torch.int32)


@kernel("dequantize", opset="iOS17")
def dequantize(*, input: Tensor, scale: Tensor, zero_point: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    """scale * (input - zero_point)."""
    centred = input if zero_point is None else input - _along(zero_point, input, axis)
    return _along(scale, input, axis) * centred
