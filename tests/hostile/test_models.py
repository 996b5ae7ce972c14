"""Models that kill, stall or starve what runs them: each fails checks of its own, and the others go on."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from convert.manifest import Artifact
from convert.targets import named
from convert.verify import File, check_in
from recipes.base import limits
from recipes.base.tensor import Input, Output, Tolerance
from recipes.base.worker import Worker
from tests.hostile.models import FACTS
from validators.results import Check, exit_code
from validators.values import Case

X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8)
INPUT = Input("x", ("batch", "samples"), "what is fed", least=1, default=8, most=64)
_NEAR = Tolerance(1e-4, 0, "small sums of a few numbers")
OUTPUT = Output("y", ("batch", 8), "feature", "what comes", dict.fromkeys(("fp32", "mixed", "fp16"), _NEAR))

Model = Callable[[], bytes]
MODELS: dict[str, Model] = {}


def model(build: Callable[[], onnx.ModelProto | bytes]) -> Callable[[], onnx.ModelProto | bytes]:
    """Enter the decorated function into the table."""

    def content() -> bytes:
        made = build()
        return made if isinstance(made, bytes) else made.SerializeToString()

    MODELS[build.__name__.strip("_").replace("_", " ")] = content
    return build


def info(name: str, shape: Sequence[int | str] | None = ("batch", 8), kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(
    nodes: list[Any],
    constants: dict[str, np.ndarray] | None = None,
    inputs: Any = None,
    outputs: Any = None,
    functions: Sequence[Any] = (),
) -> onnx.ModelProto:
    """A model of opset 17 whose input x and output y are (batch, 8) unless other ones are given."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [info("x", ("batch", "samples"))] if inputs is None else inputs,
        [info("y")] if outputs is None else outputs,
        [onnx.numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    sets = [helper.make_operatorsetid("", 17), *([helper.make_operatorsetid("own", 1)] if functions else [])]
    whole = helper.make_model(graph, opset_imports=sets, ir_version=8, functions=functions)
    helper.set_model_props(whole, FACTS)
    return whole


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str] = ("y",), **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, outputs, **attributes)


