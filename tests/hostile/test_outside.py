"""ONNX models that keep tensors in other files, in places where a look at the initializers does not find them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from validators.onnx_tensors import reads_other_files
from validators.runners import onnxruntime
from validators.runners.runner import RunnerError


def outside() -> TensorProto:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "c")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../outside.bin")
    return tensor


def inside() -> TensorProto:
    return numpy_helper.from_array(np.ones(4, np.float32), "c")


Where = Callable[[TensorProto], onnx.ModelProto]


def _model(
    nodes: list[onnx.NodeProto], functions: tuple[onnx.FunctionProto, ...] = (), **more: object
) -> onnx.ModelProto:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], **more)
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8, functions=functions)


def _constant(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], value=tensor)


ADD = helper.make_node("Add", ["x", "c"], ["y"])


def initializer(tensor: TensorProto) -> onnx.ModelProto:
    return _model([ADD], initializer=[tensor])


def attribute(tensor: TensorProto) -> onnx.ModelProto:
    return _model([_constant(tensor), ADD])


def branch(tensor: TensorProto) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("c", TensorProto.FLOAT, [4])
    arm = helper.make_graph([_constant(tensor)], "arm", [], [value])
    true = helper.make_node("Constant", [], ["true"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    return _model([true, helper.make_node("If", ["true"], ["c"], then_branch=arm, else_branch=arm), ADD])


def function(tensor: TensorProto) -> onnx.ModelProto:
    own = helper.make_function("own", "F", ["x"], ["y"], [_constant(tensor), ADD], [helper.make_opsetid("", 17)])
    return _model([helper.make_node("F", ["x"], ["y"], domain="own")], (own,))


def default(tensor: TensorProto) -> onnx.ModelProto:
    """What an attribute of a function is where its caller gives none."""
    constant = helper.make_node("Constant", [], ["c"])
    constant.attribute.add(name="value", ref_attr_name="kept", type=onnx.AttributeProto.TENSOR)
    sets, kept = [helper.make_opsetid("", 17)], [helper.make_attribute("kept", tensor)]
    own = helper.make_function("own", "F", ["x"], ["y"], [constant, ADD], sets, attribute_protos=kept)
    return _model([helper.make_node("F", ["x"], ["y"], domain="own")], (own,))


@pytest.mark.parametrize("where", [initializer, attribute, branch, function, default])
def test_no_runtime_follows_a_model_to_other_files(where: Where, tmp_path: Path) -> None:
    from validators.runners import tract

    (tmp_path / "folder").mkdir()
    (tmp_path / "outside.bin").write_bytes(np.full(4, 7, np.float32).tobytes())
    path = tmp_path / "folder" / "it.onnx"
    assert not reads_other_files(where(inside()))
    path.write_bytes(where(inside()).SerializeToString())
    assert onnxruntime.open_file(path).run({"x": np.zeros(4, np.float32)})["y"].tolist() == [1, 1, 1, 1]
    path.write_bytes(where(outside()).SerializeToString())
    for runtime in (onnxruntime, tract):
        with pytest.raises(RunnerError, match="its weights lie in other files"):
            runtime.open_file(path)


def test_a_model_in_the_runtimes_own_format_is_not_loaded(tmp_path: Path) -> None:
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.optimized_model_filepath = str(tmp_path / "it.ort")
    options.log_severity_level = 4
    model = initializer(inside()).SerializeToString()
    runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    own = (tmp_path / "it.ort").read_bytes()
    assert runtime.InferenceSession(own, providers=["CPUExecutionProvider"]).get_inputs()
    with pytest.raises(RunnerError, match="cannot load it"):
        onnxruntime.open_model(own)
