"""The made file passes; each property that is broken is told by the check that is there for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from validators.onnx_file import check_onnx_file
from validators.results import Check

Doctor = Callable[[onnx.ModelProto], object]


@pytest.fixture(scope="module")
def check(made_pann: Any, pann: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Check]]:
    """`check(doctor, opset)`: the checks of a copy of the made file, by kind, after `doctor` has changed it."""
    content = made_pann.onnx.read_bytes()
    path = tmp_path_factory.mktemp("doctored") / "model.onnx"

    def run(doctor: Doctor = lambda _: None, opset: int = 17) -> dict[str, Check]:
        model = onnx.load_from_string(content)
        doctor(model)
        onnx.save(model, str(path))
        return {check.kind: check for check in check_onnx_file(path, pann.input, pann.outputs, opset)}

    return run


def test_the_made_file_passes(check: Any) -> None:
    checks = check()
    assert list(checks) == ["file", "names", "dtype", "axes", "metadata"]
    assert {(one.artifact, one.precision, one.status, one.message) for one in checks.values()} == {
        ("model.onnx", "fp32", "passed", "")
    }


def _metadata(model: onnx.ModelProto, key: str) -> onnx.StringStringEntryProto:
    return next(item for item in model.metadata_props if item.key == key)


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    tensor.ClearField("raw_data")


@pytest.mark.parametrize(
    ("kind", "doctor", "said"),
    [
        ("file", lambda m: setattr(m.opset_import[0], "version", 18), "opset is {'': 18}, expected 17"),
        ("file", lambda m: m.opset_import.append(helper.make_operatorsetid("ai.onnx.ml", 3)), "ai.onnx.ml"),
        ("file", lambda m: setattr(m.graph.node[5], "op_type", "Nonsense"), "onnx.checker"),
        ("file", lambda m: m.graph.node[5].input.__setitem__(0, "nowhere"), "onnx.checker"),
        ("file", _external, "weights lie outside the file"),
        (
            "file",
            lambda m: m.graph.value_info.append(helper.make_tensor_value_info("pad", 1, ["b", 1, "s"])),
            "inner shapes",
        ),
        ("names", lambda m: setattr(m.graph.input[0], "name", "audio"), "inputs are ['audio'], expected ['waveform']"),
        ("names", lambda m: setattr(m.graph.output[0], "name", "scores"), "outputs are ['scores', "),
        ("names", lambda m: m.graph.output.pop(), "expected ['clipwise', 'embedding', "),
        ("names", lambda m: m.graph.output.reverse(), "outputs are ['melspec', "),
        (
            "names",
            lambda m: m.graph.input.append(helper.make_tensor_value_info("more", 1, [1])),
            "inputs are ['waveform', 'more']",
        ),
        (
            "dtype",
            lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", onnx.TensorProto.DOUBLE),
            "clipwise is not float32",
        ),
        (
            "dtype",
            lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", onnx.TensorProto.FLOAT16),
            "waveform is not float32",
        ),
        (
            "axes",
            lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 1),
            "waveform has axes (1, 'samples'), expected ('batch', 'samples')",
        ),
        (
            "axes",
            lambda m: setattr(m.graph.output[2].type.tensor_type.shape.dim[1], "dim_param", "s0"),
            "framewise has axes ('batch', 's0', 527)",
        ),
        ("axes", lambda m: m.graph.output[0].type.tensor_type.shape.dim.pop(), "clipwise has axes ('batch',)"),
        ("metadata", lambda m: m.metadata_props.append(m.metadata_props[0]), "the key model_type stands 2 times"),
        ("metadata", lambda m: m.metadata_props.remove(_metadata(m, "labels")), "labels"),
        ("metadata", lambda m: setattr(_metadata(m, "labels"), "value", "Speech, Music"), "metadata"),
        ("metadata", lambda m: setattr(_metadata(m, "weights"), "value", "stolen"), "stolen"),
        ("metadata", lambda m: setattr(_metadata(m, "sample_rate"), "value", "32 kHz"), "32 kHz"),
        ("metadata", lambda m: setattr(m.graph.node[0], "doc_string", "/home/me/model.py"), "exporter's notes"),
        ("metadata", lambda m: m.graph.node[9].metadata_props.add(key="pkg.torch.x", value="y"), "exporter's notes"),
    ],
)
def test_what_is_broken_is_told(check: Any, kind: str, doctor: Doctor, said: str) -> None:
    checks = check(doctor)
    assert checks[kind].status == "failed"
    assert said in checks[kind].message


@pytest.mark.parametrize("opset", [13, 18])
def test_another_opset_than_was_asked_for_is_told(check: Any, opset: int) -> None:
    assert f"expected {opset}" in check(opset=opset)["file"].message


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"no model"], ids=["empty", "noise", "text"])
def test_what_is_no_model_fails_without_a_traceback(tmp_path: Path, pann: Any, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    checks = check_onnx_file(tmp_path / "model.onnx", pann.input, pann.outputs, 17)
    assert checks[0].kind == "file"
    assert checks[0].status == "failed"


def test_half_a_model_fails_without_a_traceback(tmp_path: Path, made_pann: Any, pann: Any) -> None:
    (tmp_path / "model.onnx").write_bytes(made_pann.onnx.read_bytes()[:5_000_000])
    (check,) = check_onnx_file(tmp_path / "model.onnx", pann.input, pann.outputs, 17)
    assert (check.kind, check.status) == ("file", "failed")
    assert "is no ONNX model, or only a part of one" in check.message
