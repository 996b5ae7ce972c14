"""Graphs in ONNX Runtime: with so many threads, a part of them, and what they multiply."""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxsim
from numpy.typing import NDArray
from onnx.utils import Extractor

Array = NDArray[np.float32]


def session(model: onnx.ModelProto | Path, threads: int) -> onnxruntime.InferenceSession:
    """Of a graph or a file, on the CPU; all but the threads as ONNX Runtime has it by itself."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    given = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def run(opened: onnxruntime.InferenceSession, sound: Array) -> dict[str, Array]:
    """All outputs of a graph with one input."""
    (fed,) = opened.get_inputs()
    names = [output.name for output in opened.get_outputs()]
    return dict(zip(names, opened.run(names, {fed.name: sound}), strict=True))


def cut(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """The part that computes one output, from the input on."""
    (fed,) = model.graph.input
    part: onnx.ModelProto = Extractor(model).extract_model([fed.name], [output])
    return part


def macs(model: onnx.ModelProto, shape: tuple[int, ...]) -> int | None:
    """Products that are summed in convolutions and matrix products, for an input of that shape.

    None where an operator hides them: STFT.
    """
    (fed,) = model.graph.input
    fixed, _ = onnxsim.simplify(model, overwrite_input_shapes={fed.name: list(shape)})
    if any(node.op_type in ("STFT", "DFT") for node in fixed.graph.node):
        return None
    graph = onnx.shape_inference.infer_shapes(fixed, strict_mode=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return sum(_macs(node, shapes) for node in graph.node)


def _macs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    if node.op_type == "Conv":
        # (outputs, inputs / groups, taps...): each result is a sum over all but the first.
        return prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
    if node.op_type == "MatMul":
        return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if turned else 1]
    return 0
