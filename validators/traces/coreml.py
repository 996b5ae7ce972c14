"""A Core ML package with all its intermediate values, as the executor computes them op by op."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from recipes.base.quiet import quiet
from validators.runners.runner import RunnerError
from validators.traces.parameters import Parameter, told
from validators.traces.trace import Op, Trace, unreached

with quiet("coremltools"):
    from coremltools.converters.mil.mil import Operation, Var, types

    from validators.coreml import CoreMLError, CoreMLModel
    from validators.coreml.interpreter import Step
    from validators.coreml.precision import Precision, to_numpy

_PLAIN = (str, bool, int, float)


def trace_stored(path: Path, inputs: Mapping[str, np.ndarray]) -> Trace:
    """Each result rounded to the type that the program declares; RunnerError where the executor refuses it."""
    return _trace(path, inputs, "stored")


def trace_float32(path: Path, inputs: Mapping[str, np.ndarray]) -> Trace:
    """The same without any rounding to float16 but that of the weights: what is wrong then is the graph."""
    return _trace(path, inputs, "float32")


def _trace(path: Path, inputs: Mapping[str, np.ndarray], precision: Precision) -> Trace:
    fed = {name: np.asarray(value) for name, value in inputs.items()}
    ops: list[Op] = []
    values: dict[str, np.ndarray] = dict(fed)
    constants: dict[str, np.ndarray] = {}

    def observe(step: Step, arguments: dict[str, Any], results: tuple[Any, ...]) -> None:
        if step.op.enclosing_block is not model.package.function:
            # The op that has the block stands for all that goes on inside.
            return
        for output, result in zip(step.outputs, results, strict=True):
            if isinstance(result, Tensor):
                half = output.type.dtype == "fp16" and precision == "float32"
                values[output.var.name] = to_numpy(result, "fp32" if half else output.type.dtype)
        for role, value in step.fixed.items():
            for var, one in _paired(step.op.inputs.get(role), value):
                if isinstance(one, Tensor) and var.name not in constants:
                    constants[var.name] = to_numpy(one, types.builtin_to_string(var.dtype))
        ops.append(_op(step))

    try:
        model = CoreMLModel(path, precision=precision)
        model.run(inputs, model.make_state() if model.states else None, observe)
    except CoreMLError as error:
        raise RunnerError(str(error)) from error
    fixed = unreached(ops, set(fed))
    return Trace(
        source=path.name,
        runtime="executor" if precision == "stored" else f"executor-{precision}",
        inputs=tuple(fed),
        outputs=tuple(model.outputs),
        ops=tuple(op for op in ops if not set(op.outputs) <= fixed),
        values={name: value for name, value in values.items() if name not in fixed},
        constants=constants | {name: values[name] for name in fixed if name in values},
    )


def _op(step: Step) -> Op:
    parameters = {role: held for role, value in step.fixed.items() if (held := _parameter(value)) is not None}
    outputs = tuple(output.var.name for output in step.outputs)
    return Op(outputs[0], step.op.op_type, tuple(_inputs(step.op)), outputs, parameters)


def _inputs(op: Operation) -> Iterator[str]:
    for given in op.inputs.values():
        for var in given if isinstance(given, (list, tuple)) else (given,):
            if isinstance(var, Var) and not _small(var):
                yield var.name


def _small(var: Var) -> bool:
    """Whether it is a constant that is a parameter, which `_op` tells, and no tensor."""
    return var.op is not None and var.op.op_type == "const" and np.ndim(var.val) == 0


def _paired(given: Any, value: Any) -> Iterator[tuple[Var, Any]]:
    several = isinstance(given, (list, tuple))
    for var, one in zip(given if several else [given], value if several else [value], strict=False):
        if isinstance(var, Var):
            yield var, one


def _parameter(value: Any) -> Parameter | None:
    if isinstance(value, Tensor):
        return told(value.numpy())
    return value if isinstance(value, _PLAIN) else None
