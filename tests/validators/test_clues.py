"""What would explain that two ops differ, in words that people read at a glance."""

from collections.abc import Mapping

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from validators.clues import clues
from validators.traces import Op, Parameter, Trace
from validators.traces.onnx import trace_model

OURS = {"epsilon": 9.999999747378752e-06, "pads": [0, 0, 1, 1, 0, 0, 1, 1], "slope": [1 / 3, 0.5, 1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"epsilon": 0.001}, "its epsilon is 0.001 where the other model has 1e-05"),
        ({"epsilon": 1e-05}, "its epsilon is 1e-05 where the other model has 9.999999747378752e-06"),
        (
            {"pads": [0, 0, 1, 1, 0, 0, 1, 2]},
            "its pads is [0, 0, 1, 1, 0, 0, 1, 2] where the other model has [0, 0, 1, 1, 0, 0, 1, 1]",
        ),
        (
            {"slope": [2 / 3, 0.5, 1.0, 2.0, 3.0]},
            "its slope is [0.6667, 0.5, 1, 2, ...] (5) where the other model has [0.3333, 0.5, 1, 2, ...] (5)",
        ),
        (
            {"slope": [1 / 3, 0.5, 1.0, 2.0, 4.0]},
            "its slope is 4.0 at place 4 where the other model has 3.0 at place 4",
        ),
        ({"mode": "edge"}, "its mode is edge where the other model has none set"),
        ({"epsilon": None}, "its epsilon is not set where the other model has 1e-05"),
    ],
)
def test_a_parameter_that_differs_is_told_in_few_digits(theirs: Mapping[str, Parameter | None], told: str) -> None:
    held = {name: value for name, value in {**OURS, **theirs}.items() if value is not None}
    empty = Trace("model", "test", (), (), (), {})
    ours, other = (Op("op", "Op", (), (), parameters) for parameters in (OURS, held))
    assert list(clues(empty, empty, ours, other, 1e-4)) == [told]


def test_the_bias_of_a_convolution_is_not_called_as_a_model_is() -> None:
    """ONNX calls that input B, and so the second model is called."""

    def trace(bias: np.ndarray) -> Trace:
        held = {"w": np.ones((5, 1, 1), np.float32), "b": bias}
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
        weights = [numpy_helper.from_array(value, name) for name, value in held.items()]
        graph = helper.make_graph([helper.make_node("Conv", ["x", "w", "b"], ["y"])], "graph", [x], [y], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return trace_model(model, {"x": np.ones((1, 1, 4), np.float32)}, "model")

    right, wrong = (trace(np.arange(5, dtype=np.float32) / 3 + offset) for offset in (0, 1))
    told = clues(right, wrong, right.ops[0], wrong.ops[0], 1e-4)
    assert next(told) == (
        "its bias (input B) is [1, 1.333, 1.667, 2, ...] (5) where the other model has [0, 0.3333, 0.6667, 1, ...] (5)"
    )
    assert wrong.ops[0].parameters["bias (input B)"] == (np.arange(5, dtype=np.float32) / 3 + 1).tolist()
