"""Predictions of a Core ML ML program on any machine, with the signature of coremltools' `MLModel`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import coremltools as ct
import numpy as np
import torch
from coremltools.converters.mil.mil import types
from torch import Tensor

from validators.coreml.errors import CoreMLError, InputError, InputNameError, StateError
from validators.coreml.features import ArrayFeature, array_feature, checked_array
from validators.coreml.interpreter import Interpreter, Observer, Step
from validators.coreml.package import read
from validators.coreml.precision import PRECISIONS, Precision, rounded, to_numpy, to_tensor


@dataclass
class StateCell:
    """The current value of one state while a program runs."""

    value: Tensor
    dtype: str


class State:
    """The memory of a stateful model between predictions, as coremltools' `MLState`; starts as zeros."""

    def __init__(self, cells: dict[str, StateCell], precision: Precision) -> None:
        self.cells = cells
        self._precision = precision

    def read_state(self, name: str) -> np.ndarray:
        """A copy of the state's value in its declared type."""
        cell = self._cell(name)
        return to_numpy(cell.value, cell.dtype)

    def write_state(self, name: str, value: np.ndarray) -> None:
        """Replace the state's value by one of the same shape; it is rounded to the declared type."""
        cell = self._cell(name)
        array = np.asarray(value)
        if array.shape != tuple(cell.value.shape):
            raise StateError(f"state {name!r} has shape {tuple(cell.value.shape)}, got {array.shape}")
        cell.value = rounded(torch.from_numpy(array.astype(np.float32)), cell.dtype, self._precision)

    def _cell(self, name: str) -> StateCell:
        if name not in self.cells:
            raise StateError(f"no state {name!r}; the model has {', '.join(sorted(self.cells)) or 'none'}")
        return self.cells[name]


@dataclass(frozen=True)
class Intermediate:
    """One value computed on the way: its name in the file, the MIL op that made it, and the array in its own type."""

    name: str
    op: str
    value: np.ndarray

    @property
    def finite(self) -> bool:
        """Whether no element is infinite or NaN."""
        return bool(np.isfinite(self.value).all())


class _StopError(CoreMLError):
    """Ends a run early once the observer has what it wanted."""


