"""Models that kill, stall or starve what runs them: each fails checks of its own, and the others go on."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper

from convert.manifest import Artifact
from convert.targets import named
from convert.verify import File, check_in
from recipes.base import limits
from recipes.base.tensor import Input, Output, Tolerance
from recipes.base.worker import Worker
from tests.hostile.models import FACTS
from tests.hostile.test_folders import listed
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


def _info(name: str, shape: Sequence[int | str] | None = ("batch", 8), kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _whole(
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
        [_info("x", ("batch", "samples"))] if inputs is None else inputs,
        [_info("y")] if outputs is None else outputs,
        [onnx.numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    sets = [helper.make_operatorsetid("", 17), *([helper.make_operatorsetid("own", 1)] if functions else [])]
    whole = helper.make_model(graph, opset_imports=sets, ir_version=8, functions=functions)
    helper.set_model_props(whole, FACTS)
    return whole


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str] = ("y",), **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, outputs, **attributes)


def _integers(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def _through_integers(kind: str, divisor: int, dtype: int = TensorProto.INT32) -> onnx.ModelProto:
    """y = x, of which the sign is made an integer's extreme, and divided."""
    array = np.array([divisor], helper.tensor_dtype_to_np_dtype(dtype))
    least = np.full((1, 8), np.iinfo(array.dtype).min, array.dtype)
    nodes = [
        _node("Cast", ["x"], ["whole"], to=dtype),
        _node("Mul", ["whole", "zero"], ["none"]),
        _node("Add", ["none", "least"], ["extreme"]),
        _node(kind, ["extreme", "divisor"], ["divided"]),
        _node("Cast", ["divided"], to=TensorProto.FLOAT),
    ]
    return _whole(nodes, {"zero": array * 0, "least": least, "divisor": array})


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
        _node("Unsqueeze", ["x", "axis"], ["row"]),
        _node("Conv", ["row", "kernel"], ["convolved"], **attributes),
        _node("Squeeze", ["convolved", "axis"]),
    ]
    return _whole(nodes, {"axis": _integers(1), "kernel": np.ones((1, 1, 3), np.float32)})


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
        _node("Unsqueeze", ["x", "axis"], ["row"]),
        _node("MaxPool", ["row"], ["pooled"], kernel_shape=[2], strides=[0]),
        _node("Squeeze", ["pooled", "axis"]),
    ]
    return _whole(nodes, {"axis": _integers(1)})


@model
def _kernel_of_no_size() -> onnx.ModelProto:
    nodes = [
        _node("Unsqueeze", ["x", "axis"], ["row"]),
        _node("AveragePool", ["row"], ["pooled"], kernel_shape=[0]),
        _node("Squeeze", ["pooled", "axis"]),
    ]
    return _whole(nodes, {"axis": _integers(1)})


def _padded(*amounts: int, mode: str = "constant") -> onnx.ModelProto:
    return _whole([_node("Pad", ["x", "pads"], mode=mode)], {"pads": _integers(*amounts)})


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
        _node("ConstantOfShape", ["shape"], ["ones"]),
        _node("ReduceSum", ["ones"], ["sum"], keepdims=0),
        _node("Add", ["x", "sum"]),
    ]
    return _whole(nodes, {"shape": _integers(10**12)})


@model
def _constant_of_a_negative_shape() -> onnx.ModelProto:
    nodes = [_node("ConstantOfShape", ["shape"], ["ones"]), _node("Concat", ["x", "ones"], axis=1)]
    return _whole(nodes, {"shape": _integers(1, -8)})


@model
def _huge_tile() -> onnx.ModelProto:
    return _whole([_node("Tile", ["x", "times"])], {"times": _integers(1, 10**11)})


@model
def _tile_that_overflows() -> onnx.ModelProto:
    return _whole([_node("Tile", ["x", "times"])], {"times": _integers(2**40, 2**40)})


@model
def _slice_without_a_step() -> onnx.ModelProto:
    constants = {"from": _integers(0), "to": _integers(8), "axis": _integers(1), "step": _integers(0)}
    return _whole([_node("Slice", ["x", *constants])], constants)


@model
def _range_without_a_step() -> onnx.ModelProto:
    constants = {"from": np.array(0, np.int64), "to": np.array(8, np.int64), "step": np.array(0, np.int64)}
    nodes = [
        _node("Range", list(constants), ["places"]),
        _node("Cast", ["places"], ["numbers"], to=TensorProto.FLOAT),
        _node("Add", ["x", "numbers"]),
    ]
    return _whole(nodes, constants)