def integers(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def _through_integers(kind: str, divisor: int, dtype: int = TensorProto.INT32) -> onnx.ModelProto:
    """y = x, of which the sign is made an integer's extreme, and divided."""
    array = np.array([divisor], helper.tensor_dtype_to_np_dtype(dtype))
    least = np.full((1, 8), np.iinfo(array.dtype).min, array.dtype)
    nodes = [
        node("Cast", ["x"], ["whole"], to=dtype),
        node("Mul", ["whole", "zero"], ["none"]),
        node("Add", ["none", "least"], ["extreme"]),
        node(kind, ["extreme", "divisor"], ["divided"]),
        node("Cast", ["divided"], to=TensorProto.FLOAT),
    ]
    return model_of(nodes, {"zero": array * 0, "least": least, "divisor": array})


@model
def _zero_division() -> onnx.ModelProto:
    return _through_integers("Div", 0)


@model
def _zero_modulus() -> onnx.ModelProto:
    return _through_integers("Mod", 0)


@model
def _least_integer_by_minus_one() -> onnx.ModelProto:
    return _through_integers("Div", -1)


@model
def _least_long_by_minus_one() -> onnx.ModelProto:
    return _through_integers("Div", -1, TensorProto.INT64)


@model
def _least_integer_modulo_minus_one() -> onnx.ModelProto:
    return _through_integers("Mod", -1)


def _convolved(**attributes: Any) -> onnx.ModelProto:
    nodes = [
        node("Unsqueeze", ["x", "axis"], ["row"]),
        node("Conv", ["row", "kernel"], ["convolved"], **attributes),
        node("Squeeze", ["convolved", "axis"]),
    ]
    return model_of(nodes, {"axis": integers(1), "kernel": np.ones((1, 1, 3), np.float32)})


@model
def _zero_stride() -> onnx.ModelProto:
    return _convolved(strides=[0], pads=[1, 1])


@model
def _negative_stride() -> onnx.ModelProto:
    return _convolved(strides=[-1], pads=[1, 1])


@model
def _zero_dilation() -> onnx.ModelProto:
    return _convolved(dilations=[0])


@model
def _huge_dilation() -> onnx.ModelProto:
    return _convolved(dilations=[2**62])


@model
def _no_groups() -> onnx.ModelProto:
    return _convolved(group=0, pads=[1, 1])


@model
def _huge_padding_of_a_convolution() -> onnx.ModelProto:
    return _convolved(pads=[2**40, 2**40])


@model
def _zero_stride_of_a_pool() -> onnx.ModelProto:
    nodes = [
        node("Unsqueeze", ["x", "axis"], ["row"]),
        node("MaxPool", ["row"], ["pooled"], kernel_shape=[2], strides=[0]),
        node("Squeeze", ["pooled", "axis"]),
    ]
    return model_of(nodes, {"axis": integers(1)})


@model
def _kernel_of_no_size() -> onnx.ModelProto:
    nodes = [
        node("Unsqueeze", ["x", "axis"], ["row"]),
        node("AveragePool", ["row"], ["pooled"], kernel_shape=[0]),
        node("Squeeze", ["pooled", "axis"]),
    ]
    return model_of(nodes, {"axis": integers(1)})


def _padded(*amounts: int, mode: str = "constant") -> onnx.ModelProto:
    return model_of([node("Pad", ["x", "pads"], mode=mode)], {"pads": integers(*amounts)})


@model
def _negative_pad() -> onnx.ModelProto:
    return _padded(0, -100, 0, 0)


@model
def _huge_pad() -> onnx.ModelProto:
    return _padded(0, 0, 0, 10**12)


@model
def _pad_that_overflows() -> onnx.ModelProto:
    return _padded(0, 2**62, 0, 2**62)


@model
def _huge_reflection() -> onnx.ModelProto:
    return _padded(0, 10**10, 0, 0, mode="reflect")


@model
def _constant_of_shape() -> onnx.ModelProto:
    nodes = [
        node("ConstantOfShape", ["shape"], ["ones"]),
        node("ReduceSum", ["ones"], ["sum"], keepdims=0),
        node("Add", ["x", "sum"]),
    ]
    return model_of(nodes, {"shape": integers(10**12)})


@model
def _constant_of_a_negative_shape() -> onnx.ModelProto:
    nodes = [node("ConstantOfShape", ["shape"], ["ones"]), node("Concat", ["x", "ones"], axis=1)]
    return model_of(nodes, {"shape": integers(1, -8)})


@model
def _huge_tile() -> onnx.ModelProto:
    return model_of([node("Tile", ["x", "times"])], {"times": integers(1, 10**11)})


@model
def _tile_that_overflows() -> onnx.ModelProto:
    return model_of([node("Tile", ["x", "times"])], {"times": integers(2**40, 2**40)})


@model
def _slice_without_a_step() -> onnx.ModelProto:
    constants = {"from": integers(0), "to": integers(8), "axis": integers(1), "step": integers(0)}
    return model_of([node("Slice", ["x", *constants])], constants)


@model
def _range_without_a_step() -> onnx.ModelProto:
    constants = {"from": np.array(0, np.int64), "to": np.array(8, np.int64), "step": np.array(0, np.int64)}
    nodes = [
        node("Range", list(constants), ["places"]),
        node("Cast", ["places"], ["numbers"], to=TensorProto.FLOAT),
        node("Add", ["x", "numbers"]),
    ]
    return model_of(nodes, constants)


@model
def _range_of_four_gigabytes() -> onnx.ModelProto:
    constants = {"from": np.array(0, np.int64), "to": np.array(10**12, np.int64), "step": np.array(1, np.int64)}
    nodes = [
        node("Range", list(constants), ["places"]),
        node("ReduceSum", ["places"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["number"], to=TensorProto.FLOAT),
        node("Add", ["x", "number"]),
    ]
    return model_of(nodes, constants)


@model
def _expand_to_four_gigabytes() -> onnx.ModelProto:
    nodes = [
        node("Expand", ["x", "shape"], ["wide"]),
        node("Mul", ["wide", "wide"], ["squared"]),
        node("ReduceSum", ["squared", "axis"], ["y"], keepdims=0),
    ]
    return model_of(nodes, {"shape": integers(2**27, 1, 8), "axis": integers(0)})


@model
def _four_gigabytes_as_an_answer() -> onnx.ModelProto:
    return model_of([node("Expand", ["x", "shape"])], {"shape": integers(2**27, 8)})


@model
def _half_a_gigabyte_as_an_answer() -> onnx.ModelProto:
    return model_of([node("Expand", ["x", "shape"])], {"shape": integers(2**24, 8)})


@model
def _gather_outside() -> onnx.ModelProto:
    return model_of([node("Gather", ["x", "place"], axis=1)], {"place": integers(10**15, -(10**15))})


@model
def _one_hot_of_a_huge_depth() -> onnx.ModelProto:
    nodes = [
        node("Cast", ["x"], ["places"], to=TensorProto.INT64),
        node("OneHot", ["places", "depth", "values"], ["many"]),
        node("ReduceSum", ["many", "axis"], keepdims=0),
    ]
    constants = {"depth": integers(10**12), "values": np.array([0, 1], np.float32), "axis": integers(2)}
    return model_of(nodes, constants)


@model
def _resize_without_end() -> onnx.ModelProto:
    nodes = [
        node("Unsqueeze", ["x", "axes"], ["image"]),
        node("Resize", ["image", "", "scales"], ["larger"]),
        node("Squeeze", ["larger", "axes"]),
    ]
    return model_of(nodes, {"axes": integers(0, 1), "scales": np.array([1, 1, 1, 1e12], np.float32)})


def _looped(times: int, body: list[Any], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    true = onnx.numpy_helper.from_array(np.array(True), "")
    inner = helper.make_graph(
        [*body, node("Constant", [], ["still"], value=true)],
        "body",
        [info("step", [], TensorProto.INT64), info("more", [], TensorProto.BOOL), info("before", None)],
        [info("still", [], TensorProto.BOOL), info("after", None)],
    )
    return model_of(
        [node("Loop", ["times", "yes", "x"], body=inner)],
        {"times": np.array(times, np.int64), "yes": np.array(True), **constants},
    )


@model
def _loop_without_end() -> onnx.ModelProto:
    return _looped(2**62, [node("Neg", ["before"], ["after"])], {})


@model
def _loop_that_doubles() -> onnx.ModelProto:
    return _looped(60, [node("Concat", ["before", "before"], ["after"], axis=1)], {})


def _nested_calls(depth: int) -> onnx.ModelProto:
    """Functions that each call the one before twice."""
    sets = [helper.make_operatorsetid("", 17), helper.make_operatorsetid("own", 1)]
    functions = [helper.make_function("own", "f0", ["a"], ["b"], [node("Neg", ["a"], ["b"])], sets)]
    for level in range(1, depth + 1):
        calls = [
            helper.make_node(f"f{level - 1}", [source], [result], domain="own")
            for source, result in (("a", "c"), ("c", "b"))
        ]
        functions.append(helper.make_function("own", f"f{level}", ["a"], ["b"], calls, sets))
    return model_of([helper.make_node(f"f{depth}", ["x"], ["y"], domain="own")], functions=functions)


@model
def _a_billion_nested_calls() -> onnx.ModelProto:
    return _nested_calls(30)


@model
def _function_that_calls_itself() -> onnx.ModelProto:
    sets = [helper.make_operatorsetid("", 17), helper.make_operatorsetid("own", 1)]
    call = helper.make_node("f", ["a"], ["b"], domain="own")
    function = helper.make_function("own", "f", ["a"], ["b"], [call], sets)
    return model_of([helper.make_node("f", ["x"], ["y"], domain="own")], functions=[function])


@model
def _graphs_nested_deep() -> onnx.ModelProto:
    constants = [node("Constant", [], ["b"], value=onnx.numpy_helper.from_array(np.array(True), ""))]
    graph = helper.make_graph([node("Neg", ["x"], ["after"])], "g", [], [info("after", None)])
    for _ in range(40):
        nested = node("If", ["b"], ["after"], then_branch=graph, else_branch=graph)
        if graph.ByteSize() > 10**6:
            break
        graph = helper.make_graph([*constants, nested], "g", [], [info("after", None)])
    return model_of([*constants, node("If", ["b"], then_branch=graph, else_branch=graph)])


@model
def _graph_that_goes_round() -> onnx.ModelProto:
    return model_of([node("Add", ["x", "b"], ["a"]), node("Neg", ["a"], ["b"]), node("Neg", ["b"])])


def _with_constant(**fields: Any) -> onnx.ModelProto:
    whole = model_of([node("Add", ["x", "c"])])
    tensor = whole.graph.initializer.add(name="c")
    for field, value in fields.items():
        if isinstance(value, list):
            getattr(tensor, field).extend(value)
        else:
            setattr(tensor, field, value)
    return whole


@model
def _constant_of_unknown_dtype() -> onnx.ModelProto:
    return _with_constant(data_type=99, dims=[8], raw_data=bytes(32))


@model
def _constant_of_no_dtype() -> onnx.ModelProto:
    return _with_constant(dims=[8], raw_data=bytes(32))


@model
def _constant_of_text() -> onnx.ModelProto:
    return _with_constant(data_type=TensorProto.STRING, dims=[1], string_data=[b"\xff\x00"])


@model
def _constant_with_too_few_bytes() -> onnx.ModelProto:
    return _with_constant(data_type=TensorProto.FLOAT, dims=[2**40], raw_data=bytes(32))


@model
def _constant_of_negative_size() -> onnx.ModelProto:
    return _with_constant(data_type=TensorProto.FLOAT, dims=[-8], raw_data=bytes(32))


@model
def _constant_that_lies_outside() -> onnx.ModelProto:
    whole = _with_constant(data_type=TensorProto.FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    whole.graph.initializer[0].external_data.add(key="location", value="../../../../../../../../etc/passwd")
    return whole


@model
def _input_of_no_rank() -> onnx.ModelProto:
    return model_of([node("Neg", ["x"])], inputs=[info("x", [])], outputs=[info("y", [])])


@model
def _input_of_unknown_rank() -> onnx.ModelProto:
    return model_of([node("Tile", ["x", "n"])], {"n": integers(1)}, inputs=[info("x", None)])


@model
def _input_of_unknown_dtype() -> onnx.ModelProto:
    return model_of([node("Neg", ["x"])], inputs=[info("x", ("batch", 8), 99)])


@model
def _input_without_a_type() -> onnx.ModelProto:
    whole = model_of([node("Neg", ["x"])])
    whole.graph.input[0].ClearField("type")
    return whole


@model
def _no_inputs() -> onnx.ModelProto:
    return model_of([node("Neg", ["c"])], {"c": X}, inputs=[])


@model
def _no_outputs() -> onnx.ModelProto:
    return model_of([node("Neg", ["x"])], outputs=[])


@model
def _no_nodes() -> onnx.ModelProto:
    return model_of([], outputs=[info("x")])


@model
def _nothing_at_all() -> onnx.ModelProto:
    return onnx.ModelProto()


@model
def _two_inputs() -> onnx.ModelProto:
    return model_of([node("Add", ["x", "z"])], inputs=[info("x", ("batch", "samples")), info("z", (1,))])


def _answering(nodes: list[Any], shape: list[int] | None, kind: int, **constants: np.ndarray) -> onnx.ModelProto:
    return model_of(nodes, constants, outputs=[info("y", shape, kind)])


@model
def _output_of_rank_0() -> onnx.ModelProto:
    return _answering([node("ReduceSum", ["x"], keepdims=0)], [], TensorProto.FLOAT)


@model
def _output_of_rank_1() -> onnx.ModelProto:
    return _answering([node("ReduceSum", ["x", "axis"], keepdims=0)], [8], TensorProto.FLOAT, axis=integers(0))


@model
def _output_of_nothing() -> onnx.ModelProto:
    constants = {"from": integers(4), "to": integers(4), "axis": integers(1)}
    return model_of([node("Slice", ["x", *constants])], constants, outputs=[info("y", None)])


@model
def _output_of_text() -> onnx.ModelProto:
    return _answering([node("Cast", ["x"], to=TensorProto.STRING)], [1, 8], TensorProto.STRING)


@model
def _output_of_integers() -> onnx.ModelProto:
    return _answering([node("Cast", ["x"], to=TensorProto.INT64)], [1, 8], TensorProto.INT64)


@model
def _output_of_truth_values() -> onnx.ModelProto:
    return _answering([node("Cast", ["x"], to=TensorProto.BOOL)], [1, 8], TensorProto.BOOL)


@model
def _output_of_bfloat16() -> onnx.ModelProto:
    return _answering([node("Cast", ["x"], to=TensorProto.BFLOAT16)], [1, 8], TensorProto.BFLOAT16)


@model
def _output_that_is_a_sequence() -> onnx.ModelProto:
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    return model_of([node("SequenceConstruct", ["x", "x"])], outputs=[output])


@model
def _output_that_is_not_there() -> onnx.ModelProto:
    output = helper.make_value_info("y", helper.make_optional_type_proto(info("t").type))
    return model_of([node("Optional", [], type=info("t").type)], outputs=[output])


@model
def _names_that_are_no_text() -> bytes:
    whole = model_of([node("Neg", ["x"], ["0123456789"])], outputs=[info("0123456789")])
    return whole.SerializeToString().replace(b"0123456789", b"01\xff\xfe\x80\xc056\x1b9")


@model
def _names_that_control_a_terminal() -> onnx.ModelProto:
    return model_of([node("Neg", ["x"], ["y\n\x1b[31m"])], outputs=[info("y\n\x1b[31m")])


@model
def _operator_that_nobody_knows() -> onnx.ModelProto:
    return model_of([node("Frobnicate\nerror: none", ["x"])])


@model
def _opset_of_the_far_future() -> onnx.ModelProto:
    whole = model_of([node("Neg", ["x"])])
    whole.opset_import[0].version = 2**62
    whole.ir_version = 2**62
    return whole


@model
def _ten_megabytes_of_metadata() -> onnx.ModelProto:
    whole = model_of([node("Neg", ["x"])])
    helper.set_model_props(whole, FACTS | {"labels": "[" * 10**7})
    return whole


@model
def _a_truncated_file() -> bytes:
    return model_of([node("Neg", ["x"])]).SerializeToString()[:-7]


@model
def _protobuf_nested_deep() -> bytes:
    content = b""
    for _ in range(20_000):
        # GraphProto.node.attribute.g, within each other: fields 1, 5 and 6.
        for field in (6, 5, 1):
            content = bytes([field << 3 | 2]) + _varint(len(content)) + content
    return b"\x3a" + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    content = b""
    while number > 127:
        content += bytes([number & 127 | 128])
        number >>= 7
    return content + bytes([number])


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A gigabyte of memory and a second: enough for anything that is no bomb."""
    monkeypatch.setenv(limits.MEMORY, "1")
    with limits.time_limit(1):
        yield


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One for all of them, which is harder than one for each: what a model leaves behind is the next one's."""
    with Worker(named("onnx").needs()) as started:
        yield started


def checked(worker: Worker, path: Path) -> list[Check]:
    """What `convert check` says of the file, in both runtimes, where y should be -x."""
    artifact, cases = Artifact("onnx", "x", "fp32", None, {"opset": 17}), [Case("a row", {"x": X}, {"y": -X})]
    return check_in(worker, File(path.parent, path.name, artifact, named("onnx"), INPUT, (OUTPUT,)), cases)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.usefixtures("limited")
def test_a_hostile_model_fails_its_own_checks_alone(
    worker: Worker, tmp_path: Path, name: str, noted: Callable[[str, object], None]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODELS[name]())
    started = time.monotonic()
    checks = checked(worker, path)
    noted("seconds", time.monotonic() - started)
    assert time.monotonic() - started < 20
    assert exit_code(checks) == 1, checks
    for runtime in ("onnxruntime", "tract"):
        assert any(check.runtime == runtime for check in checks)
    for check in checks:
        assert "Traceback" not in check.message
        assert check.status != "failed" or check.message
    # Nothing is left beside it, a core dump least of all.
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_a_model_that_is_right_passes_between_them(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of([node("Neg", ["x"])]).SerializeToString())
    values = [check for check in checked(worker, path) if check.kind == "values"]
    assert [(check.runtime, check.status) for check in values] == [("onnxruntime", "passed"), ("tract", "passed")]
