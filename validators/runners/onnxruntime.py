"""ONNX Runtime."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from validators.onnx_tensors import computes_float16, content, reads_other_files
from validators.runners.runner import Arrays, Port, Runner, RunnerError, shortened

_TENSOR = re.compile(r"tensor\((\w+)\)")
# Of those that NumPy calls otherwise.
_DTYPES = {"float": "float32", "double": "float64"}


def open_file(path: Path) -> Runner:
    """Load a .onnx file on the CPU; raises RunnerError, without following it, where it leads to other files."""
    try:
        model = content(path)
        parsed = onnx.load_from_string(model)
        outside = reads_other_files(parsed)
    except Exception as error:  # protobuf has its own errors
        raise RunnerError(f"onnxruntime cannot load it: {shortened(error)}") from error
    if outside:
        raise RunnerError("onnxruntime: its weights lie in other files, which are not read")
    return replace(open_model(model), float16=computes_float16(parsed))


def open_model(model: bytes) -> Runner:
    """Load a serialised ONNX model on the CPU."""
    options = onnxruntime.SessionOptions()
    # The order of summation, and with it the last bits, would depend on the number of cores.
    options.intra_op_num_threads = 1
    # Its own format, which it would tell by the first bytes, nobody has looked into.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4  # What it would log of an error, it raises as well.
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        # Its own names may be no text.
        inputs, outputs = tuple(map(_port, session.get_inputs())), tuple(map(_port, session.get_outputs()))
        metadata = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # onnxruntime has one exception class a status code and no common base
        raise RunnerError(f"onnxruntime cannot load it: {shortened(error)}") from error
    names = [output.name for output in outputs]

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        try:
            values = session.run(names, dict(inputs))
        except Exception as error:
            raise RunnerError(f"onnxruntime: {shortened(error)}") from error
        return dict(zip(names, values, strict=True))

    return Runner("onnxruntime", inputs, outputs, metadata, run)


def _port(value: onnxruntime.NodeArg) -> Port:
    tensor = _TENSOR.fullmatch(value.type)
    dtype = _DTYPES.get(tensor[1], tensor[1]) if tensor else value.type
    return Port(value.name, tuple(value.shape), dtype)
