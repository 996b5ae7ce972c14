"""What summing in float16 could add to a result.

Core ML does not say in which precision a convolution or a matrix product is summed: the Neural Engine uses float16, the
GPU mostly float32. The executor sums in float32; this bounds the distance to any float16 summation, whatever its order.

For an inner product of n terms, in round-to-nearest with unit roundoff u and no overflow,
|computed - exact| <= n u sum |a_i| |b_i| (Jeannerod and Rump, "Improved Error Bounds for Inner Products in
Floating-Point Arithmetic", SIAM J. Matrix Anal. Appl. 34, 2013; unlike Higham's gamma_n it holds for every n). A
product that underflows adds at most half the smallest subnormal. The executor's own value, a float32 sum rounded once,
is as far from the exact one as float32's bound and one rounding allow; the two distances are added. Both the number of
terms and the sum of absolute values come from the op itself, run on ones and on absolute values, so that padding,
groups and strides count as they should.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from validators.coreml.interpreter import Step
from validators.coreml.model import CoreMLModel, State

FLOAT16_ROUNDOFF = 2.0**-11
FLOAT32_ROUNDOFF = 2.0**-24
HALF_SUBNORMAL = 2.0**-25
LARGEST = 65504.0

# The inputs of each op whose products or values are summed.
_SUMMED = {
    "conv": ("x", "weight", "bias"),
    "conv_transpose": ("x", "weight", "bias"),
    "linear": ("x", "weight", "bias"),
    "matmul": ("x", "y"),
    "einsum": ("values",),
}


@dataclass(frozen=True)
class AccumulationBound:
    """How far a float16 sum may lie from the value which the executor computed, for one op's result.

    `error` bounds each element, in the units of the value; it is infinite where partial sums could overflow. `terms` is
    the largest number of summands of one element. The bound is of this op alone: errors of its inputs are not in it.
    """

    name: str
    op: str
    terms: int
    error: np.ndarray


def accumulation_bounds(
    model: CoreMLModel, data: Mapping[str, Any], state: State | None = None
) -> list[AccumulationBound]:
    """The bound of every float16 convolution and matrix product of one prediction, in order."""
    bounds: list[AccumulationBound] = []

    def observe(step: Step, arguments: dict[str, Any], results: tuple[Any, ...]) -> None:
        output = step.outputs[0]
        if step.op.op_type not in _SUMMED or output.type.dtype != "fp16":
            return
        magnitude = _run(step, arguments, torch.abs)
        terms = _run(step, arguments, torch.ones_like)
        error = terms * ((FLOAT16_ROUNDOFF + FLOAT32_ROUNDOFF) * magnitude + HALF_SUBNORMAL)
        error += FLOAT16_ROUNDOFF * magnitude + HALF_SUBNORMAL
        # Rounding may carry a partial sum just below the largest number over it.
        error = torch.where(magnitude + error > LARGEST, torch.inf, error)
        bounds.append(AccumulationBound(output.var.name, step.op.op_type, int(terms.max()), error.numpy()))

    model.run(data, state, observe)
    return bounds


def _run(step: Step, arguments: dict[str, Any], change: Callable[[Tensor], Tensor]) -> Tensor:
    """The step's result with `change` applied to every summed input."""
    changed = dict(arguments)
    for name in _SUMMED[step.op.op_type]:
        value = changed.get(name)
        if isinstance(value, tuple):
            changed[name] = tuple(change(item) for item in value)
        elif value is not None:
            changed[name] = change(value)
    return step.kernel.run(**changed)
