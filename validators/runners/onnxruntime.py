"""ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from validators.onnx_tensors import content, reads_other_files
from validators.runners.runner import Arrays, Port, Runner, RunnerError, shortened

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}


def open_file(path: Path) -> Runner:
    """Load a .onnx file on the CPU; raises RunnerError, without following it, where it leads to other files."""
    try:
        model = content(path)
        outside = reads_other_files(onnx.load_from_string(model))
    except Exception as error:  # protobuf has its own errors
        raise RunnerError(f"onnxruntime cannot load it: {shortened(error)}") from error
    if outside:
        raise RunnerError("onnxruntime: its weights lie in other files, which are not read")
    return open_model(model)


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
    return Port(value.name, tuple(value.shape), _DTYPES.get(value.type, value.type))
