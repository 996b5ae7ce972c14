"""Elementwise unary ops and `cast` (coremltools `iOS15/elementwise_unary.py`; iOS 17 only widens types)."""

import torch
from torch import Tensor

from validators.coreml.registry import kernel


@kernel("abs")
def abs_(*, x: Tensor) -> Tensor:
    return torch.abs(x)


@kernel("acos")
def acos(*, x: Tensor) -> Tensor:
    return torch.acos(x)


@kernel("asin")
def asin(*, x: Tensor) -> Tensor:
    return torch.asin(x)


@kernel("atan")
def atan(*, x: Tensor) -> Tensor:
    return torch.atan(x)


@kernel("atanh")
def atanh(*, x: Tensor) -> Tensor:
    return torch.atanh(x)


@kernel("ceil")
def ceil(*, x: Tensor) -> Tensor:
    return torch.ceil(x)


@kernel("clip")
def clip(*, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """`beta` wins where `alpha` exceeds it, which iOS 15 and 16 let pass."""
    return torch.clamp(x, alpha, beta)


@kernel("cos")
def cos(*, x: Tensor) -> Tensor:
    return torch.cos(x)


@kernel("cosh")
def cosh(*, x: Tensor) -> Tensor:
    return torch.cosh(x)


@kernel("erf")
def erf(*, x: Tensor) -> Tensor:
    return torch.erf(x)


@kernel("exp")
def exp(*, x: Tensor) -> Tensor:
    return torch.exp(x)


@kernel("exp2")
def exp2(*, x: Tensor) -> Tensor:
    """An integer power below zero truncates to 0."""
    return torch.exp2(x) if x.is_floating_point() else torch.exp2(x.double())


@kernel("floor")
def floor(*, x: Tensor) -> Tensor:
    return torch.floor(x)


@kernel("inverse")
def inverse(*, x: Tensor, epsilon: Tensor) -> Tensor:
    """`1 / (x + epsilon)`: not the reciprocal, the default epsilon is 1e-4."""
    return torch.reciprocal(x + epsilon)


@kernel("log")
def log(*, x: Tensor, epsilon: Tensor) -> Tensor:
    """`log(x + epsilon)`; the default 1e-45 is 0 in float16."""
    return torch.log(x + epsilon)


@kernel("logical_not")
def logical_not(*, x: Tensor) -> Tensor:
    return torch.logical_not(x)


@kernel("round")
def round_(*, x: Tensor) -> Tensor:
    """Halves go to the even neighbour."""
    return torch.round(x)


@kernel("rsqrt")
def rsqrt(*, x: Tensor, epsilon: Tensor) -> Tensor:
    """`1 / sqrt(x + epsilon)`; the default 1e-12 is 0 in float16."""
    return torch.rsqrt(x + epsilon)


@kernel("sign")
def sign(*, x: Tensor) -> Tensor:
    return torch.where(torch.isnan(x), x, torch.sign(x)) if x.is_floating_point() else torch.sign(x)


@kernel("sin")
def sin(*, x: Tensor) -> Tensor:
    return torch.sin(x)


@kernel("sinh")
def sinh(*, x: Tensor) -> Tensor:
    return torch.sinh(x)


@kernel("sqrt")
def sqrt(*, x: Tensor) -> Tensor:
    return torch.sqrt(x)


@kernel("square")
def square(*, x: Tensor) -> Tensor:
    return x * x


@kernel("tan")
def tan(*, x: Tensor) -> Tensor:
    return torch.tan(x)


@kernel("tanh")
def tanh(*, x: Tensor) -> Tensor:
    return torch.tanh(x)


@kernel("threshold")
def threshold(*, x: Tensor, alpha: Tensor) -> Tensor:
    """Lifts what is below `alpha` to `alpha`."""
    return torch.maximum(x, alpha)


_INTEGERS = {
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int16": torch.int16,
    "uint16": torch.uint16,
    "int32": torch.int32,
}
_FLOATS = ("fp16", "fp32")


@kernel("cast")
def cast(*, x: Tensor, dtype: str) -> Tensor:
    """Floats to integers truncate toward zero and saturate, NaN becomes 0, as Arm's FCVTZS does; integers wrap."""
    if dtype == "bool":
        return x != 0
    if dtype in _FLOATS:
        return x.to(torch.float32)
    if dtype not in _INTEGERS:
        raise ValueError(f"dtype {dtype!r} is unknown; expected bool, {', '.join((*_FLOATS, *_INTEGERS))}")
    if not x.is_floating_point():
        return x.to(_INTEGERS[dtype]).to(torch.int32)
    limits = torch.iinfo(_INTEGERS[dtype])
    # float64 holds both limits of int32 exactly, float32 does not.
    return torch.nan_to_num(x.double(), nan=0.0).clamp(limits.min, limits.max).to(torch.int32)
