"""Control flow: branches, loops, selection and lists of tensors (coremltools `iOS15/control_flow.py`)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from validators.coreml.registry import ints, kernel

Block = Callable[..., tuple[Tensor, ...]]


@kernel("cond")
def cond(*, pred: Tensor, blocks: tuple[Block, Block]) -> tuple[Tensor, ...]:
    """Runs the first block where `pred` holds, the second elsewhere."""
    taken, other = blocks
    return taken() if bool(pred) else other()


@kernel("while_loop")
def while_loop(*, loop_vars: tuple[Tensor, ...], blocks: tuple[Block, Block]) -> tuple[Tensor, ...]:
    """Tests the first block before each round of the second."""
    condition, body = blocks
    while bool(condition(*loop_vars)[0]):
        loop_vars = body(*loop_vars)
    return loop_vars


@kernel("select")
def select(*, cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a` where `cond` holds, `b` elsewhere, all three broadcast; what is not taken may be NaN."""
    return torch.where(cond, a, b)


@dataclass(frozen=True)
class TensorList:
    """A list of tensors of one shape; None stands for an element nobody has written, which reads as zeros.

    `shape` is None while the shape of the elements is unknown. Writing past the end grows a `dynamic` list.
    """

    elements: tuple[Tensor | None, ...]
    shape: tuple[int, ...] | None
    dtype: torch.dtype
    dynamic: bool

    def written(self, index: int, value: Tensor) -> "TensorList":
        """The list with `value` at `index`."""
        if index < 0 or (index >= len(self.elements) and not self.dynamic):
            raise IndexError(f"index {index} is outside a list of fixed length {len(self.elements)}")
        elements = [*self.elements, *[None] * (index + 1 - len(self.elements))]
        elements[index] = value
        return replace(self, elements=tuple(elements), shape=tuple(value.shape))

    def at(self, index: int) -> Tensor:
        """The element at `index`."""
        if not 0 <= index < len(self.elements):
            raise IndexError(f"index {index} is outside a list of length {len(self.elements)}")
        element = self.elements[index]
        if element is not None:
            return element
        if self.shape is None:
            raise ValueError(f"element {index} has no shape yet: the list was never written")
        return torch.zeros(self.shape, dtype=self.dtype)


_DTYPES = {"fp16": torch.float32, "fp32": torch.float32, "int32": torch.int32, "bool": torch.bool}


@kernel("make_list")
def make_list(
    *,
    elem_shape: tuple[Tensor | str, ...],
    init_length: Tensor | None = None,
    dynamic_length: Tensor | None = None,
    dtype: str = "fp32",
) -> TensorList:
    """A list of `init_length` elements of `elem_shape`; a string there is a size known at run time only."""
    shape = None if any(isinstance(size, str) for size in elem_shape) else tuple(int(size) for size in elem_shape)
    length = 1 if init_length is None else int(init_length)
    return TensorList((None,) * length, shape, _DTYPES[dtype], dynamic_length is None or bool(dynamic_length))


@kernel("list_length")
def list_length(*, ls: TensorList) -> Tensor:
    return torch.tensor(len(ls.elements), dtype=torch.int32)


@kernel("list_write")
def list_write(*, ls: TensorList, index: Tensor, value: Tensor) -> TensorList:
    return ls.written(int(index), value)


@kernel("list_read")
def list_read(*, ls: TensorList, index: Tensor) -> Tensor:
    return ls.at(int(index))


@kernel("list_gather")
def list_gather(*, ls: TensorList, indices: Tensor) -> Tensor:
    """The elements at `indices`, stacked along a new first dimension."""
    return torch.stack([ls.at(index) for index in ints(indices)])


@kernel("list_scatter")
def list_scatter(*, ls: TensorList, indices: Tensor, value: Tensor) -> TensorList:
    """Writes `value[i]` at `indices[i]`, in order."""
    for index, element in zip(ints(indices), value, strict=True):
        ls = ls.written(index, element)
    return ls