class CoreMLModel:
    """An ML program ready to run.

    `package` is the path of a `.mlpackage` or an in-memory `coremltools.models.MLModel`; of a multifunction model
    `function_name` is run, by default the one which the model names. `precision` is "stored" (every result rounded to
    its declared type, sums in float32: the least error that a device will show) or "float32" (nothing is rounded to
    float16: what is wrong then is the graph, not the rounding).

    Raises `PackageError` for anything that is no readable ML program of multi-arrays, and `UnsupportedOpError` naming
    op and output where a kernel is missing.
    """

    def __init__(
        self,
        package: str | PathLike[str] | ct.models.MLModel,
        precision: Precision = "stored",
        function_name: str | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
        self.package = read(package, function_name)
        self.precision: Precision = precision
        source, description = self.package.source, self.package.description
        self.inputs = {feature.name: array_feature(feature, source) for feature in description.input}
        self.states = {feature.name: array_feature(feature, source) for feature in description.state}
        self.outputs = {
            feature.name: array_feature(feature, source)
            for feature in description.output
            if feature.type.WhichOneof("Type") in ("multiArrayType", "imageType")
        }
        self._dtypes = {var.name: types.builtin_to_string(var.dtype) for var in self.package.function.inputs.values()}
        self._ranks = {var.name: var.rank for var in self.package.function.inputs.values()}
        self._interpreter = Interpreter(self.package, precision)

    def predict(
        self, data: Mapping[str, Any] | list[Mapping[str, Any]], state: State | None = None
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Outputs by name for inputs by name; a list of inputs gives the list of outputs.

        Arrays come back in the declared element type, scalars with shape (1,), a classifier's results as its label and
        a dictionary. `state` comes from `make_state` and is changed in place; a stateful model needs it.
        Raises `InputError` or `StateError` before anything runs, `ExecutionError` where an op fails.
        """
        if not isinstance(data, (list, Mapping)):
            kind = type(data).__name__
            raise InputError(
                f"{self.package.source}: predict takes a dictionary of inputs or a list of them, not a {kind}"
            )
        if isinstance(data, list):
            if state is not None:
                raise StateError(f"{self.package.source}: a state goes with a single prediction, not with a batch")
            return [self.run(item, None) for item in data]
        return self.run(data, state)

    def make_state(self) -> State:
        """A new state object, every state zero."""
        cells = {}
        for name, feature in self.states.items():
            dtype = self._dtypes[name]
            cells[name] = StateCell(rounded(torch.zeros(feature.shape), dtype, self.precision), dtype)
        return State(cells, self.precision)

    def trace(
        self,
        data: Mapping[str, Any],
        state: State | None = None,
        names: Iterable[str] | None = None,
        stop_at_non_finite: bool = False,
    ) -> list[Intermediate]:
        """Every value the program computes, in order; those of a loop's body once per round.

        `names` keeps only some, `stop_at_non_finite` ends the run at the first infinite or NaN value, which is then the
        last of the list whatever `names` says. Values under "float32" that the file declares float16 come as float32.
        """
        wanted = None if names is None else set(names)
        found: list[Intermediate] = []

        def observe(step: Step, arguments: dict[str, Any], results: tuple[Any, ...]) -> None:
            for output, result in zip(step.outputs, results, strict=True):
                if not isinstance(result, Tensor):
                    continue
                value = Intermediate(output.var.name, step.op.op_type, self._array(result, output.type.dtype))
                stop = stop_at_non_finite and not value.finite
                if stop or wanted is None or value.name in wanted:
                    found.append(value)
                if stop:
                    raise _StopError

        try:
            self.run(data, state, observe)
        except _StopError:
            return found
        if wanted is not None and (missing := wanted - {value.name for value in found}):
            raise InputError(f"{self.package.source}: no value named {', '.join(sorted(missing))} was computed")
        return found

    def first_non_finite(self, data: Mapping[str, Any], state: State | None = None) -> Intermediate | None:
        """The first infinite or NaN value on the way, or None where all are finite."""
        stopped = self.trace(data, state, names=(), stop_at_non_finite=True)
        return stopped[-1] if stopped else None

    def run(self, data: Mapping[str, Any], state: State | None, observe: Observer | None = None) -> dict[str, Any]:
        """One prediction, watched by `observe`, which sees every step with its arguments and results as tensors."""
        results = self._interpreter.run(self._arguments(data, state), observe)
        return {name: self._output(name, result) for name, result in results.items()}

    def _arguments(self, data: Mapping[str, Any], state: State | None) -> dict[str, Any]:
        source = self.package.source
        if unknown := set(data) - set(self.inputs):
            raise InputNameError(
                f"{source}: no input {', '.join(map(repr, sorted(unknown)))}; the model takes {', '.join(self.inputs)}"
            )
        if missing := [name for name, input in self.inputs.items() if name not in data and input.default is None]:
            raise InputNameError(f"{source}: input {', '.join(map(repr, missing))} is missing")
        if state is None and self.states:
            raise StateError(f"{source}: the model has states; pass state=model.make_state()")
        if state is not None and set(state.cells) != set(self.states):
            raise StateError(f"{source}: the state belongs to another model; make it with this model's make_state()")
        arguments: dict[str, Any] = dict(state.cells) if state is not None else {}
        for name, feature in self.inputs.items():
            arguments[name] = self._argument(feature, data.get(name, np.float32(feature.default or 0)), name in data)
        return arguments

    def _argument(self, feature: ArrayFeature, value: Any, given: bool) -> Tensor:
        array = value if given else np.full(feature.shape, value, feature.dtype)
        checked = checked_array(array, feature, self.package.source)
        if self._ranks[feature.name] == 0:
            checked = checked.reshape(())
        dtype = self._dtypes[feature.name]
        return rounded(to_tensor(checked, dtype), dtype, self.precision)

    def _output(self, name: str, result: Any) -> Any:
        if not isinstance(result, Tensor):
            return result
        with np.errstate(over="ignore"):  # under "float32" a float16 output may overflow here, and nowhere before
            array = result.numpy().astype(self.outputs[name].dtype)
        return array.reshape(1) if array.ndim == 0 else array

    def _array(self, value: Tensor, dtype: str) -> np.ndarray:
        return to_numpy(value, "fp32" if dtype == "fp16" and self.precision == "float32" else dtype)
