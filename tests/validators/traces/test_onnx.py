"""ONNX Runtime gives every node's result, and what no input leads to is a constant."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from validators.runners.runner import RunnerError
from validators.traces.onnx import trace_file, trace_model

X = np.random.RandomState(1).randn(1, 2, 9).astype(np.float32) - np.float32(0.3)


def _model(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    weights = {"w": np.ones((3, 2, 3), np.float32), "two": np.array([2.0], np.float32)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, "time"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


CONV = helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1], dilations=[1])


def test_every_result_is_held_with_the_op_that_made_it() -> None:
    square = helper.make_node("Pow", ["c", "two"], ["p"])
    found = trace_model(_model(CONV, square, helper.make_node("Relu", ["p"], ["y"])), {"x": X}, "mine")
    assert [(op.name, op.kind, op.inputs, op.outputs) for op in found.ops] == [
        ("conv", "Conv", ("x", "w"), ("c",)),
        ("p", "Pow", ("c", "two"), ("p",)),
        ("y", "Relu", ("p",), ("y",)),
    ]
    assert found.ops[0].parameters == {"pads": [1, 1], "dilations": [1]}
    assert found.ops[1].parameters == {"input Y": [2.0]}
    assert set(found.values) == {"x", "c", "p", "y"}
    assert set(found.constants) == {"w", "two"}
    np.testing.assert_array_equal(found.values["p"], found.values["c"] ** 2)
    assert (found.source, found.inputs, found.outputs) == ("mine", ("x",), ("y",))


def test_what_no_input_leads_to_is_a_constant() -> None:
    doubled = helper.make_node("Add", ["two", "two"], ["four"])
    found = trace_model(_model(CONV, doubled, helper.make_node("Mul", ["c", "four"], ["y"])), {"x": X}, "mine")
    assert [op.kind for op in found.ops] == ["Conv", "Mul"]
    assert found.constants["four"].tolist() == [4.0]
    assert found.ops[1].parameters == {"input B": [4.0]}


def test_the_values_are_those_of_the_nodes_and_not_of_a_fusion() -> None:
    found = trace_model(_model(CONV, helper.make_node("Relu", ["c"], ["y"])), {"x": X}, "mine")
    assert (found.values["c"] < 0).any()


def test_a_result_that_is_no_array_has_no_value() -> None:
    split = helper.make_node("SplitToSequence", ["c"], ["s"], axis=2)
    found = trace_model(
        _model(CONV, split, helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=2)), {"x": X}, "m"
    )
    assert set(found.values) == {"x", "c", "y"}
    assert len(found.ops) == 3


def test_a_branch_is_its_one_op() -> None:
    def branch(kind: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node(kind, ["c"], ["inner"])],
            kind,
            [],
            [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
        )

    nodes = [
        CONV,
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Cast", ["top"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], ["y"], name="choice", then_branch=branch("Relu"), else_branch=branch("Neg")),
    ]
    found = trace_model(_model(*nodes), {"x": X}, "mine")
    assert found.ops[-1].parameters == {"then_branch": "a graph", "else_branch": "a graph"}
    assert set(found.values) == {"x", "c", "top", "yes", "y"}


def test_what_cannot_be_run_is_a_runners_error(tmp_path: Path) -> None:
    (tmp_path / "none.onnx").write_bytes(b"no model")
    with pytest.raises(RunnerError, match="cannot load it"):
        trace_file(tmp_path / "none.onnx", {"x": X})
    with pytest.raises(RunnerError, match="onnxruntime"):
        trace_model(_model(helper.make_node("Relu", ["x"], ["y"])), {"other": X}, "mine")
