"""Kernels by MIL op name and op set.

A kernel is a function of keyword-only parameters named exactly as the op's inputs in the MIL op definitions. It
computes in float32 and the integer types and knows nothing of the precision it runs under: the interpreter converts
what goes in and rounds what comes out.

What a kernel receives: tensors and scalars as `torch.Tensor` (0-d for scalars; float16 values as float32, integers as
int32, uint32 as int64, booleans as `torch.bool`), strings as `str`, tuple inputs as tuples. An optional input with a
documented default arrives as that default, without one it is not passed, so its parameter defaults to None.
What it returns: one tensor, or a tuple with one item per output of the op.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])

OPSETS = ("iOS15", "iOS16", "iOS17", "iOS18")


@dataclass(frozen=True)
class Kernel:
    """One registered implementation of a MIL op.

    `opset` is the first op set it is valid for. `wants_op` kernels also receive the `Operation` itself as `op`.
    """

    op: str
    opset: str
    run: Callable[..., Any]
    wants_op: bool = False


_KERNELS: dict[str, list[Kernel]] = {}


def _number(opset: str) -> int:
    return int(opset.removeprefix("iOS"))


def kernel(op: str, opset: str = "iOS15", wants_op: bool = False) -> Callable[[Function], Function]:
    """Register the decorated function for MIL op `op` from `opset` on, until a newer registration takes over.

    Decorators stack: one function may serve several ops. Raises `ValueError` when the pair is taken.
    """
    if opset not in OPSETS:
        raise ValueError(f"op {op!r}: op set {opset!r} is unknown; choose one of {', '.join(OPSETS)}")

    def register(function: Function) -> Function:
        versions = _KERNELS.setdefault(op, [])
        if any(known.opset == opset for known in versions):
            raise ValueError(f"op {op!r} already has a kernel for op set {opset}; register each pair once")
        versions.append(Kernel(op, opset, function, wants_op))
        versions.sort(key=lambda known: _number(known.opset))
        return function

    return register


def lookup(op: str, opset: str) -> Kernel | None:
    """The newest kernel of `op` that is not newer than `opset`, or None when there is none."""
    valid = [known for known in _KERNELS.get(op, ()) if _number(known.opset) <= _number(opset)]
    return valid[-1] if valid else None


def registered() -> dict[str, tuple[Kernel, ...]]:
    """Every kernel by op name, oldest op set first."""
    return {op: tuple(versions) for op, versions in sorted(_KERNELS.items())}


def ints(tensor: Tensor) -> list[int]:
    """The values of an integer tensor of any rank as a flat list of Python integers."""
    return [int(value) for value in tensor.reshape(-1).tolist()]
