"""What single ops' float16 does to a float32 program's outputs: run once in float32, and again only where that differs.

An op in float16 takes what it is fed rounded to that type, its constants too, and gives its result so. This is what
coremltools' conversion makes of it, and how the executor runs that: sums stay in float32.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from coremltools.converters.mil.mil import Var
from torch import Tensor

from validators.coreml.interpreter import Step, run_step
from validators.coreml.model import CoreMLModel

# Of constants that would become zero coremltools makes the least that float16 has, where they are few: floors.
_LEAST = 2.0**-24
_FEW = 400


class Halving:
    """The run of a float32 program on one clip, kept with all that it computed."""

    def __init__(self, model: CoreMLModel, clip: Mapping[str, np.ndarray]) -> None:
        self._package = model.package
        self._seen: list[tuple[Step, dict[str, Any]]] = []
        self._exact = model.run(clip, None, lambda step, arguments, results: self._seen.append((step, arguments)))

    @torch.inference_mode()
    def outputs(self, halves: Collection[str]) -> dict[str, np.ndarray]:
        """By name, with the ops that give these values in float16, and all others in float32."""
        changed: dict[Var, Any] = {}
        for step, arguments in self._seen:
            half = step.outputs[0].var.name in halves
            if not half and not any(map(changed.__contains__, _variables(tuple(step.wired.values())))):
                continue
            fed = {name: _now(step.wired.get(name), value, changed) for name, value in arguments.items()}
            if half:
                fed = {name: _halved(value, fixed=name in step.fixed) for name, value in fed.items()}
            results = run_step(step, fed, (), self._package, "float32")
            results = tuple(map(_halved, results)) if half else results
            changed.update((output.var, result) for output, result in zip(step.outputs, results, strict=True))
        now = {var.name: changed[var].numpy() for var in self._package.function.outputs if var in changed}
        return {name: now.get(name, value) for name, value in self._exact.items()}


def _variables(wiring: Any) -> list[Var]:
    if isinstance(wiring, tuple):
        return [var for one in wiring for var in _variables(one)]
    return [wiring] if isinstance(wiring, Var) else []


def _now(wiring: Any, value: Any, changed: Mapping[Var, Any]) -> Any:
    if isinstance(wiring, tuple):
        return tuple(_now(one, own, changed) for one, own in zip(wiring, value, strict=True))
    return changed.get(wiring, value) if isinstance(wiring, Var) else value


def _halved(value: Any, fixed: bool = False) -> Any:
    if isinstance(value, tuple):
        return tuple(_halved(one, fixed) for one in value)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    half = value.half().to(value.dtype)
    if fixed and value.numel() < _FEW:
        half = torch.where((half == 0) & (value != 0), torch.copysign(torch.tensor(_LEAST), value), half)
    return half
