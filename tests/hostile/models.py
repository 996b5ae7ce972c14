"""Small ONNX models that say of themselves what a file made here says."""

import json

import onnx
from onnx import TensorProto, helper

FACTS = {
    "model_type": "pann",
    "variant": "none",
    "weights": "synthetic",
    "checkpoint_sha256": "0" * 64,
    "sample_rate": "32000",
    "least_size": "1",
    "scores": "y",
    "scores_kind": "logit",
    "labels": json.dumps([f"class {number}" for number in range(8)]),
    "author": "nobody",
    "license": "none",
    "source": "none",
    "version": "0",
}


def model_of_sound() -> onnx.ModelProto:
    """Eight times the mean of a sound of any length."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", "samples"))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", 8))
    times = helper.make_tensor("times", TensorProto.INT64, [2], [1, 8])
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1]),
        helper.make_node("Tile", ["mean", "times"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "mean", [x], [y], [times])
    whole = helper.make_model(graph, opset_imports=[helper.make_operatorsetid("", 17)], ir_version=8)
    helper.set_model_props(whole, FACTS)
    return whole
