"""Runs the kernel of one op on given inputs, as the interpreter would, without writing a package."""

from collections.abc import Callable
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Operation, Program, types

import validators.coreml.kernels  # noqa: F401  registers them
from validators.coreml.precision import rounded, to_numpy, to_tensor
from validators.coreml.registry import lookup

OPSETS = ("iOS15", "iOS16", "iOS17", "iOS18")


def _tensor(value: Any, var: Any) -> Any:
    return value if isinstance(value, str) else to_tensor(value, types.builtin_to_string(var.dtype))


def _run(op: Operation, opset: str, given: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    def value(var: Any) -> Any:
        if isinstance(var, (tuple, list)):
            return tuple(map(value, var))
        return _tensor(given.get(var.name, var.val), var)

    kernel = lookup(op.op_type, opset)
    assert kernel is not None, f"{op.op_type} has no kernel in {opset}"
    results = kernel.run(**{name: value(var) for name, var in op.inputs.items()})
    results = results if isinstance(results, tuple) else (results,)
    arrays = []
    for var, result in zip(op.outputs, results, strict=True):
        dtype = types.builtin_to_string(var.dtype)
        arrays.append(to_numpy(rounded(result, dtype, "stored"), dtype))
        declared = [size if isinstance(size, (int, np.integer)) else None for size in var.shape]
        assert len(declared) == result.dim(), f"{op.op_type}: shape {tuple(result.shape)}, declared {var.shape}"
        assert all(known in (None, size) for known, size in zip(declared, result.shape, strict=True)), (
            f"{op.op_type}: shape {tuple(result.shape)}, declared {var.shape}"
        )
    return tuple(arrays)


def _one(results: tuple[np.ndarray, ...]) -> Any:
    return results[0] if len(results) == 1 else results


@pytest.fixture(scope="session")
def run_op() -> Callable[..., Any]:
    """`run_op(name, inputs, opset, **constants)`: the results of one op in their declared types.

    `inputs` are only known at run time, so that coremltools infers types but no values.
    """

    def run(name: str, inputs: dict[str, np.ndarray], opset: str = "iOS15", **constants: Any) -> Any:
        placeholders = {
            key: mb.placeholder(shape=array.shape, dtype=types.numpy_type_to_builtin_type(array.dtype))
            for key, array in inputs.items()
        }
        program = Program()
        with Function(placeholders, opset_version=ct.target[opset]) as function:
            result = getattr(mb, name)(**function.inputs, **constants)
            outputs = list(result) if isinstance(result, (tuple, list)) else [result]
            function.set_outputs(outputs)
            program.add_function("main", function)
        return _one(_run(outputs[0].op, opset, inputs))

    return run


@pytest.fixture(scope="session")
def infer_op() -> Callable[..., tuple[Any, Any]]:
    """`infer_op(name, opset, **constants)`: the results of one op and what coremltools' value inference says."""

    def infer(name: str, opset: str = "iOS15", **constants: Any) -> tuple[Any, Any]:
        with Function({}, opset_version=ct.target[opset]):
            result = getattr(mb, name)(**constants)
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        expected = tuple(np.asarray(var.val) for var in outputs)
        assert all(var.val is not None for var in outputs), f"{name}: no value inferred"
        return _one(_run(outputs[0].op, opset, {})), _one(expected)

    return infer


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240)
