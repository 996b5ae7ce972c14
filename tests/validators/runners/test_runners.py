"""Every runtime has the same face, tells what it runs, and turns its own refusals into one kind of error."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from convert.targets import TARGETS
from recipes.base.sound import rich
from validators.runners.pytorch import answers
from validators.runners.runner import Port, Runner, RunnerError, run_batch, shortened

OUTPUTS = ["clipwise", "embedding", "framewise", "segment_clipwise", "melspec"]
ONNX_RUNTIMES = ["onnxruntime", "tract"]
EXECUTORS = ["executor", "executor-float32"]

Open = Callable[..., Runner]


def _runtime(name: str) -> Any:
    return next(runtime for target in TARGETS for runtime in target.runtimes if runtime.name == name)


@pytest.fixture(scope="session")
def opened(made_pann: Any) -> Callable[[str], Runner]:
    """`opened(runtime)`: the made artifact in that runtime."""
    kept: dict[str, Runner] = {}

    def open_(name: str) -> Runner:
        artifact = made_pann.onnx if name in ONNX_RUNTIMES else made_pann.mlpackage
        return kept.setdefault(name, kept.get(name) or _runtime(name).open(artifact))

    return open_


@pytest.mark.parametrize("name", ONNX_RUNTIMES + EXECUTORS)
def test_every_runtime_has_the_same_face(opened: Open, name: str) -> None:
    runner = opened(name)
    waveform = rich(9921, 32000)[None]
    results = runner.run({"waveform": waveform})
    assert runner.runtime == name
    assert [port.name for port in runner.inputs] == ["waveform"]
    assert [port.name for port in runner.outputs] == list(results) == OUTPUTS
    assert {port.dtype for port in (*runner.inputs, *runner.outputs)} == {"float32"}
    assert {value.dtype for value in results.values()} == {np.dtype(np.float32)}
    assert {name: value.shape for name, value in results.items()} == {
        "clipwise": (1, 527),
        "embedding": (1, 1024),
        "framewise": (1, 32, 527),
        "segment_clipwise": (1, 527),
        "melspec": (1, 32, 64),
    }
    assert runner.metadata["model_type"] == "pann"
    assert runner.metadata["sample_rate"] == "32000"


def test_a_runner_is_called_what_its_runtime_is_whatever_it_calls_itself(made_pann: Any) -> None:
    another = replace(_runtime("onnxruntime"), name="another")
    runner = another.open(made_pann.onnx)
    assert runner.runtime == "another"


@pytest.mark.parametrize("name", ONNX_RUNTIMES)
def test_onnx_axes_have_their_names(opened: Open, name: str) -> None:
    runner = opened(name)
    assert runner.inputs[0].axes == ("batch", "samples")
    assert {port.name: port.axes for port in runner.outputs}["framewise"] == ("batch", "frames", 527)


@pytest.mark.parametrize("name", EXECUTORS)
def test_core_ml_takes_one_clip_of_any_length(opened: Open, name: str) -> None:
    assert opened(name).inputs[0].axes == (1, None)


@pytest.mark.parametrize(
    ("name", "inputs", "said"),
    [
        ("onnxruntime", {"sound": (1, 9920)}, "waveform"),
        ("tract", {"sound": (1, 9920)}, "waveform"),
        ("executor", {"sound": (1, 9920)}, "waveform"),
        ("onnxruntime", {"waveform": (1, 9920), "more": (1,)}, "more"),
        ("tract", {"waveform": (1, 9920), "more": (1,)}, "more"),
        ("executor", {"waveform": (1, 9920), "more": (1,)}, "more"),
        ("onnxruntime", {"waveform": (9920,)}, "rank"),
        ("tract", {"waveform": (9920,)}, "tract"),
        ("executor", {"waveform": (9920,)}, "shape"),
        ("onnxruntime", {"waveform": (1, 100)}, "Pad"),
        ("executor", {"waveform": (1, 100)}, "9920"),
        ("executor", {"waveform": (2, 9920)}, "shape"),
    ],
)
def test_what_a_runtime_refuses_is_a_runner_error(
    opened: Open, name: str, inputs: dict[str, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(RunnerError, match=said) as caught:
        opened(name).run({key: np.zeros(shape, np.float32) for key, shape in inputs.items()})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ONNX_RUNTIMES)
@pytest.mark.parametrize("content", [b"\xff" * 100, b"no model", b""], ids=["noise", "text", "empty"])
def test_a_damaged_onnx_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(RunnerError, match="cannot load it"):
        _runtime(name).open(tmp_path / "bad.onnx")


@pytest.mark.parametrize("name", ONNX_RUNTIMES)
def test_a_truncated_onnx_file_is_refused(tmp_path: Path, made_pann: Any, name: str) -> None:
    (tmp_path / "half.onnx").write_bytes(made_pann.onnx.read_bytes()[:1_000_000])
    with pytest.raises(RunnerError, match="cannot load it"):
        _runtime(name).open(tmp_path / "half.onnx")


@pytest.mark.parametrize("name", EXECUTORS)
def test_a_folder_that_is_no_package_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.mlpackage").mkdir()
    with pytest.raises(RunnerError, match=r"bad\.mlpackage"):
        _runtime(name).open(tmp_path / "bad.mlpackage")


def test_an_operator_that_fails_is_told_once_and_not_on_stderr(opened: Open, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunnerError):
        opened("onnxruntime").run({"waveform": np.zeros((1, 100), np.float32)})
    assert capfd.readouterr() == ("", "")


def test_apples_runtime_is_refused_where_it_is_not(tmp_path: Path, made_pann: Any) -> None:
    if _runtime("coreml").absent() is None:
        pytest.skip("Apple's runtime is here")
    with pytest.raises(RunnerError, match="Core ML"):
        _runtime("coreml").open(made_pann.mlpackage).run({"waveform": np.zeros((1, 9920), np.float32)})


def test_tract_keeps_its_plans_by_shape(opened: Open) -> None:
    """Two rows of different sounds, one by one and together, in any order of lengths."""
    runner = opened("tract")
    rows = np.stack([rich(9920, 32000, seed) for seed in (1, 2)])
    together = runner.run({"waveform": rows})
    runner.run({"waveform": rich(12345, 32000)[None]})
    for row in range(2):
        alone = runner.run({"waveform": rows[row : row + 1]})
        np.testing.assert_allclose(alone["clipwise"][0], together["clipwise"][row], rtol=0, atol=1e-5)


def test_onnx_outputs_keep_the_order_of_the_graph(tmp_path: Path) -> None:
    """tract names outputs by their nodes; two outputs that are told apart only by their order must not be swapped."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["x"], ["b"]), onnx.helper.make_node("Abs", ["x"], ["a"])],
        "two",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2]) for name in ("a", "b")],
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_operatorsetid("", 17)], ir_version=8),
        tmp_path / "two.onnx",
    )
    x = np.array([[-1.0, 2.0]], np.float32)
    for name in ONNX_RUNTIMES:
        results = _runtime(name).open(tmp_path / "two.onnx").run({"x": x})
        np.testing.assert_array_equal(results["a"], np.abs(x))
        np.testing.assert_array_equal(results["b"], -x)


