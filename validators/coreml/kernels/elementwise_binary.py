"""Elementwise binary ops with NumPy broadcasting (coremltools `iOS15/elementwise_binary.py`)."""

from collections.abc import Callable

import torch
from torch import Tensor

from validators.coreml.registry import kernel


@kernel("add")
def add(*, x: Tensor, y: Tensor) -> Tensor:
    return x + y


@kernel("sub")
def sub(*, x: Tensor, y: Tensor) -> Tensor:
    return x - y


@kernel("mul")
def mul(*, x: Tensor, y: Tensor) -> Tensor:
    return x * y


@kernel("real_div")
def real_div(*, x: Tensor, y: Tensor) -> Tensor:
    """The quotient of integers truncates toward zero, as its integer type demands."""
    if x.is_floating_point() or y.is_floating_point():
        return x / y
    return _by_integers(x, y, lambda a, b: torch.div(a, b, rounding_mode="trunc"))


@kernel("floor_div")
def floor_div(*, x: Tensor, y: Tensor) -> Tensor:
    """Rounds toward negative infinity, integers included."""
    if x.is_floating_point() or y.is_floating_point():
        return torch.floor_divide(x, y)
    return _by_integers(x, y, torch.floor_divide)


@kernel("mod")
def mod(*, x: Tensor, y: Tensor) -> Tensor:
    """The remainder of `floor_div`: it has the sign of `y`."""
    if x.is_floating_point() or y.is_floating_point():
        return torch.remainder(x, y)
    return _by_integers(x, y, torch.remainder)


def _by_integers(x: Tensor, y: Tensor, divide: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`divide` where `y` is not 0 and 0 elsewhere, as NumPy has it; torch raises there.

    In int64, since the processor traps the least int32 divided by -1 and ends the process; the result wraps as in C.
    """
    zero = y == 0
    quotient = divide(x.to(torch.int64), torch.where(zero, 1, y).to(torch.int64))
    return torch.where(zero, 0, quotient).to(torch.promote_types(x.dtype, y.dtype))


@kernel("pow")
def pow_(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.pow(x, y)


@kernel("maximum")
def maximum(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x, y)


@kernel("minimum")
def minimum(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.minimum(x, y)


@kernel("equal")
def equal(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.eq(x, y)


@kernel("not_equal")
def not_equal(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.ne(x, y)


@kernel("greater")
def greater(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.gt(x, y)


@kernel("greater_equal")
def greater_equal(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.ge(x, y)


@kernel("less")
def less(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.lt(x, y)


@kernel("less_equal")
def less_equal(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.le(x, y)


@kernel("logical_and")
def logical_and(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.logical_and(x, y)


@kernel("logical_or")
def logical_or(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.logical_or(x, y)


@kernel("logical_xor")
def logical_xor(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.logical_xor(x, y)
