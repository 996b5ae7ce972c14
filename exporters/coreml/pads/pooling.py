"""Average pooling with PyTorch's divisor and with the padding on the pooled axes.

PyTorch (ATen/native/Pool.h, AveragePoolKernel.cpp) divides by the window clipped to the padded tensor when it counts
the padding, by the window clipped to the tensor when it does not; a ceil-mode window that starts past the tensor is
dropped. MIL's counted average divides by the whole kernel, whatever a ceil-mode window overhangs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.frontend.torch.ops import _get_inputs
from coremltools.converters.mil.mil import Var
from coremltools.converters.mil.mil.types.symbolic import is_symbolic

from exporters.coreml.pads.node import Amounts, PadError, argument

POOL_KINDS = {"avg_pool1d": 1, "avg_pool2d": 2, "avg_pool3d": 3}
"""PyTorch's average poolings and how many trailing axes each pools."""


@dataclass(frozen=True)
class AveragePool:
    """One average pooling; `kernel`, `stride` and `padding` (each side) have one entry per pooled axis."""

    name: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil_mode: bool
    counted: bool


def read_pool(context: Any, node: Any) -> tuple[Var, AveragePool]:
    """Read a pooling node; PyTorch takes an empty stride as the kernel.

    Raises PadError for `divisor_override`, which MIL does not have.
    """
    inputs = _get_inputs(context, node, min_expected=2)

    def per_axis(index: int, keyword: str, default: tuple[int, ...]) -> tuple[int, ...]:
        value = argument(context, node, inputs, index, keyword, default)
        given = tuple(int(v) for v in value) or default
        return given * POOL_KINDS[node.kind] if len(given) == 1 else given

    if argument(context, node, inputs, 6, "divisor_override", None) is not None:
        raise PadError(f"{node.name}: Core ML pools without divisor_override; scale the result in the model instead")
    kernel = per_axis(1, "kernel_size", ())
    return inputs[0], AveragePool(
        node.name,
        kernel,
        per_axis(2, "stride", kernel),
        per_axis(3, "padding", (0,)),
        bool(argument(context, node, inputs, 4, "ceil_mode", False)),
        bool(argument(context, node, inputs, 5, "count_include_pad", True)),
    )


def pool_amounts(x: Var, pool: AveragePool) -> Amounts:
    """The padding as (before, after) for every axis of `x`."""
    return ((0, 0),) * (x.rank - len(pool.padding)) + tuple((p, p) for p in pool.padding)


def write_pool(x: Var, pool: AveragePool) -> tuple[Var, str, str]:
    """Pool the last axes of `x`, (N, C, *sizes) or (C, *sizes).

    Returns the result, the operations used and why. Raises PadError for a ceil mode over a flexible axis that no
    operation of Core ML reproduces.
    """
    if x.rank == len(pool.kernel) + 1:
        result, handler, why = _write_batched(mb.expand_dims(x=x, axes=[0]), pool, f"{pool.name}_batched")
        return mb.squeeze(x=result, axes=[0], name=pool.name), handler, why
    return _write_batched(x, pool, pool.name)


def _write_batched(x: Var, pool: AveragePool, name: str) -> tuple[Var, str, str]:
    sizes = x.shape[-len(pool.kernel) :]
    why = "no padding" if not any(pool.padding) else "padding counted" if pool.counted else "padding not counted"
    if pool.ceil_mode and any(is_symbolic(n) and s > 1 for n, s in zip(sizes, pool.stride, strict=True)):
        _check_native_ceil(pool)
        return (
            _average(x, pool, pool.padding, counted=False, ceil_mode=True, name=name),
            "avg_pool",
            f"{why}, ceil mode",
        )
    overhang = [_overhang(pool, axis, size) for axis, size in enumerate(sizes)]
    if not any(overhang):
        return _average(x, pool, pool.padding, counted=pool.counted, name=name), "avg_pool", why
    why += f", ceil mode overhangs by {overhang}"
    ends = [p + o for p, o in zip(pool.padding, overhang, strict=True)]
    if pool.counted and any(pool.padding):
        # The padding becomes part of the tensor and the overhang alone is left out of the divisor.
        x = mb.pad(x=x, pad=np.ravel(pool_amounts(x, pool)).tolist(), mode="constant", name=f"{name}_padded")
        return _average(x, pool, (0,) * len(ends), overhang, counted=False, name=name), "pad + avg_pool", why
    return _average(x, pool, pool.padding, ends, counted=False, name=name), "avg_pool", why


def _overhang(pool: AveragePool, axis: int, size: Any) -> int:
    """How far the last window of a ceil-mode pooling reaches past the padding, zero where ceil changes nothing."""
    kernel, stride, padding = pool.kernel[axis], pool.stride[axis], pool.padding[axis]
    if not pool.ceil_mode or stride == 1:
        return 0
    windows = -((kernel - size - 2 * padding) // stride) + 1
    if (windows - 1) * stride >= size + padding:
        windows -= 1
    return max(0, (windows - 1) * stride + kernel - size - 2 * padding)


def _check_native_ceil(pool: AveragePool) -> None:
    """Core ML's own ceil mode agrees where nothing beyond the tensor counts and no window needs dropping unpadded."""
    past = any(s > k and p == 0 for k, s, p in zip(pool.kernel, pool.stride, pool.padding, strict=True))
    if len(pool.kernel) > 2 or past or (pool.counted and any(pool.padding)):
        raise PadError(
            f"{pool.name}: Core ML has no average pooling like ceil_mode over a flexible axis with "
            f"kernel {pool.kernel}, stride {pool.stride}, padding {pool.padding}, count_include_pad {pool.counted}; "
            "fix the size of the axis or use ceil_mode=False"
        )


def _average(
    x: Var,
    pool: AveragePool,
    starts: tuple[int, ...],
    ends: list[int] | None = None,
    *,
    counted: bool,
    ceil_mode: bool = False,
    name: str,
) -> Var:
    return mb.avg_pool(
        x=x,
        kernel_sizes=list(pool.kernel),
        strides=list(pool.stride),
        pad_type="custom",
        pad=np.ravel(list(zip(starts, starts if ends is None else ends, strict=True))).tolist(),
        exclude_padding_from_average=not counted,
        ceil_mode=ceil_mode,
        name=name,
    )