def test_pytorch_answers_by_name_without_gradients() -> None:
    class Double(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"twice": self.factor * waveform}

    results = answers(Double(), {"anything": np.ones((1, 3), np.float32)})
    assert list(results) == ["twice"]
    np.testing.assert_array_equal(results["twice"], np.full((1, 3), 2, np.float32))


def test_a_batch_goes_row_by_row_through_what_takes_one_clip() -> None:
    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        (x,) = inputs.values()
        assert len(x) == 1
        return {"twice": 2 * x, "sum": x.sum()}

    runner = Runner("one", (Port("x", (1, None), "float32"),), (), {}, run)
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    results = run_batch(runner, {"x": x})
    np.testing.assert_array_equal(results["twice"], 2 * x)
    np.testing.assert_array_equal(results["sum"], x.sum(axis=1))


@pytest.mark.parametrize(
    ("second", "part"),
    [
        ({"y": np.zeros((1, 3))}, "the output 'y' is float64[1, 2] for row 0 and float64[1, 3] for row 1"),
        ({"y": np.zeros((2, 2))}, "the output 'y' is float64[1, 2] for row 0 and float64[2, 2] for row 1"),
        ({"y": np.zeros((1, 2), int)}, "the output 'y' is float64[1, 2] for row 0 and int64[1, 2] for row 1"),
        ({}, "the output 'y' is float64[1, 2] for row 0 and absent for row 1"),
        ({"y": np.zeros((1, 2)), "z": np.zeros(1)}, "the output 'z' is absent for row 0 and float64[1] for row 1"),
    ],
)
def test_rows_that_differ_are_not_put_together(second: dict[str, np.ndarray], part: str) -> None:
    answered = iter([{"y": np.zeros((1, 2))}, second])
    runner = Runner("one", (Port("x", (1, None), "float32"),), (), {}, lambda _: next(answered))
    with pytest.raises(RunnerError) as caught:
        run_batch(runner, {"x": np.zeros((2, 2), np.float32)})
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("message", "kept"),
    [("first\nsecond", "first"), ("\n  only  \n", "only"), ("", "ValueError"), ("x" * 500, "x" * 300)],
)
def test_long_messages_of_runtimes_are_shortened(message: str, kept: str) -> None:
    assert shortened(ValueError(message)) == kept
