"""Graphs are counted, cut and run as they are."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from benchmarks import gemm
from benchmarks.sessions import cut, macs, run, session


def network() -> ModelProto:
    """(batch, 4, time) -> a grouped convolution of 6 channels with 3 taps -> a matrix of 5 rows, and their sum."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, "time"])
    outputs = [
        helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 5, "places"]),
        helper.make_tensor_value_info("total", TensorProto.FLOAT, ["batch", "places"]),
    ]
    weights = [
        helper.make_tensor("kernel", TensorProto.FLOAT, [6, 2, 3], np.ones(36)),
        helper.make_tensor("matrix", TensorProto.FLOAT, [5, 6], np.ones(30)),
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["seen"], group=2),
        helper.make_node("MatMul", ["matrix", "seen"], ["rows"]),
        helper.make_node("ReduceSum", ["rows", "axis"], ["total"], keepdims=0),
    ]
    graph = helper.make_graph(nodes, "network", [x], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("batch", [1, 3])
def test_products_are_counted_for_the_shape_that_is_fed(batch: int) -> None:
    places = 9 - 2
    assert macs(network(), (batch, 4, 9)) == batch * places * (6 * 2 * 3 + 5 * 6)


def test_what_an_operator_hides_is_not_counted() -> None:
    signal = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "samples"])
    spectrum = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "frames", 5, 2])
    step = helper.make_tensor("step", TensorProto.INT64, [], [4])
    length = helper.make_tensor("length", TensorProto.INT64, [], [8])
    node = helper.make_node("STFT", ["x", "step", "", "length"], ["y"])
    graph = helper.make_graph([node], "stft", [signal], [spectrum], [step, length])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert macs(model, (1, 64)) is None


def test_a_part_gives_what_the_whole_gives_there() -> None:
    x = np.random.RandomState(0).uniform(-1, 1, (2, 4, 9)).astype(np.float32)
    whole = run(session(network(), 1), x)
    part = run(session(cut(network(), "rows"), 1), x)
    assert part.keys() == {"rows"}
    np.testing.assert_array_equal(part["rows"], whole["rows"])


def test_the_matrix_product_that_all_are_measured_by_is_one() -> None:
    product = gemm.contender(1)()
    assert isinstance(product, dict)
    (value,) = product.values()
    assert value.size * value.shape[0] == gemm.MACS