@model
def _range_of_four_gigabytes() -> onnx.ModelProto:
    constants = {"from": np.array(0, np.int64), "to": np.array(10**12, np.int64), "step": np.array(1, np.int64)}
    nodes = [
        _node("Range", list(constants), ["places"]),
        _node("ReduceSum", ["places"], ["sum"], keepdims=0),
        _node("Cast", ["sum"], ["number"], to=TensorProto.FLOAT),
        _node("Add", ["x", "number"]),
    ]
    return _whole(nodes, constants)


@model
def _expand_to_four_gigabytes() -> onnx.ModelProto:
    nodes = [
        _node("Expand", ["x", "shape"], ["wide"]),
        _node("Mul", ["wide", "wide"], ["squared"]),
        _node("ReduceSum", ["squared", "axis"], ["y"], keepdims=0),
    ]
    return _whole(nodes, {"shape": _integers(2**27, 1, 8), "axis": _integers(0)})


@model
def _four_gigabytes_as_an_answer() -> onnx.ModelProto:
    return _whole([_node("Expand", ["x", "shape"])], {"shape": _integers(2**27, 8)})


@model
def _half_a_gigabyte_as_an_answer() -> onnx.ModelProto:
    return _whole([_node("Expand", ["x", "shape"])], {"shape": _integers(2**24, 8)})


@model
def _gather_outside() -> onnx.ModelProto:
    return _whole([_node("Gather", ["x", "place"], axis=1)], {"place": _integers(10**15, -(10**15))})


@model
def _one_hot_of_a_huge_depth() -> onnx.ModelProto:
    nodes = [
        _node("Cast", ["x"], ["places"], to=TensorProto.INT64),
        _node("OneHot", ["places", "depth", "values"], ["many"]),
        _node("ReduceSum", ["many", "axis"], keepdims=0),
    ]
    constants = {"depth": _integers(10**12), "values": np.array([0, 1], np.float32), "axis": _integers(2)}
    return _whole(nodes, constants)


@model
def _resize_without_end() -> onnx.ModelProto:
    nodes = [
        _node("Unsqueeze", ["x", "axes"], ["image"]),
        _node("Resize", ["image", "", "scales"], ["larger"]),
        _node("Squeeze", ["larger", "axes"]),
    ]
    return _whole(nodes, {"axes": _integers(0, 1), "scales": np.array([1, 1, 1, 1e12], np.float32)})


