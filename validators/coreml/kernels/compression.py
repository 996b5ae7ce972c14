"""Compressed weights (coremltools `iOS16/constexpr_ops.py`, `iOS18/compression.py`).

The arithmetic is coremltools' own decompression; these ops run once, when a model is loaded. A compressed weight may be
made of others (a sparse one of palette indices, a palette of quantized values), which are decompressed first.
"""

from inspect import signature

import numpy as np
from coremltools.converters.mil.mil import Operation, Var, types
from torch import Tensor

from validators.coreml.precision import to_tensor
from validators.coreml.registry import kernel


@kernel("constexpr_affine_dequantize", opset="iOS16", wants_op=True)
@kernel("constexpr_cast", opset="iOS16", wants_op=True)
@kernel("constexpr_lut_to_dense", opset="iOS16", wants_op=True)
@kernel("constexpr_sparse_to_dense", opset="iOS16", wants_op=True)
@kernel("constexpr_blockwise_shift_scale", opset="iOS18", wants_op=True)
@kernel("constexpr_lut_to_sparse", opset="iOS18", wants_op=True)
@kernel("constexpr_sparse_blockwise_shift_scale", opset="iOS18", wants_op=True)
def decompress(*, op: Operation, **_: Tensor | str) -> tuple[Tensor, ...]:
    """Every output of a `constexpr_*` op as the values it stands for."""
    return tuple(
        to_tensor(array, types.builtin_to_string(var.dtype)) for array, var in zip(_arrays(op), op.outputs, strict=True)
    )


def _arrays(op: Operation) -> tuple[np.ndarray, ...]:
    if not hasattr(op, "decompress"):
        return (op.materialized_val_inference(),)
    inputs = {name: _array(var) for name, var in op.inputs.items()}
    results = op.decompress(**{name: inputs.get(name) for name in signature(op.decompress).parameters})
    return results if isinstance(results, tuple) else (results,)


def _array(var: Var) -> np.ndarray:
    if var.val is not None:
        return var.val
    return _arrays(var.op)[var.op_output_idx]
