"""Faults that conversions make, to be planted into right models: what all formats have in common.

A fault keeps all shapes wherever the graph would not run otherwise. `planted_onnx` and `planted_coreml` say at which
ops a fault can be, by the name of their first result, and change a model at one of them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

# What float16 ends at, well within.
OVER = 2.0**22


def spread(places: Sequence[str]) -> dict[str, str]:
    """The first, the middle and the last of them, each once."""
    chosen = {"first": 0, "middle": len(places) // 2, "last": len(places) - 1} if places else {}
    named: dict[str, str] = {}
    for part, place in chosen.items():
        if places[place] not in named.values():
            named[part] = places[place]
    return named


def weights_of(array: np.ndarray, fault: str) -> np.ndarray:
    """A weight as the fault leaves it, in its own shape; the first axis is that of what comes out."""
    if fault == "transposed weight":
        return np.ascontiguousarray(np.swapaxes(array, 0, 1)).reshape(array.shape)
    if fault == "stale constant":
        noise = np.random.RandomState(array.size % 1000).randn(*array.shape)
        return (array + 0.1 * array.std() * noise).astype(array.dtype)
    if fault == "fused norm":
        # Folded with 1e-3 where the variances were learned beside 1e-5.
        variances = np.random.RandomState(len(array)).uniform(0.005, 0.2, len(array))
        factor = np.sqrt((variances + 1e-5) / (variances + 1e-3)).astype(array.dtype)
        return array * factor.reshape(-1, *[1] * (array.ndim - 1))
    raise ValueError(fault)


WEIGHTS = ("transposed weight", "stale constant", "fused norm")
FAULTS = (
    "padding",
    "axis",
    "epsilon",
    *WEIGHTS,
    "swapped outputs",
    "wrong default",
    "float16 overflow",
    "dilated convolution",
    "ceil mode",
    "align corners",
    "asymmetric pad",
)


def mixes(array: np.ndarray | None, perm: Sequence[int]) -> bool:
    """Whether this order of the axes moves anything."""
    if array is None:
        return False
    kept = [axis for axis in perm if array.shape[axis] != 1]
    return kept != sorted(kept)


def ceiled(array: np.ndarray | None, has: dict[str, Any]) -> bool:
    """Whether rounding up gives another size."""
    if array is None or has.get("ceil_mode"):
        return False
    sizes = array.shape[2:]
    pads = has.get("pads", [0] * 2 * len(sizes))
    spans = [size + pads[axis] + pads[axis + len(sizes)] - has["kernel_shape"][axis] for axis, size in enumerate(sizes)]
    strides = has.get("strides", [1] * len(sizes))
    return any(
        span % stride and -(-span // stride) * stride < size + pads[axis]
        for axis, (span, stride, size) in enumerate(zip(spans, strides, sizes, strict=True))
    )


def large_beside(variances: np.ndarray) -> float:
    """An epsilon that changes anything, whatever the variances are beside which it stands."""
    return float(0.01 * variances.mean())
