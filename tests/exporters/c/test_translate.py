"""Small graphs as C against ONNX Runtime: each operator, what is fused, and sizes that follow from the length."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from exporters.c.program import UnsupportedError
from exporters.c.translate import program_of

Build = Callable[..., onnx.ModelProto]
_FAR = 2**63 - 1


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _agrees(compiled: Any, model: onnx.ModelProto, *lengths: int) -> None:
    """With ONNX Runtime, on arrays of these lengths."""
    run = compiled(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    names = [output.name for output in model.graph.output]
    for length in lengths:
        x = _floats(1, *dims[1:-1], length)
        for name, expected in zip(names, session.run(names, {"x": x}), strict=True):
            got = run(x)[name]
            assert got.shape == expected.shape, (name, length)
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5, err_msg=f"{name} at {length}")


# Of (1, samples): made an image of two channels, which convolutions take.
IMAGE = [
    ("Unsqueeze", ["x", "one"], ["u"], {}),
    ("Unsqueeze", ["u", "one"], ["v"], {}),
    ("Conv", ["v", "spread"], ["image"], {"kernel_shape": [1, 3], "strides": [1, 2]}),
]
SPREAD = {"one": _ints(1), "spread": _floats(6, 1, 1, 3)}


def test_element_by_element(compiled: Any, graph: Build) -> None:
    nodes = [
        ("Mul", ["x", "half"], ["a"], {}),
        ("Sigmoid", ["a"], ["b"], {}),
        ("Exp", ["b"], ["c"], {}),
        ("Sub", ["three", "c"], ["d"], {}),
        ("Mul", ["d", "d"], ["e"], {}),
        ("Sqrt", ["e"], ["f"], {}),
        ("Mul", ["x", "three"], ["multiple"], {}),
        ("Round", ["multiple"], ["whole"], {}),
        ("Add", ["f", "whole"], ["g"], {}),
        ("Erf", ["g"], ["h"], {}),
        ("Tanh", ["h"], ["i"], {}),
        ("Clip", ["i", "low", "half"], ["j"], {}),
        ("Max", ["j", "a"], ["k"], {}),
        ("LeakyRelu", ["k"], ["l"], {"alpha": 0.3}),
        ("HardSwish", ["l"], ["y"], {}),
        ("Relu", ["a"], ["z"], {}),
    ]
    constants = {"half": np.float32(0.5), "three": np.float32(-3.0), "low": np.float32(-0.25)}
    _agrees(compiled, graph(nodes, ["y", "z"], {k: np.array(v) for k, v in constants.items()}), 1, 5, 100)


def test_views_cost_no_copy_and_read_as_arrays(compiled: Any, graph: Build) -> None:
    nodes = [
        *IMAGE,
        ("Transpose", ["image"], ["t"], {"perm": [0, 3, 2, 1]}),
        ("Slice", ["t", "starts", "ends", "axes", "steps"], ["s"], {}),
        ("Squeeze", ["s", "two"], ["q"], {}),
        ("Gather", ["q", "at"], ["g"], {"axis": 2}),
        ("Add", ["g", "g"], ["y"], {}),
        ("Reshape", ["s", "flat"], ["z"], {}),
    ]
    constants = {
        **SPREAD, "two": _ints(2), "starts": _ints(1, 2), "ends": _ints(_FAR, -1), "axes": _ints(1, 3),
        "steps": _ints(1, 1), "at": np.array(1, np.int64), "flat": _ints(1, -1),
    }  # fmt: skip
    model = graph(nodes, ["y", "z"], constants)
    program, _, _ = program_of(model, 100, 50)
    assert [step.title.partition(":")[0] for step in program.steps] == ["image", "y", "s", "y", "z"]
    _agrees(compiled, model, 9, 40, 41)


def test_an_activation_and_a_sum_are_computed_where_the_result_is_stored(compiled: Any, graph: Build) -> None:
    nodes = [
        *IMAGE,
        ("Conv", ["image", "deep", "bias"], ["a"], {"group": 6, "pads": [0, 1, 0, 1]}),
        ("HardSwish", ["a"], ["b"], {}),
        ("Conv", ["b", "point"], ["c"], {}),
        ("Add", ["image", "c"], ["d"], {}),
        ("Conv", ["d", "wide"], ["e"], {"pads": [0, 2, 0, 2], "dilations": [1, 2], "strides": [1, 3]}),
        ("LeakyRelu", ["e"], ["y"], {"alpha": 0.2}),
    ]
    constants = {
        **SPREAD, "deep": _floats(6, 1, 1, 3), "bias": _floats(6), "point": _floats(6, 6, 1, 1),
        "wide": _floats(9, 6, 1, 3),
    }  # fmt: skip
    model = graph(nodes, ["y"], constants)
    program, _, _ = program_of(model, 100, 50)
    assert [step.title.partition(":")[0] for step in program.steps] == ["image", "b", "d", "y", "y"]
    _agrees(compiled, model, 9, 100, 101)


def test_what_is_read_elsewhere_too_is_not_taken_over(compiled: Any, graph: Build) -> None:
    nodes = [*IMAGE, ("Relu", ["image"], ["y"], {}), ("Sigmoid", ["image"], ["z"], {})]
    _agrees(compiled, graph(nodes, ["y", "z", "image"], SPREAD), 9, 30)


@pytest.mark.parametrize(
    ("mode", "around"),
    [("constant", []), ("constant", ["value"]), ("edge", []), ("reflect", [])],
)
@pytest.mark.parametrize("ends", [(2, 3), (0, 4), (1, 0)])
def test_what_stands_around_an_array(compiled: Any, graph: Build, mode: str, around: list[str], ends: Any) -> None:
    before, after = ends
    nodes = [*IMAGE, ("Pad", ["image", "pads", *around], ["p"], {"mode": mode}), ("Relu", ["p"], ["y"], {})]
    pads = _ints(0, 0, 0, before, 0, 0, 0, after)
    model = graph(nodes, ["y"], {**SPREAD, "pads": pads, "value": np.array(1.5, np.float32)})
    _agrees(compiled, model, 20, 51)


def test_what_is_padded_or_joined_is_written_in_its_place(compiled: Any, graph: Build) -> None:
    nodes = [
        *IMAGE,
        ("Pad", ["image", "pads"], ["p"], {"mode": "reflect"}),
        ("Conv", ["p", "deep"], ["c"], {"group": 6}),
        ("ReduceMean", ["c"], ["m"], {"axes": [2, 3], "keepdims": 0}),
        ("ReduceMax", ["image"], ["n"], {"axes": [2, 3], "keepdims": 0}),
        ("Concat", ["m", "n", "m"], ["y"], {"axis": 1}),
        ("Add", ["image", "image"], ["z"], {}),
    ]
    constants = {**SPREAD, "pads": _ints(0, 0, 0, 3, 0, 0, 0, 2), "deep": _floats(6, 1, 1, 4)}
    model = graph(nodes, ["y", "z"], constants)
    program, _, _ = program_of(model, 100, 50)
    assert {buffer.name for buffer in program.buffers if buffer.parent is not None} >= {"t_image", "t_m"}
    _agrees(compiled, model, 20, 51)


def test_products_with_constants_and_of_two_arrays(compiled: Any, graph: Build) -> None:
    nodes = [
        ("Reshape", ["x", "rows"], ["r"], {}),
        ("Gemm", ["r", "w", "b"], ["g"], {"transB": 1}),
        ("Relu", ["g"], ["a"], {}),
        ("MatMul", ["left", "g"], ["y"], {}),
        ("Transpose", ["a"], ["t"], {"perm": [1, 0]}),
        ("MatMul", ["t", "g"], ["z"], {}),
        ("MatMul", ["g", "square"], ["s"], {}),
        ("Softmax", ["s"], ["o"], {"axis": -1}),
        ("LayerNormalization", ["o", "scale", "b"], ["l"], {}),
    ]
    constants = {
        "rows": _ints(4, 6),
        "w": _floats(8, 6),
        "b": _floats(8),
        "left": _floats(3, 4),
        "square": _floats(8, 8),
        "scale": _floats(8),
    }
    _agrees(compiled, graph(nodes, ["y", "z", "l", "g"], constants, (1, 24)), 24)


def test_attention(compiled: Any, graph: Build) -> None:
    nodes = [
        ("Reshape", ["x", "heads"], ["h"], {}),
        ("Transpose", ["h"], ["q"], {"perm": [0, 2, 1, 3]}),
        ("Transpose", ["h"], ["k"], {"perm": [0, 2, 3, 1]}),
        ("Div", ["q", "four"], ["d"], {}),
        ("MatMul", ["d", "k"], ["m"], {}),
        ("Softmax", ["m"], ["s"], {"axis": 3}),
        ("MatMul", ["s", "q"], ["v"], {}),
        ("Transpose", ["v"], ["t"], {"perm": [0, 2, 1, 3]}),
        ("Reshape", ["t", "flat"], ["y"], {}),
    ]
    constants = {"heads": _ints(1, 5, 3, 4), "flat": _ints(-1, 12), "four": np.array(4, np.float32)}
    _agrees(compiled, graph(nodes, ["y"], constants, (1, 60)), 60)


def test_the_same_matrix_for_every_row_of_an_image(compiled: Any, graph: Build) -> None:
    # As dynamic convolutions mix channels with weights of their own for each clip.
    nodes = [
        ("ReduceMean", ["x"], ["m"], {"axes": [2, 3], "keepdims": 0}),
        ("MatMul", ["m", "spread"], ["w"], {}),
        ("Reshape", ["w", "matrix"], ["a"], {}),
        ("Relu", ["x"], ["r"], {}),
        ("Conv", ["r", "point"], ["c"], {}),
        ("Transpose", ["c"], ["t"], {"perm": [0, 2, 1, 3]}),
        ("MatMul", ["a", "t"], ["p"], {}),
        ("Transpose", ["p"], ["b"], {"perm": [0, 2, 1, 3]}),
        ("BatchNormalization", ["b", "scale", "shift", "mean", "var"], ["y"], {}),
    ]
    constants = {
        "spread": _floats(3, 8), "matrix": _ints(-1, 1, 2, 4), "point": _floats(4, 3, 1, 1), "scale": _floats(2),
        "shift": _floats(2), "mean": _floats(2), "var": np.abs(_floats(2)),
    }  # fmt: skip
    _agrees(compiled, graph(nodes, ["y"], constants, ("batch", 3, 5, "time")), 1, 30)


def test_pools_and_sums(compiled: Any, graph: Build) -> None:
    nodes = [
        ("AveragePool", ["x"], ["a"], {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [0, 1, 0, 1]}),
        ("AveragePool", ["x"], ["b"], {"kernel_shape": [1, 3], "pads": [0, 1, 0, 1], "count_include_pad": 1}),
        ("MaxPool", ["a"], ["c"], {"kernel_shape": [1, 3], "strides": [1, 2], "pads": [0, 1, 0, 1]}),
        ("ReduceSum", ["b", "two"], ["d"], {"keepdims": 0}),
        ("ReduceMean", ["c"], ["e"], {"axes": [3], "keepdims": 1}),
        ("ReduceMax", ["c"], ["f"], {"axes": [-1], "keepdims": 0}),
    ]
    _agrees(compiled, graph(nodes, ["a", "b", "c", "d", "e", "f"], {"two": _ints(2)}, (1, 3, 4, "time")), 2, 30, 31)


def test_indices_that_follow_from_the_length(compiled: Any, graph: Build) -> None:
    # Each frame's segment: 0 0 0 1 1 1 ... and the last one for the frames that are left.
    nodes = [
        *IMAGE,
        ("MaxPool", ["image"], ["p"], {"kernel_shape": [1, 3], "strides": [1, 3]}),
        ("Squeeze", ["p", "two"], ["q"], {}),
        ("Shape", ["x"], ["length"], {"start": 1, "end": 2}),
        ("Squeeze", ["length"], ["n"], {}),
        ("Sub", ["n", "one_"], ["n1"], {}),
        ("Div", ["n1", "two_"], ["frames"], {}),
        ("Div", ["frames", "three_"], ["segments"], {}),
        ("Range", ["zero_", "segments", "one_"], ["r"], {}),
        ("Slice", ["r", "last", "far", "zero"], ["s"], {}),
        ("Concat", ["r", "s"], ["rs"], {"axis": 0}),
        ("Unsqueeze", ["rs", "one"], ["ru"], {}),
        ("Tile", ["ru", "times"], ["tiled"], {}),
        ("Reshape", ["tiled", "last"], ["every"], {}),
        ("Range", ["zero_", "frames", "one_"], ["f"], {}),
        ("Unsqueeze", ["f", "last"], ["fu"], {}),
        ("GatherND", ["every", "fu"], ["index"], {}),
        ("Gather", ["q", "index"], ["y"], {"axis": 2}),
    ]
    scalars = {
        f"{word}_": np.array(value, np.int64) for word, value in {"zero": 0, "one": 1, "two": 2, "three": 3}.items()
    }
    constants = {
        **SPREAD,
        **scalars,
        "two": _ints(2),
        "last": _ints(-1),
        "far": _ints(_FAR),
        "zero": _ints(0),
        "times": _ints(1, 3),
    }
    _agrees(compiled, graph(nodes, ["y"], constants), 7, 20, 21, 22, 23, 100)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (("Sin", ["x"], ["y"], {}), "the operator Sin"),
        (("Conv", ["v", "v"], ["y"], {}), "weights that are computed"),
        (("Pad", ["v", "pads"], ["y"], {"mode": "wrap"}), "a pad that wraps around"),
        (("Pad", ["v", "less"], ["y"], {}), "a pad that wraps around, cuts off"),
        (("Pad", ["v", "both"], ["y"], {}), "or is not of one axis"),
        (("Pad", ["v", "pads", "x"], ["y"], {}), "a pad with what is no number"),
        (("Pad", ["v", "pads", "endless"], ["y"], {}), "a pad with what is no number"),
        (("Gather", ["x", "many"], ["y"], {"axis": 0}), None),
        (("Softmax", ["v"], ["y"], {"axis": 1}), "an axis other than the last one"),
        (("MaxPool", ["v"], ["y"], {"kernel_shape": [1, 2], "ceil_mode": 1}), "pads that follow from the size"),
        (("Slice", ["x", "many", "two", "one", "two"], ["y"], {}), "steps other than 1"),
        (("Conv", ["v", "deep"], ["y"], {}), "weights for other channels"),
        (("MatMul", ["x", "matrix"], ["y"], {}), "a matrix of another size"),
        (("Gather", ["v", "far"], ["y"], {"axis": 1}), "an element that is not there"),
        (("Slice", ["v", "beyond", "two", "one"], ["y"], {}), "a part that is not there"),
    ],
)
def test_what_has_no_form_in_c_is_said(graph: Build, node: Any, said: str | None) -> None:
    constants: dict[str, np.ndarray] = {"deep": _floats(2, 3, 1, 1), "matrix": _floats(3, 3), "far": np.array(7)}
    constants |= {"beyond": _ints(7), "endless": np.array(np.inf, np.float32)}
    constants |= {"less": _ints(0, 0, 0, -1, 0, 0, 0, 0), "both": _ints(0, 0, 1, 1, 0, 0, 1, 1)}
    constants |= {"one": _ints(1), "two": _ints(2), "many": _ints(0), "pads": _ints(0, 0, 0, 1, 0, 0, 0, 1)}
    nodes = [("Unsqueeze", ["x", "one"], ["u"], {}), ("Unsqueeze", ["u", "one"], ["v"], {}), node]
    model = graph(nodes, ["y"], constants)
    if said is None:
        program_of(model, 100, 50)
        return
    with pytest.raises(UnsupportedError, match=f"^{node[0]} y: .*{said}"):
        program_of(model, 100, 50)


def test_a_length_that_leaves_nothing_is_refused_before(graph: Build) -> None:
    model = graph([*IMAGE, ("Relu", ["image"], ["y"], {})], ["y"], SPREAD)
    program_of(model, 100, 3)
    with pytest.raises(UnsupportedError, match="nothing is left of y at the shortest length"):
        program_of(model, 100, 2)


def test_names_of_a_graph_become_names_of_c(compiled: Any, graph: Build) -> None:
    nodes = [
        ("Relu", ["x"], ["int"], {}),
        ("Sigmoid", ["int"], ["a*/ system(1); /*"], {}),
        ("Exp", ["a*/ system(1); /*"], ["memory"], {}),
        ("ReduceSum", ["memory", "one"], ["*/ return -1; /*"], {}),
        ("ReduceMax", ["*/ return -1; /*"], ["y"], {"axes": [1]}),
    ]
    _agrees(compiled, graph(nodes, ["y"], {"one": _ints(1)}), 10)


_WORDS = "int memory weights size bytes outputs ARRAYS NULL uint64_t sqrtf linux unix i x0 t_x"


def test_a_tensor_may_be_called_as_any_word_of_c(compiled: Any, graph: Build, cc: Any, tmp_path: Path) -> None:
    words = _WORDS.split()
    nodes = [("Sqrt", [before], [word], {}) for before, word in pairwise(["exp", *words])]
    _agrees(compiled, graph([("Exp", ["x"], ["exp"], {}), *nodes], words, {}), 10)
    # As the folder is built: with the words that a compiler adds to the standard's.
    cc(tmp_path / "model.o", "-std=gnu99", "-c", tmp_path / "model.c")


@pytest.mark.parametrize("given", ["x) { return 0; } int f(float y", "x y", "1", "x\n"])
def test_what_stands_in_the_source_as_it_is_has_a_name_of_c(graph: Build, given: str) -> None:
    with pytest.raises(UnsupportedError, match="which is none in C"):
        program_of(graph([("Relu", ["x"], [given], {})], [given], {}), 100, 50)