def _looped(times: int, body: list[Any], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    true = onnx.numpy_helper.from_array(np.array(True), "")
    inner = helper.make_graph(
        [*body, _node("Constant", [], ["still"], value=true)],
        "body",
        [_info("step", [], TensorProto.INT64), _info("more", [], TensorProto.BOOL), _info("before", None)],
        [_info("still", [], TensorProto.BOOL), _info("after", None)],
    )
    return _whole(
        [_node("Loop", ["times", "yes", "x"], body=inner)],
        {"times": np.array(times, np.int64), "yes": np.array(True), **constants},
    )


@model
def _loop_without_end() -> onnx.ModelProto:
    return _looped(2**62, [_node("Neg", ["before"], ["after"])], {})


@model
def _loop_that_doubles() -> onnx.ModelProto:
    return _looped(60, [_node("Concat", ["before", "before"], ["after"], axis=1)], {})


def _nested_calls(depth: int) -> onnx.ModelProto:
    """Functions that each call the one before twice."""
    sets = [helper.make_operatorsetid("", 17), helper.make_operatorsetid("own", 1)]
    functions = [helper.make_function("own", "f0", ["a"], ["b"], [_node("Neg", ["a"], ["b"])], sets)]
    for level in range(1, depth + 1):
        calls = [
            helper.make_node(f"f{level - 1}", [source], [result], domain="own")
            for source, result in (("a", "c"), ("c", "b"))
        ]
        functions.append(helper.make_function("own", f"f{level}", ["a"], ["b"], calls, sets))
    return _whole([helper.make_node(f"f{depth}", ["x"], ["y"], domain="own")], functions=functions)


@model
def _a_billion_nested_calls() -> onnx.ModelProto:
    return _nested_calls(30)


@model
def _function_that_calls_itself() -> onnx.ModelProto:
    sets = [helper.make_operatorsetid("", 17), helper.make_operatorsetid("own", 1)]
    call = helper.make_node("f", ["a"], ["b"], domain="own")
    function = helper.make_function("own", "f", ["a"], ["b"], [call], sets)
    return _whole([helper.make_node("f", ["x"], ["y"], domain="own")], functions=[function])


@model
def _graphs_nested_deep() -> onnx.ModelProto:
    constants = [_node("Constant", [], ["b"], value=onnx.numpy_helper.from_array(np.array(True), ""))]
    graph = helper.make_graph([_node("Neg", ["x"], ["after"])], "g", [], [_info("after", None)])
    for _ in range(40):
        nested = _node("If", ["b"], ["after"], then_branch=graph, else_branch=graph)
        if graph.ByteSize() > 10**6:
            break
        graph = helper.make_graph([*constants, nested], "g", [], [_info("after", None)])
    return _whole([*constants, _node("If", ["b"], then_branch=graph, else_branch=graph)])


@model
def _graph_that_goes_round() -> onnx.ModelProto:
    return _whole([_node("Add", ["x", "b"], ["a"]), _node("Neg", ["a"], ["b"]), _node("Neg", ["b"])])


def _with_constant(**fields: Any) -> onnx.ModelProto:
    whole = _whole([_node("Add", ["x", "c"])])
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
    return _whole([_node("Neg", ["x"])], inputs=[_info("x", [])], outputs=[_info("y", [])])


@model
def _input_of_unknown_rank() -> onnx.ModelProto:
    return _whole([_node("Tile", ["x", "n"])], {"n": _integers(1)}, inputs=[_info("x", None)])


@model
def _input_of_unknown_dtype() -> onnx.ModelProto:
    return _whole([_node("Neg", ["x"])], inputs=[_info("x", ("batch", 8), 99)])


@model
def _input_without_a_type() -> onnx.ModelProto:
    whole = _whole([_node("Neg", ["x"])])
    whole.graph.input[0].ClearField("type")
    return whole


@model
def _no_inputs() -> onnx.ModelProto:
    return _whole([_node("Neg", ["c"])], {"c": X}, inputs=[])


@model
def _no_outputs() -> onnx.ModelProto:
    return _whole([_node("Neg", ["x"])], outputs=[])


@model
def _no_nodes() -> onnx.ModelProto:
    return _whole([], outputs=[_info("x")])


@model
def _nothing_at_all() -> onnx.ModelProto:
    return onnx.ModelProto()


@model
def _two_inputs() -> onnx.ModelProto:
    return _whole([_node("Add", ["x", "z"])], inputs=[_info("x", ("batch", "samples")), _info("z", (1,))])


def _answering(nodes: list[Any], shape: list[int] | None, kind: int, **constants: np.ndarray) -> onnx.ModelProto:
    return _whole(nodes, constants, outputs=[_info("y", shape, kind)])


@model
def _output_of_rank_0() -> onnx.ModelProto:
    return _answering([_node("ReduceSum", ["x"], keepdims=0)], [], TensorProto.FLOAT)


@model
def _output_of_rank_1() -> onnx.ModelProto:
    return _answering([_node("ReduceSum", ["x", "axis"], keepdims=0)], [8], TensorProto.FLOAT, axis=_integers(0))


@model
def _output_of_nothing() -> onnx.ModelProto:
    constants = {"from": _integers(4), "to": _integers(4), "axis": _integers(1)}
    return _whole([_node("Slice", ["x", *constants])], constants, outputs=[_info("y", None)])


@model
def _output_of_text() -> onnx.ModelProto:
    return _answering([_node("Cast", ["x"], to=TensorProto.STRING)], [1, 8], TensorProto.STRING)


@model
def _output_of_integers() -> onnx.ModelProto:
    return _answering([_node("Cast", ["x"], to=TensorProto.INT64)], [1, 8], TensorProto.INT64)


@model
def _output_of_truth_values() -> onnx.ModelProto:
    return _answering([_node("Cast", ["x"], to=TensorProto.BOOL)], [1, 8], TensorProto.BOOL)


@model
def _output_of_bfloat16() -> onnx.ModelProto:
    return _answering([_node("Cast", ["x"], to=TensorProto.BFLOAT16)], [1, 8], TensorProto.BFLOAT16)


@model
def _output_that_is_a_sequence() -> onnx.ModelProto:
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    return _whole([_node("SequenceConstruct", ["x", "x"])], outputs=[output])


@model
def _output_that_is_not_there() -> onnx.ModelProto:
    output = helper.make_value_info("y", helper.make_optional_type_proto(_info("t").type))
    return _whole([_node("Optional", [], type=_info("t").type)], outputs=[output])


@model
def _names_that_are_no_text() -> bytes:
    whole = _whole([_node("Neg", ["x"], ["0123456789"])], outputs=[_info("0123456789")])
    return whole.SerializeToString().replace(b"0123456789", b"01\xff\xfe\x80\xc056\x1b9")


@model
def _names_that_control_a_terminal() -> onnx.ModelProto:
    return _whole([_node("Neg", ["x"], ["y\n\x1b[31m"])], outputs=[_info("y\n\x1b[31m")])


@model
def _operator_that_nobody_knows() -> onnx.ModelProto:
    return _whole([_node("Frobnicate\nerror: none", ["x"])])


@model
def _opset_of_the_far_future() -> onnx.ModelProto:
    whole = _whole([_node("Neg", ["x"])])
    whole.opset_import[0].version = 2**62
    whole.ir_version = 2**62
    return whole


@model
def _ten_megabytes_of_metadata() -> onnx.ModelProto:
    whole = _whole([_node("Neg", ["x"])])
    helper.set_model_props(whole, FACTS | {"labels": "[" * 10**7})
    return whole


@model
def _a_truncated_file() -> bytes:
    return _whole([_node("Neg", ["x"])]).SerializeToString()[:-7]


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
    path.write_bytes(_whole([_node("Neg", ["x"])]).SerializeToString())
    values = [check for check in checked(worker, path) if check.kind == "values"]
    assert [(check.runtime, check.status) for check in values] == [("onnxruntime", "passed"), ("tract", "passed")]


# Answers of which each has another size


def _where_it_is_loud(name: str = "y") -> list[Any]:
    """The places of x that are over 0: as many as there are."""
    return [
        _node("Greater", ["x", "zero"], ["over"]),
        _node("NonZero", ["over"], ["places"]),
        _node("Cast", ["places"], [name], to=TensorProto.FLOAT),
    ]


ZERO = {"zero": np.array(0, np.float32)}


def _ragged() -> onnx.ModelProto:
    return _whole(_where_it_is_loud(), ZERO, inputs=[_info("x", (1, 8))], outputs=[_info("y", None)])


def test_rows_that_differ_fail_their_case_and_the_others_go_on(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(_ragged().SerializeToString())
    artifact = Artifact("onnx", "x", "fp32", None, {"opset": 17})
    file = File(tmp_path, "model.onnx", artifact, named("onnx"), INPUT, (OUTPUT,))
    batch = np.concatenate([X, X + 0.3])
    checks = check_in(worker, file, [Case("two rows", {"x": batch}, {"y": -batch}), Case("a row", {"x": X}, {"y": -X})])
    for runtime in ("onnxruntime", "tract"):
        (of_rows,) = (check for check in checks if (check.runtime, check.case) == (runtime, "two rows"))
        assert of_rows.status == "failed"
        assert "the output 'y' is float32[2, 4] for row 0 and float32[2, 5] for row 1" in of_rows.message
        assert {check.kind for check in checks if (check.runtime, check.case) == (runtime, "a row")} > {"shape", "axes"}


def test_rows_that_differ_are_one_line_of_the_command(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(_ragged().SerializeToString())
    np.savez(tmp_path / "rows.npz", x=np.concatenate([X, X + 0.3]))
    said = refused("run", tmp_path / "model.onnx", tmp_path / "rows.npz", "-o", tmp_path / "out.npz")
    assert "the output 'y' is float32[2, 4] for row 0 and float32[2, 5] for row 1" in said
    assert not (tmp_path / "out.npz").exists()


def test_a_comparison_of_rows_that_differ_is_a_failed_check(commands: Any, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(_ragged().SerializeToString())
    np.savez(tmp_path / "rows.npz", x=np.concatenate([X, X + 0.3]))
    path = tmp_path / "model.onnx"
    ended = commands.run("compare", path, path, "--on", tmp_path / "rows.npz", "--json")
    assert ended.exit_code == 1, ended
    assert "for row 0 and" in ended.stdout


def _of_windows(rows: int, *nodes: Any, more: Sequence[Any] = ()) -> onnx.ModelProto:
    """Scores of so many rows a window of 8 samples."""
    scores = [_node("ReduceMean", ["x"], ["mean"], axes=[1]), _node("Tile", ["mean", "times"])]
    constants = {"times": _integers(rows, 8), **ZERO}
    return _whole([*scores, *nodes], constants, inputs=[_info("x", (1, 8))], outputs=[_info("y", None), *more])


WINDOWS = {
    "no rows a window": (_of_windows(0), "gives 0 rows of y where 1 went in"),
    "three rows a window": (_of_windows(3), "gives 3 rows of y where 1 went in"),
    "another size each window": (
        _of_windows(1, *_where_it_is_loud("z"), more=[_info("z", None)]),
        "the output 'z' is float32[2, 8] for window 0 and float32[2, 0] for window 1",
    ),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_that_cannot_be_put_together(name: str, refused: Callable[..., str], tmp_path: Path) -> None:
    content, part = WINDOWS[name]
    (tmp_path / "model.onnx").write_bytes(content.SerializeToString())
    soundfile.write(tmp_path / "it.wav", np.repeat(np.float32([0.5, -0.5]), 8), 32000, "FLOAT")
    # With --json nothing is told before all is known.
    words = ("--hop", 8 / 32000, "--json", "-o", tmp_path / "out.npz")
    assert part in refused("run", tmp_path / "model.onnx", tmp_path / "it.wav", *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it.wav", "model.onnx"]


def test_a_number_each_window_is_a_row_each(commands: Any, tmp_path: Path) -> None:
    content = _of_windows(1, _node("ReduceMax", ["x"], ["z"], keepdims=0), more=[_info("z", [])])
    (tmp_path / "model.onnx").write_bytes(content.SerializeToString())
    soundfile.write(tmp_path / "it.wav", np.repeat(np.float32([0.5, -0.5]), 8), 32000, "FLOAT")
    words = ("run", tmp_path / "model.onnx", tmp_path / "it.wav", "--hop", 8 / 32000, "--json")
    ended = commands.run(*words, "-o", tmp_path / "out.npz")
    assert ended.exit_code == 0, ended
    assert json.loads(ended.stdout)["outputs"] == {"y": [2, 8], "z": [2]}
    with np.load(tmp_path / "out.npz") as written:
        assert written["z"].tolist() == [0.5, -0.5]


@pytest.fixture(scope="module")
def fed_chunks(tmp_path_factory: pytest.TempPathFactory, convert: Callable[..., Any]) -> Path:
    """A made folder whose file of chunks gives as many bands as samples are over 0."""
    folder = tmp_path_factory.mktemp("chunks") / "it"
    settings = ("--set", "top_db=null", "--set", "ref=1")
    assert convert("recipe", "mel_whisper80", *settings, "--streaming", 2, "-o", folder).exit_code == 0
    (name,) = (path.name for path in folder.glob("*streaming*.onnx"))
    own = onnx.load(folder / name)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    fed = manifest["artifacts"][name]["input"]
    (tensor,) = (one for one in [manifest["input"], *manifest["alternative_inputs"]] if one["name"] == fed)
    stream = tensor["stream"]
    (given,) = (one.name for one in own.graph.output if one.name != stream["next_state"])
    nodes = [
        _node("Identity", [stream["state"]], [stream["next_state"]]),
        _node("Greater", [fed, "zero"], ["over"]),
        _node("NonZero", ["over"], ["places"]),
        _node("Cast", ["places"], ["numbers"], to=TensorProto.FLOAT),
        _node("Slice", ["numbers", "first", "second", "first"], ["row"]),
        _node("Unsqueeze", ["row", "axis"], ["column"]),
        _node("Tile", ["column", "times"], [given]),
    ]
    constants = {**ZERO, "first": _integers(0), "second": _integers(1), "axis": _integers(2)}
    constants["times"] = _integers(1, 1, stream["frames"])
    outputs = [one if one.name == stream["next_state"] else _info(given, None) for one in own.graph.output]
    other = _whole(nodes, constants, inputs=own.graph.input, outputs=outputs)
    del other.metadata_props[:]
    other.metadata_props.extend(own.metadata_props)
    (folder / name).write_bytes(other.SerializeToString())
    listed(folder, name)
    return folder


def test_chunks_that_differ_fail_their_cases_and_the_others_go_on(commands: Any, fed_chunks: Path) -> None:
    ended = commands.run("check", fed_chunks, "--json")
    assert (ended.exit_code, ended.stderr) == (1, "")
    checks = json.loads(ended.stdout)["checks"]
    assert any("and the first one gave melspec float32[1, " in check["message"] for check in checks)
    assert {check["status"] for check in checks if check["artifact"] == "model.onnx"} == {"passed"}
