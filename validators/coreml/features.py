"""Holds inputs and outputs to the features that the model description declares, as Core ML does before it runs.

Accepted element types are those of coremltools' own binding: float32, float64, int32 and int8 arrays, float16 ones
after widening (`MLModel._update_float16_multiarray_input_to_float32`); int64, bool and the rest it cannot convert. Core
ML then converts between these and the declared type.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from coremltools import proto

from validators.coreml.errors import InputError, PackageError

_ARRAY = proto.FeatureTypes_pb2.ArrayFeatureType
_DTYPES: dict[int, type[np.generic]] = {
    _ARRAY.FLOAT16: np.float16,
    _ARRAY.FLOAT32: np.float32,
    _ARRAY.DOUBLE: np.float64,
    _ARRAY.INT32: np.int32,
    _ARRAY.INT8: np.int8,
}
_DEFAULTS = {"floatDefaultValue", "doubleDefaultValue", "intDefaultValue"}
_ACCEPTED = (np.float16, np.float32, np.float64, np.int32, np.int8)


@dataclass(frozen=True)
class ArrayFeature:
    """A multi-array feature: the declared shape, and what else it may be.

    `ranges` holds inclusive (lower, upper) bounds per dimension, upper None where unlimited; `enumerated` the allowed
    shapes. `default` fills an optional input which is left out; None for a required one.
    """

    name: str
    dtype: type[np.generic]
    shape: tuple[int, ...]
    ranges: tuple[tuple[int, int | None], ...] = ()
    enumerated: tuple[tuple[int, ...], ...] = ()
    default: float | None = None

    def describe(self) -> str:
        """The allowed shapes in words."""
        if self.enumerated:
            return f"one of {', '.join(map(str, self.enumerated))}"
        if self.ranges:
            sizes = (f"{low}" if low == high else f"{low}..{'' if high is None else high}" for low, high in self.ranges)
            return f"within ({', '.join(sizes)})"
        return str(self.shape)

    def allows(self, shape: tuple[int, ...]) -> bool:
        """Whether Core ML takes an array of `shape`; a rank-0 feature takes one element."""
        if self.enumerated:
            return shape in self.enumerated
        if self.ranges:
            return len(shape) == len(self.ranges) and all(
                low <= size and (high is None or size <= high)
                for size, (low, high) in zip(shape, self.ranges, strict=True)
            )
        return shape == self.shape or (self.shape == () and shape == (1,))


def array_feature(feature: Any, source: str) -> ArrayFeature:
    """The `ArrayFeature` of a `FeatureDescription` message; raises `PackageError` for images and other kinds."""
    kind = feature.type.WhichOneof("Type")
    if kind == "stateType":
        array, optional = feature.type.stateType.arrayType, False
    elif kind == "multiArrayType":
        array, optional = feature.type.multiArrayType, feature.type.isOptional
    else:
        raise PackageError(
            f"{source}: feature {feature.name!r} is of type {kind}, only multi-arrays are supported; "
            "convert with ct.TensorType inputs and outputs"
        )
    if array.dataType not in _DTYPES:
        named = _ARRAY.ArrayDataType.Name(array.dataType)
        raise PackageError(f"{source}: feature {feature.name!r} has element type {named}, which no ML program takes")
    default = None
    if optional:
        given = array.WhichOneof("defaultOptionalValue")
        default = float(getattr(array, given)) if given in _DEFAULTS else 0.0
    return ArrayFeature(
        feature.name,
        _DTYPES[array.dataType],
        tuple(array.shape),
        tuple(
            (bounds.lowerBound, None if bounds.upperBound < 0 else bounds.upperBound)
            for bounds in array.shapeRange.sizeRanges
        ),
        tuple(tuple(allowed.shape) for allowed in array.enumeratedShapes.shapes),
        default,
    )


def checked_array(value: Any, feature: ArrayFeature, source: str) -> np.ndarray:
    """`value` (array, torch tensor, list or number) as an array of the declared type and an allowed shape.

    Raises `InputError` for any other shape, or an element type which coremltools' binding does not convert.
    """
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype == np.int64 and not isinstance(value, (np.ndarray, np.generic, torch.Tensor)):
        # Plain whole numbers have no type of their own; NumPy gives them the widest.
        array = _narrowed(array, feature, source)
    if array.dtype not in _ACCEPTED:
        raise InputError(
            f"{source}: input {feature.name!r} has element type {array.dtype}; "
            f"Core ML takes {', '.join(np.dtype(kind).name for kind in _ACCEPTED)}: cast it first"
        )
    if not feature.allows(array.shape):
        raise InputError(
            f"{source}: input {feature.name!r} has shape {array.shape}, the model takes {feature.describe()}"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # a float16 input overflows to infinity as on a device
        return array.astype(feature.dtype)


def _narrowed(array: np.ndarray, feature: ArrayFeature, source: str) -> np.ndarray:
    bounds = np.iinfo(np.int32)
    if array.size and not bounds.min <= array.min() <= array.max() <= bounds.max:
        raise InputError(f"{source}: input {feature.name!r} holds whole numbers beyond int32: scale them first")
    return array.astype(np.int32)
