"""Where float16 endangers a package: values on the way that float16 cannot hold, found by running it in float32.

The executor rounds nothing to float16 here, so that every result of an op which the file declares float16 is seen as it
should be, and judged on its own: an overflow is reported where it happens, not where it has become NaN ten ops later.

A known limit: constants come as the file stores them. An epsilon that the converter has already rounded to 0 can no
longer be told from a zero that was meant, and a floor that it has lifted from 1e-10 to the least subnormal, 6e-8, is
reported as the subnormal that it is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal, Protocol

import coremltools as ct
import numpy as np
import torch
from torch import Tensor

from validators.coreml.errors import InputError
from validators.coreml.interpreter import Step
from validators.coreml.model import CoreMLModel
from validators.coreml.rules.families import family

LARGEST = 65504.0
SMALLEST_NORMAL = 2.0**-14

# What fails in an op that only moves values has failed before.
_MOVING = family("tensor_transformation") | {
    "concat",
    "gather",
    "gather_along_axis",
    "identity",
    "split",
    "stack",
    "tile",
}

Kind = Literal["overflow", "vanishes", "imprecise"]
ADVICE: dict[Kind, str] = {
    "overflow": "keep the op in float32, or scale down what goes in",
    "vanishes": "keep the op in float32 or scale up what goes in, above all before log, rsqrt or a division",
    "imprecise": "keep the op in float32 or scale up what goes in, unless larger values are added to it anyway",
}


class Sound(Protocol):
    """What the package is run on: arrays by input name, their first axis a batch."""

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> Mapping[str, np.ndarray]: ...


@dataclass(frozen=True)
class Hazard:
    """One way in which float16 fails one value in one case.

    `operand` names the constant input in question, and is empty for the op's result. `figure` is, by `kind`:
    overflow: the greatest magnitude, infinity also where float32 itself gives NaN;
    vanishes: the share of the non-zero elements that become zero or subnormal, which some devices take for zero;
    imprecise: the share of the non-zero elements that survive and lose more than the stated share of their value.
    """

    op: str
    op_type: str
    operand: str
    case: str
    kind: Kind
    figure: float
    advice: str


def hazards(
    package: str | PathLike[str] | ct.models.MLModel,
    cases: Iterable[Sound],
    *,
    loss: float = 2.0**-8,
    least: float = 0.01,
) -> list[Hazard]:
    """Every hazard of every case, in the order of the program; ops that only move values are left out.

    An element is imprecise where float16 moves it by more than `loss` of its value; normal numbers move by 2**-11 at
    most. What vanishes or is imprecise is reported from a share of `least` of the elements on, an overflow always.
    A constant is reported under the first case. Rows of a batch run one by one where the package takes one clip only,
    and cases of a length that it does not take are left out.

    Raises `InputError` when the package takes none of the cases; `PackageError` and `ExecutionError` as the executor.
    """
    model = CoreMLModel(package, precision="float32")
    order: dict[str, int] = {}
    worst: dict[tuple[str, str, str, Kind], Hazard] = {}

    def observer(case: str) -> Any:
        def observe(step: Step, arguments: dict[str, Any], results: tuple[Any, ...]) -> None:
            for name, operand, value in _judged(step, results, order):
                for kind, figure in _failings(value, loss, least):
                    hazard = Hazard(name, step.op.op_type, operand, case, kind, figure, ADVICE[kind])
                    key = (name, operand, case, kind)
                    worst[key] = max(worst.get(key, hazard), hazard, key=lambda one: one.figure)

        return observe

    for case in cases:
        for clip in _clips(model, case.inputs):
            model.run(clip, None, observer(case.name))
    if not order:
        taken = ", ".join(f"{name} {feature.describe()}" for name, feature in model.inputs.items())
        raise InputError(f"{model.package.source}: takes none of the cases; it takes {taken}")
    return sorted(worst.values(), key=lambda hazard: order[hazard.op])


def _clips(model: CoreMLModel, inputs: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """What the package takes of a case: all of it at once, or row by row, or nothing."""
    if inputs.keys() != model.inputs.keys():
        return []
    count = len(next(iter(inputs.values())))
    rows = [{name: value[row : row + 1] for name, value in inputs.items()} for row in range(count)]
    for clips in ([dict(inputs)], rows):
        if all(model.inputs[name].allows(value.shape) for clip in clips for name, value in clip.items()):
            return clips
    return []


def _judged(step: Step, results: tuple[Any, ...], order: dict[str, int]) -> Iterator[tuple[str, str, Tensor]]:
    """(op, operand, value) of a step's float16 results and, the first time, of its constants; enters it in `order`."""
    name = step.outputs[0].var.name
    first = name not in order
    order.setdefault(name, len(order))
    if step.op.op_type in _MOVING:
        return
    halves = [
        result
        for output, result in zip(step.outputs, results, strict=True)
        if output.type.dtype == "fp16" and isinstance(result, Tensor)
    ]
    for result in halves:
        yield name, "", result
    if halves and first:
        for operand, value in step.fixed.items():
            # An infinite constant is meant: a clip without an upper bound, a mask.
            if isinstance(value, Tensor) and value.is_floating_point():
                yield name, operand, value[value.isfinite()]


def _failings(value: Tensor, loss: float, least: float) -> Iterator[tuple[Kind, float]]:
    if value.numel() == 0:
        return
    magnitude = value.abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
    greatest = float(magnitude.max())
    if greatest > LARGEST:
        yield "overflow", greatest
    count = max(int(magnitude.count_nonzero()), 1)
    small = (magnitude > 0) & (magnitude < SMALLEST_NORMAL)
    if (share := int(small.count_nonzero()) / count) >= least:
        yield "vanishes", share
    # Only subnormals can lose more than 2**-11, so the rest need not be looked at when that is allowed.
    tiny = magnitude[small] if loss >= 2.0**-11 else magnitude[(magnitude > 0) & (magnitude <= LARGEST)]
    kept = tiny.half().float()
    lost = (kept > 0) & ((kept - tiny).abs() > loss * tiny)
    if (share := int(lost.count_nonzero()) / count) >= least:
        yield "imprecise", share
