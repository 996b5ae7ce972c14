"""`convert check`: a made folder passes, and any change of it is told."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

Convert = Callable[..., Any]


def test_a_made_folder_passes(convert: Convert, made_pann: Any, tmp_path: Path) -> None:
    said = convert("check", made_pann.path, "--junit", tmp_path / "junit.xml", "--json")
    assert (said.exit_code, said.stderr) == (0, "")
    result = json.loads(said.stdout)
    assert result["folder"] == str(made_pann.path)
    assert result["verdict"] == "passed"
    kinds = {check["kind"] for check in result["checks"]}
    assert kinds >= {"checksum", "file", "names", "dtype", "axes", "metadata", "shape", "values"}
    (suite,) = ElementTree.fromstring((tmp_path / "junit.xml").read_bytes())
    assert suite.tag == "testsuite"
    assert int(suite.get("tests", "0")) == len(suite) == len(result["checks"])
    assert suite.get("failures") == "0"
    assert suite.get("skipped") == ("0" if sys.platform == "darwin" else "1")
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"]


def test_it_needs_nothing_but_the_folder(convert: Convert, folder: Path) -> None:
    said = convert("check", folder)
    assert said.exit_code == 0
    assert all(line.startswith("warning: model.mlpackage: ") for line in said.stderr.splitlines())
    assert said.stdout.splitlines()[-1] == str(folder)
    assert "PASSED" in said.stdout


@pytest.mark.parametrize(
    "name",
    [
        "model.onnx",
        "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
        "model.mlpackage/Manifest.json",
        "labels.json",
        "README.md",
        "reference.json",
        "reference/silence.wav",
    ],
)
def test_a_flipped_byte_is_found(convert: Convert, folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    said = convert("check", folder, "--json")
    assert (said.exit_code, said.stderr) == (1, "")
    checks = json.loads(said.stdout)["checks"]
    (failed,) = (check for check in checks if check["status"] == "failed")
    assert (failed["kind"], failed["case"]) == ("checksum", name)
    assert "its size or SHA-256 differs" in failed["message"]
    # What is not what was made is not loaded.
    assert {check["kind"] for check in checks} == {"checksum"}


def test_every_fault_is_told_on_one_run(convert: Convert, folder: Path, tmp_path: Path) -> None:
    (folder / "reference" / "rich.wav").unlink()
    (folder / "model.mlpackage" / "notes.txt").write_text("mine")
    with (folder / "labels.json").open("a") as file:
        file.write(" ")
    said = convert("check", folder, "--json", "--junit", tmp_path / "junit.xml")
    assert said.exit_code == 1
    failed = {
        check["case"]: check["message"] for check in json.loads(said.stdout)["checks"] if check["status"] == "failed"
    }
    assert failed == {
        "labels.json": "labels.json is not the file that was made: its size or SHA-256 differs; make the folder again",
        "model.mlpackage/notes.txt": "model.mlpackage/notes.txt is not in manifest.json; remove it",
        "reference/rich.wav": "reference/rich.wav is missing; make the folder again",
    }
    (suite,) = ElementTree.fromstring((tmp_path / "junit.xml").read_bytes())
    assert suite.get("failures") == "3"
    assert sum(case.find("failure") is not None for case in suite) == 3


def test_a_missing_artifact_is_found(convert: Convert, folder: Path) -> None:
    (folder / "model.onnx").unlink()
    assert convert("check", folder).exit_code == 1


def test_a_folder_whose_artifacts_no_runtime_can_run_is_not_verified(
    convert: Convert, made_pann: Any, here: Callable[..., None]
) -> None:
    here()
    said = convert("check", made_pann.path, "--json")
    assert said.exit_code == 3
    result = json.loads(said.stdout)
    assert result["verdict"] == "not verified"
    assert result["unverified"] == ["model.onnx", "model.mlpackage"]


def test_one_runtime_of_each_kind_is_enough(convert: Convert, made_pann: Any, here: Callable[..., None]) -> None:
    here("onnxruntime", "executor")
    said = convert("check", made_pann.path)
    assert said.exit_code == 0
    assert "NOT VERIFIED" in said.stdout


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "top level"),
        (b"{", "top level"),
        (b"\xff\xfe", "top level"),
        (b"[]", "top level"),
        (b'{"schema": "soundport.manifest/1"}', "schema"),
    ],
    ids=["empty", "truncated", "binary", "list", "other version"],
)
def test_a_damaged_manifest_is_bad_input(convert: Convert, folder: Path, content: bytes, part: str) -> None:
    (folder / "manifest.json").write_bytes(content)
    said = convert("check", folder)
    assert said.is_one_clear_error(part), said
    assert "make the folder again" in said.stderr


@pytest.mark.parametrize("key", ["files", "artifacts", "outputs", "input", "checkpoint_sha256"])
def test_a_manifest_without_a_key_is_bad_input(convert: Convert, folder: Path, key: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del manifest[key]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert convert("check", folder).is_one_clear_error(f"manifest.json: {key}: ")


def test_a_manifest_that_names_no_artifact_is_bad_input(convert: Convert, folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["artifacts"] = {}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert convert("check", folder).is_one_clear_error("lists no artifact")


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("format", "tflite", "the format 'tflite' is unknown"),
        ("settings", {}, "which are not onnx's"),
        ("settings", {"opset": 17, "more": 1}, "which are not onnx's"),
        ("settings", {"opset": 21}, "the setting opset cannot be 21"),
        ("settings", {"opset": "17"}, "the setting opset cannot be '17'"),
        ("precision", "bf16", "precision"),
    ],
)
def test_an_artifact_that_no_target_makes_is_bad_input(
    convert: Convert, folder: Path, key: str, value: Any, part: str
) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["artifacts"]["model.onnx"][key] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert convert("check", folder).is_one_clear_error(part)


def test_a_manifest_with_other_facts_fails(convert: Convert, folder: Path) -> None:
    """Names, axes and precision are those of the manifest: the artifacts are held to it, not to themselves."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["artifacts"]["model.onnx"]["settings"]["opset"] = 13
    manifest["outputs"][0]["axes"] = ["batch", 500]
    manifest["outputs"][1]["name"] = "embeddings"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    said = convert("check", folder, "--json")
    assert said.exit_code == 1
    failed = {(c["artifact"], c["kind"]) for c in json.loads(said.stdout)["checks"] if c["status"] == "failed"}
    assert failed >= {
        ("model.onnx", "file"),
        ("model.onnx", "names"),
        ("model.onnx", "axes"),
        ("model.mlpackage", "names"),
    }


def test_what_is_no_made_folder(convert: Convert, made_pann: Any, tmp_path: Path) -> None:
    assert convert("check", tmp_path).is_one_clear_error("has no manifest.json; `convert recipe` makes such folders")
    assert convert("check", tmp_path / "nowhere").is_one_clear_error("nowhere: there is no such folder")
    assert convert("check", made_pann.onnx).is_one_clear_error("is no folder")


def test_results_that_cannot_be_written(
    convert: Convert, made_pann: Any, tmp_path: Path, here: Callable[..., None]
) -> None:
    here()
    said = convert("check", made_pann.path, "--junit", tmp_path / "nowhere" / "junit.xml")
    assert said.is_one_clear_error("nowhere; make it, or choose another")
