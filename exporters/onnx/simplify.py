"""Simplification by onnxsim, and the traces it leaves removed."""

import numpy as np
import onnx
import onnxsim
from onnx import helper, numpy_helper

from exporters.onnx.initializers import drop_unused


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """A smaller graph with the same answers; whoever ships it compares the two.

    onnxsim's own verdict is not asked for: its `check_n` is 0 by default, so that it has compared nothing.
    """
    simplified, _ = onnxsim.simplify(model)
    # Its private metadata and its symbolic shape notes make tract refuse a concrete input shape.
    del simplified.metadata_props[:]
    del simplified.graph.value_info[:]
    simplified.ir_version = model.ir_version
    _share_transposed_weights(simplified.graph)
    return simplified


def _share_transposed_weights(graph: onnx.GraphProto) -> None:
    """A linear layer that is used twice comes out once as a Gemm and once folded into a transposed copy of its weight.

    A Gemm reads a matrix either way round, so that one copy does.
    """
    matrices = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if len(tensor.dims) == 2}
    order = list(matrices)
    stored = {(matrix.shape, matrix.tobytes()): name for name, matrix in reversed(matrices.items())}
    for node in graph.node:
        if node.op_type != "Gemm" or node.input[1] not in matrices:
            continue
        transposed = np.ascontiguousarray(matrices[node.input[1]].T)
        twin = stored.get((transposed.shape, transposed.tobytes()))
        # Of the two, the one that stands first stays.
        if twin is None or order.index(twin) > order.index(node.input[1]):
            continue
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if "transB" in attributes:
            attributes["transB"].i = 1 - attributes["transB"].i
        else:
            node.attribute.append(helper.make_attribute("transB", 1))
        node.input[1] = twin
    drop_unused(graph)
