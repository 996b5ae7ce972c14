"""How values are held while a program runs, and how results are rounded to their declared type.

A float16 value is held as a float32 tensor whose every element float16 can represent: kernels then accumulate in
float32 without a conversion, and only results are rounded. This is the least error a device shows.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

Precision = Literal["stored", "float32"]
PRECISIONS: tuple[Precision, ...] = ("stored", "float32")

# MIL type name -> (the torch type it rounds through, the torch type it is held in).
# torch lacks arithmetic on unsigned integers wider than 8 bits, hence the wider holders.
_TYPES: dict[str, tuple[torch.dtype, torch.dtype]] = {
    "fp16": (torch.float16, torch.float32),
    "fp32": (torch.float32, torch.float32),
    "fp64": (torch.float32, torch.float32),
    "bool": (torch.bool, torch.bool),
    "int8": (torch.int8, torch.int32),
    "uint8": (torch.uint8, torch.int32),
    "int16": (torch.int16, torch.int32),
    "uint16": (torch.uint16, torch.int32),
    "int32": (torch.int32, torch.int32),
    "uint32": (torch.uint32, torch.int64),
    "int64": (torch.int64, torch.int64),
    # Sub-byte integers exist as constants only.
    "int4": (torch.int8, torch.int32),
    **{f"uint{bits}": (torch.uint8, torch.int32) for bits in (1, 2, 3, 4, 6)},
}

_NUMPY: dict[str, type[np.generic]] = {
    "fp16": np.float16,
    "fp32": np.float32,
    "fp64": np.float64,
    "bool": np.bool_,
    "int8": np.int8,
    "uint8": np.uint8,
    "int16": np.int16,
    "uint16": np.uint16,
    "int32": np.int32,
    "uint32": np.uint32,
    "int64": np.int64,
}


def rounded(value: Tensor, dtype: str, precision: Precision) -> Tensor:
    """`value` as a result of MIL type `dtype`: rounded to it, in the type it is held in.

    Under "float32" float16 results keep float32's precision and range. Floats round to nearest even, and overflow to
    infinity; integers out of range wrap. Returns `value` itself where nothing changes.
    """
    through, held = _TYPES[dtype]
    if precision == "float32" and dtype == "fp16":
        return value.to(held)
    if through is held:
        return value.to(held)
    return value.to(through).to(held)


def to_tensor(array: np.ndarray | np.generic | float | bool, dtype: str) -> Tensor:
    """A NumPy value of MIL type `dtype` in the torch type it is held in; shares memory where it can."""
    _, held = _TYPES[dtype]
    plain = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
    if plain.dtype.metadata is not None or plain.dtype == np.uint32:
        plain = plain.astype(np.int64)
    if not plain.flags.writeable:
        plain = plain.copy()
    return torch.from_numpy(plain).to(held)


def to_numpy(value: Tensor, dtype: str) -> np.ndarray:
    """A held value as a NumPy array of its MIL type, shape kept; the array owns its memory."""
    return np.array(value.detach().numpy()).astype(_NUMPY[dtype], copy=False)
