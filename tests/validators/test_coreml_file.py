"""The made package passes; each property that is broken is told by the check that is there for it."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import coremltools as ct
import pytest
from coremltools.proto import FeatureTypes_pb2

from validators.coreml_file import check_coreml_file
from validators.results import Check

Doctor = Callable[[Any], object]
FLOAT16 = FeatureTypes_pb2.ArrayFeatureType.FLOAT16


@pytest.fixture(scope="module")
def check(made_pann: Any, pann: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Check]]:
    """`check(doctor, precision, size)`: the checks of the made package by kind, after `doctor` changed its spec."""
    package = copytree(made_pann.mlpackage, tmp_path_factory.mktemp("doctored") / "model.mlpackage")
    path = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    made = ct.utils.load_spec(str(made_pann.mlpackage)).SerializeToString()

    def run(doctor: Doctor = lambda _: None, precision: Any = "mixed", size: int | None = None) -> dict[str, Check]:
        path.write_bytes(made)
        spec = ct.utils.load_spec(str(package))
        doctor(spec)
        path.write_bytes(spec.SerializeToString())
        checks = check_coreml_file(package, pann.input, pann.outputs, precision, size)
        return {check.kind: check for check in checks}

    return run


def test_the_made_package_passes(check: Any) -> None:
    checks = check()
    assert list(checks) == ["file", "names", "dtype", "axes", "metadata"]
    assert {(one.artifact, one.precision, one.status, one.message) for one in checks.values()} == {
        ("model.mlpackage", "mixed", "passed", "")
    }


def _array(feature: Any) -> Any:
    return feature.type.multiArrayType


def _upper(spec: Any) -> Any:
    return _array(spec.description.input[0]).shapeRange.sizeRanges[1]


@pytest.mark.parametrize(
    ("kind", "doctor", "said"),
    [
        ("file", lambda s: setattr(s, "specificationVersion", 8), "specification version is 8, expected 7"),
        ("file", lambda s: s.neuralNetwork.layers.add(), "is a neuralNetwork"),
        ("names", lambda s: setattr(s.description.input[0], "name", "audio"), "inputs are ['audio']"),
        ("names", lambda s: setattr(s.description.output[0], "name", "var_495"), "outputs are ['var_495', "),
        ("names", lambda s: s.description.output.pop(), "expected ['clipwise', 'embedding', "),
        ("names", lambda s: s.description.output.reverse(), "outputs are ['melspec', "),
        ("names", lambda s: s.description.input.pop(), "inputs are []"),
        ("names", lambda s: s.description.output[1].ClearField("shortDescription"), "embedding has no description"),
        ("dtype", lambda s: setattr(_array(s.description.input[0]), "dataType", FLOAT16), "waveform is not float32"),
        ("dtype", lambda s: setattr(_array(s.description.output[0]), "dataType", FLOAT16), "clipwise is not float32"),
        ("axes", lambda s: setattr(_upper(s), "upperBound", -1), "waveform takes [(1, 1), (9920, -1)]"),
        ("axes", lambda s: setattr(_upper(s), "lowerBound", 1), "expected [(1, 1), (9920, 1920000)]"),
        ("axes", lambda s: _array(s.description.input[0]).ClearField("shapeRange"), "(320000, 320000)"),
        (
            "axes",
            lambda s: setattr(_array(s.description.input[0]).shapeRange.sizeRanges[0], "upperBound", 8),
            "waveform takes [(1, 8), ",
        ),
        ("axes", lambda s: _array(s.description.output[0]).shape.__setitem__(1, 500), "clipwise has shape [1, 500]"),
        ("axes", lambda s: _array(s.description.output[0]).shape.append(1), "clipwise has shape [1, 527, 1]"),
        ("metadata", lambda s: s.description.metadata.ClearField("author"), "author is empty"),
        ("metadata", lambda s: s.description.metadata.ClearField("license"), "license is empty"),
        ("metadata", lambda s: s.description.metadata.ClearField("shortDescription"), "shortDescription is empty"),
        ("metadata", lambda s: s.description.metadata.userDefined.pop("org.soundport.labels"), "labels"),
        ("metadata", lambda s: s.description.metadata.userDefined.clear(), "precision is None, expected 'mixed'"),
        (
            "metadata",
            lambda s: s.description.metadata.userDefined.update({"org.soundport.labels": "Speech, Music"}),
            "metadata is not what",
        ),
    ],
)
def test_what_is_broken_is_told(check: Any, kind: str, doctor: Doctor, said: str) -> None:
    checks = check(doctor)
    assert checks[kind].status == "failed"
    assert said in checks[kind].message


def test_another_precision_than_was_asked_for_is_told(check: Any) -> None:
    assert "precision is 'mixed', expected 'fp32'" in check(precision="fp32")["metadata"].message


def test_a_free_length_where_a_fixed_one_was_asked_for_is_told(check: Any) -> None:
    assert "expected [(1, 1), (32000, 32000)]" in check(size=32000)["axes"].message


def test_what_is_no_package_fails_without_a_traceback(tmp_path: Path, made_pann: Any, pann: Any) -> None:
    empty, file, damaged = (tmp_path / f"{name}.mlpackage" for name in ("empty", "file", "damaged"))
    empty.mkdir()
    file.write_bytes(b"no package")
    model = copytree(made_pann.mlpackage, damaged) / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model.write_bytes(model.read_bytes()[:5000])
    for path in (empty, file, damaged):
        (check,) = check_coreml_file(path, pann.input, pann.outputs, "mixed", None)
        assert (check.kind, check.status) == ("file", "failed")
        assert "is no readable package" in check.message
