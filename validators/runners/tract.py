"""tract, the Rust runtime (https://github.com/sonos/tract), through its Python package."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tract

from validators.onnx_tensors import computes_float16, content, reads_other_files
from validators.runners.runner import Arrays, Port, Runner, RunnerError, shortened

# What tract calls the types of numbers, where NumPy has another word.
_FACTS = {"float16": "f16", "float32": "f32", "float64": "f64", "int32": "i32", "int64": "i64"}


def open_file(path: Path) -> Runner:
    """Load a .onnx file. tract plans for concrete shapes: a plan is made at the first run of each shape, then kept."""
    try:
        header = onnx.load_from_string(content(path))
        if reads_other_files(header):
            raise RunnerError("tract: its weights lie in other files, which are not read")
        tract.onnx().load(str(path))
        inputs = tuple(map(_port, header.graph.input))
        outputs = tuple(map(_port, header.graph.output))
    except RunnerError:
        raise
    except Exception as error:  # tract has its own error, protobuf another, and onnx none for types that are none
        raise RunnerError(f"tract cannot load it: {shortened(error)}") from error

    @lru_cache(maxsize=4)
    def plan(shapes: tuple[tuple[int, ...], ...]) -> Any:
        model = tract.onnx().load(str(path))
        for index, (shape, port) in enumerate(zip(shapes, inputs, strict=True)):
            model.set_input_fact(index, ",".join([*map(str, shape), _FACTS.get(port.dtype, port.dtype)]))
        return model.into_model().into_runnable()

    def run(values: Mapping[str, np.ndarray]) -> Arrays:
        wanted = {port.name for port in inputs}
        if set(values) != wanted:
            raise RunnerError(f"tract: the inputs are {sorted(wanted)}, not {sorted(values)}")
        arrays = [np.ascontiguousarray(values[port.name], dtype=port.dtype) for port in inputs]
        try:
            results = plan(tuple(array.shape for array in arrays)).run(arrays)
            # tract names outputs by their nodes; their order is that of the graph.
            return {port.name: value.to_numpy() for port, value in zip(outputs, results, strict=True)}
        except Exception as error:  # the package raises its own TractError and, on bad plans, plain ones
            raise RunnerError(f"tract: {shortened(error)}") from error

    metadata = {item.key: item.value for item in header.metadata_props}
    return Runner("tract", inputs, outputs, metadata, run, computes_float16(header))


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    axes = tuple(dim.dim_param or dim.dim_value or None for dim in tensor.shape.dim)
    return Port(value.name, axes, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name)
