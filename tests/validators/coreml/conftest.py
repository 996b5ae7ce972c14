"""Builds small ML programs: one function of the MIL builder in, a package or the executor's answers out."""

import logging
from collections.abc import Callable
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program, types

from validators.coreml import CoreMLModel

logging.getLogger("coremltools").setLevel(logging.ERROR)

Build = Callable[..., Any]


def _placeholder(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return mb.placeholder(shape=value.shape, dtype=types.numpy_type_to_builtin_type(value.dtype))
    return value


@pytest.fixture(scope="session")
def make_model() -> Callable[..., ct.models.MLModel]:
    """`make_model(build, arrays, opset)`: an in-memory model of `build(**arrays)`.

    `arrays` gives each input's name and an array of its shape and type, or a placeholder of one's own.
    """

    def make(build: Build, arrays: dict[str, Any], opset: str = "iOS17", **options: Any) -> ct.models.MLModel:
        target = ct.target[opset]
        placeholders = {name: _placeholder(value) for name, value in arrays.items()}
        program = Program()
        with Function(placeholders, opset_version=target) as function:
            results = build(**function.inputs)
            function.set_outputs(list(results) if isinstance(results, (list, tuple)) else [results])
            program.add_function("main", function)
        return ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=target,
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
            **options,
        )

    return make


@pytest.fixture(scope="session")
def execute(make_model: Callable[..., ct.models.MLModel]) -> Callable[..., Any]:
    """`execute(build, inputs, opset, precision)`: what the executor makes of a one-function program.

    One array where the program has one output, else the tuple of them in order.
    """

    def run(build: Build, inputs: dict[str, np.ndarray], opset: str = "iOS17", precision: str = "stored") -> Any:
        model = make_model(build, inputs, opset)
        results = CoreMLModel(model, precision=precision).predict(inputs)  # type: ignore[arg-type]
        ordered = tuple(results[feature.name] for feature in model.get_spec().description.output)
        return ordered[0] if len(ordered) == 1 else ordered

    return run
