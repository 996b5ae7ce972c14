"""Convolutions (coremltools `iOS15/conv.py`; iOS 17 only frees the types and constness of the parameters).

Every function takes and gives [N, C, *spatial] with one to three spatial dimensions.
"""

from math import ceil

import torch.nn.functional as F
from torch import Tensor

from validators.coreml.registry import ints, kernel

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}

Pads = list[tuple[int, int]]


def spatial_pads(pad_type: str, pad: Tensor, sizes: list[int], kernel_sizes: list[int], strides: list[int]) -> Pads:
    """Padding before and after each spatial dimension, for convolutions and pools alike.

    `kernel_sizes` are the dilated ones. `same` is TensorFlow's: the output has `ceil(size / stride)` elements, an odd
    amount of padding puts its extra element at the end, with `same_lower` at the start (coremltools
    `ops/defs/_utils.py`, `aggregated_pad`; the formula in the docstring of `conv` holds for stride 1 only).
    `pad` counts for `custom` only.
    """
    match pad_type:
        case "valid":
            return [(0, 0)] * len(sizes)
        case "custom":
            amounts = ints(pad)
            return list(zip(amounts[::2], amounts[1::2], strict=True))
        case "same" | "same_lower":
            totals = [
                max(0, (ceil(size / stride) - 1) * stride + window - size)
                for size, window, stride in zip(sizes, kernel_sizes, strides, strict=True)
            ]
            small_first = [(total // 2, total - total // 2) for total in totals]
            return small_first if pad_type == "same" else [(after, before) for before, after in small_first]
    raise ValueError(f"pad_type {pad_type!r} is unknown; expected valid, same, same_lower or custom")


def padded(x: Tensor, pads: Pads, value: float = 0.0) -> Tensor:
    """`x` with its last `len(pads)` dimensions padded by `value`, or cropped where an amount is negative."""
    return F.pad(x, [amount for pair in reversed(pads) for amount in pair], value=value)


def _dilated(weight: Tensor, dilations: list[int]) -> list[int]:
    return [(size - 1) * dilation + 1 for size, dilation in zip(weight.shape[2:], dilations, strict=True)]


@kernel("conv")
def conv(
    *,
    x: Tensor,
    weight: Tensor,
    strides: Tensor,
    pad_type: str,
    pad: Tensor,
    dilations: Tensor,
    groups: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """weight is [C_out, C_in / groups, *kernel]."""
    stride, dilation = ints(strides), ints(dilations)
    pads = spatial_pads(pad_type, pad, list(x.shape[2:]), _dilated(weight, dilation), stride)
    if all(before == after for before, after in pads):
        padding = [before for before, _ in pads]
    else:
        x, padding = padded(x, pads), [0] * len(pads)
    return _CONV[len(pads)](x, weight, bias, stride, padding, dilation, int(groups))


@kernel("conv_quantized")
def conv_quantized(
    *,
    x: Tensor,
    weight: Tensor,
    quantization_type: str,
    quant_scale: Tensor,
    quant_bias: Tensor,
    strides: Tensor,
    pad_type: str,
    pad: Tensor,
    dilations: Tensor,
    groups: Tensor,
    nbits: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """`conv` with weight * quant_scale + quant_bias, each a scalar or one value for each output channel."""
    if quantization_type != "linear":
        raise ValueError(f"quantization_type {quantization_type!r} has no documented arithmetic; only linear runs")
    per_channel = (-1,) + (1,) * (weight.dim() - 1)
    dequantized = weight * quant_scale.reshape(per_channel) + quant_bias.reshape(per_channel)
    return conv(
        x=x,
        weight=dequantized,
        bias=None if bias is None else bias.to(x.dtype),
        strides=strides,
        pad_type=pad_type,
        pad=pad,
        dilations=dilations,
        groups=groups,
    )


@kernel("conv_transpose")
def conv_transpose(
    *,
    x: Tensor,
    weight: Tensor,
    pad_type: str,
    pad: Tensor,
    strides: Tensor,
    dilations: Tensor,
    groups: Tensor,
    bias: Tensor | None = None,
    output_shape: Tensor | None = None,
) -> Tensor:
    """weight is [C_in, C_out / groups, *kernel]; `output_shape` counts the batch and the channels too.

    The result is a window of the whole product of length `stride * (size - 1) + kernel`. It starts after the padding
    and ends where the output size says, beyond the product if need be (where the product is 0).
    """
    stride, dilation = ints(strides), ints(dilations)
    sizes, windows = list(x.shape[2:]), _dilated(weight, dilation)
    wholes = [step * (size - 1) + window for step, size, window in zip(stride, sizes, windows, strict=True)]
    amounts = ints(pad)
    if output_shape is not None:
        outputs = ints(output_shape)[2:]
    elif pad_type in ("same", "same_lower"):
        outputs = [size * step for size, step in zip(sizes, stride, strict=True)]
    elif pad_type == "custom":
        outputs = [
            whole - before - after for whole, before, after in zip(wholes, amounts[::2], amounts[1::2], strict=True)
        ]
    else:
        outputs = wholes
    if pad_type in ("same", "same_lower"):
        crops = [max(0, whole - output) for whole, output in zip(wholes, outputs, strict=True)]
        starts = [crop // 2 if pad_type == "same" else crop - crop // 2 for crop in crops]
    else:
        starts = amounts[::2] if pad_type == "custom" else [0] * len(sizes)

    extra = [
        output - (whole - 2 * start) for output, whole, start in zip(outputs, wholes, starts, strict=True)
    ]  # torch's output_padding
    function = _CONV_TRANSPOSE[len(sizes)]
    if all(0 <= more < step for more, step in zip(extra, stride, strict=True)):
        return function(x, weight, bias, stride, starts, extra, int(groups), dilation)
    whole_product = function(x, weight, None, stride, 0, 0, int(groups), dilation)
    ends = [output - whole + start for output, whole, start in zip(outputs, wholes, starts, strict=True)]
    window = padded(whole_product, [(-start, end) for start, end in zip(starts, ends, strict=True)])
    return window if bias is None else window + bias.reshape(-1, *(1,) * len(sizes))
