"""Runs one function of a program, op by op.

The function is planned once: constants become tensors, kernels are chosen, and each step learns which values nobody
needs after it. Running a plan copies no weight.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from coremltools.converters.mil.mil import Block, ListVar, Operation, Var, types
from torch import Tensor

from validators.coreml.errors import CoreMLError, ExecutionError
from validators.coreml.package import Package, ValueType, value_type
from validators.coreml.precision import Precision, rounded, to_tensor
from validators.coreml.registry import Kernel, lookup

Values = dict[Var, Any]
BlockCall = Callable[..., tuple[Any, ...]]
# Sees each step after it ran: the step, its arguments by input name, and its results in the order of its outputs.
Observer = Callable[["Step", dict[str, Any], tuple[Any, ...]], None]


@dataclass(frozen=True)
class Output:
    """One result of a step: its variable and the type which the file declares for it."""

    var: Var
    type: ValueType


@dataclass(frozen=True)
class Step:
    """One op: `fixed` inputs are known at load time, `wired` ones are variables or tuples that hold some."""

    op: Operation
    kernel: Kernel
    fixed: dict[str, Any]
    wired: dict[str, Var | tuple[Any, ...]]
    outputs: tuple[Output, ...]
    blocks: tuple["Plan", ...]
    releases: tuple[Var, ...]


@dataclass(frozen=True)
class Plan:
    """A block: its inputs, steps in order, and outputs (a variable, or a value where it is a constant)."""

    inputs: tuple[Var, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Any, ...]


@dataclass
class Interpreter:
    """Plans `package` once and runs it any number of times."""

    package: Package
    precision: Precision
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        self.plan = _Planner(self.package, self.precision).block(self.package.function)

    @torch.inference_mode()
    def run(self, inputs: dict[str, Any], observe: Observer | None = None) -> dict[str, Any]:
        """Values by function output name, from values by function input name (tensors, or state cells).

        `observe` sees each step as soon as its results are rounded, those of nested blocks included.
        Raises `ExecutionError` naming the op where a kernel fails or contradicts the declared type.
        """
        values: Values = {var: inputs[var.name] for var in self.plan.inputs}
        results = self._block(self.plan, values, observe)
        names = (var.name for var in self.package.function.outputs)
        return dict(zip(names, results, strict=True))

    def _block(self, plan: Plan, values: Values, observe: Observer | None) -> tuple[Any, ...]:
        for step in plan.steps:
            arguments = dict(step.fixed)
            for name, wiring in step.wired.items():
                arguments[name] = _resolve(wiring, values)
            blocks = tuple(self._callable(nested, values, observe) for nested in step.blocks)
            results = run_step(step, arguments, blocks, self.package, self.precision)
            values.update((output.var, result) for output, result in zip(step.outputs, results, strict=True))
            if observe is not None:
                observe(step, arguments, results)
            for var in step.releases:
                values.pop(var, None)
        return tuple(_resolve(output, values) for output in plan.outputs)

    def _callable(self, plan: Plan, values: Values, observe: Observer | None) -> BlockCall:
        def call(*arguments: Any) -> tuple[Any, ...]:
            scope = {**values, **dict(zip(plan.inputs, arguments, strict=True))}
            return self._block(plan, scope, observe)

        return call


def run_step(
    step: Step, arguments: dict[str, Any], blocks: tuple[BlockCall, ...], package: Package, precision: Precision
) -> tuple[Any, ...]:
    """The rounded results of one op. Raises `ExecutionError` where it fails or contradicts the declared type."""
    extra: dict[str, Any] = {"op": step.op} if step.kernel.wants_op else {}
    if blocks:
        extra["blocks"] = blocks
    names = ", ".join(repr(output.var.name) for output in step.outputs)
    where = f"{package.source}: op {step.op.op_type} (output {names}, op set {package.opset})"
    try:
        results = step.kernel.run(**arguments, **extra)
    except CoreMLError:
        raise  # an op of a nested block already says where, an observer of one knows why
    except Exception as error:
        # The sentence is Core ML's own, which callers of coremltools look for.
        said = "Unable to compute the prediction using ML Program"
        raise ExecutionError(f"{where}: {said}: {type(error).__name__}: {error}") from error
    if not isinstance(results, tuple):
        results = (results,)
    rounded_results = []
    for output, result in zip(step.outputs, results, strict=True):
        if isinstance(result, Tensor):
            if not output.type.fits(tuple(result.shape)):
                shape = tuple(result.shape)
                raise ExecutionError(
                    f"{where}: result {output.var.name!r} has shape {shape}, the file declares {output.type}"
                )
            result = rounded(result, output.type.dtype, precision)
        rounded_results.append(result)
    return tuple(rounded_results)


def _resolve(wiring: Any, values: Values) -> Any:
    if isinstance(wiring, Var):
        return values[wiring]
    if isinstance(wiring, tuple):
        return tuple(_resolve(item, values) for item in wiring)
    return wiring


class _Planner:
    """Turns blocks into plans; `constants` holds every value known at load time, by variable."""

    def __init__(self, package: Package, precision: Precision) -> None:
        self.package = package
        self.precision = precision
        self.constants: Values = {}

    def block(self, block: Block) -> Plan:
        steps: list[Step] = []
        for op in block.operations:
            if op.op_type == "const":
                self.constants[op.outputs[0]] = _constant(op.outputs[0])
                continue
            step = self._step(op)
            # Weights that the file holds compressed are decompressed here, once.
            if op.op_type.startswith("constexpr_") or (op.op_type == "dequantize" and not step.wired):
                results = run_step(step, step.fixed, (), self.package, self.precision)
                self.constants.update(zip(op.outputs, results, strict=True))
            else:
                steps.append(step)
        inputs = block.inputs.values() if isinstance(block.inputs, dict) else block.inputs
        outputs = tuple(self._wiring(var) for var in block.outputs)
        return Plan(tuple(inputs), _with_releases(steps, outputs), outputs)

    def _step(self, op: Operation) -> Step:
        kernel = lookup(op.op_type, self.package.opset)
        if kernel is None:
            raise ExecutionError(f"{self.package.source}: op {op.op_type} has no kernel in {self.package.opset}")
        blocks = tuple(self.block(nested) for nested in op.blocks)
        fixed: dict[str, Any] = {}
        wired: dict[str, Var | tuple[Any, ...]] = {}
        for name, var in op.inputs.items():
            wiring = tuple(map(self._wiring, var)) if isinstance(var, (tuple, list)) else self._wiring(var)
            if isinstance(wiring, Var) or (isinstance(wiring, tuple) and any(isinstance(v, Var) for v in wiring)):
                wired[name] = wiring
            else:
                fixed[name] = wiring
        outputs = tuple(
            Output(var, self.package.declared.get(var.name) or value_type(var.sym_type)) for var in op.outputs
        )
        return Step(op, kernel, fixed, wired, outputs, blocks, ())

    def _wiring(self, var: Var) -> Any:
        return self.constants.get(var, var)


def _with_releases(steps: list[Step], outputs: tuple[Any, ...]) -> tuple[Step, ...]:
    """The steps, each with the values of this block that neither a later step nor the block's outputs need."""
    needed = set(_variables(outputs))
    planned: list[Step] = []
    made = {output.var for step in steps for output in step.outputs}
    for step in reversed(steps):
        touched = {*_used(step), *(output.var for output in step.outputs)}
        planned.append(replace(step, releases=tuple((touched & made) - needed)))
        needed |= touched
    return tuple(reversed(planned))


def _used(step: Step) -> Iterator[Var]:
    yield from _variables(tuple(step.wired.values()))
    for plan in step.blocks:
        yield from _variables(plan.outputs)
        for nested in plan.steps:
            yield from _used(nested)


def _variables(wiring: Any) -> Iterator[Var]:
    if isinstance(wiring, Var):
        yield wiring
    elif isinstance(wiring, tuple):
        for item in wiring:
            yield from _variables(item)


def _constant(var: Var) -> Any:
    if isinstance(var, ListVar) or isinstance(var.val, (str, list)):
        return var.val
    return to_tensor(var.val, types.builtin_to_string(var.dtype))
