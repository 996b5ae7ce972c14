"""`convert inspect`, and what `convert check` says of the rules."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import coremltools as ct
import pytest
import typer
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program

from convert import reporting
from validators.coreml_rules import check_coreml_rules


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that Core ML refuses: a reflect pad outside the last two dimensions."""
    program = Program()
    with Function({"x": mb.placeholder(shape=(3, 4, 5))}, opset_version=ct.target.iOS16) as function:
        function.set_outputs([mb.pad(x=function.inputs["x"], pad=[1, 1, 0, 0, 0, 0], mode="reflect", name="y")])
        program.add_function("main", function)
    path = tmp_path_factory.mktemp("broken") / "model.mlpackage"
    model = ct.convert(
        program,
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    model.save(str(path))
    return path


@pytest.fixture(scope="module")
def shown(convert: Any, made_pann: Any) -> dict[str, Any]:
    said = convert("inspect", made_pann.mlpackage, "--json")
    assert (said.exit_code, said.stderr) == (0, "")
    return json.loads(said.stdout)


def test_inputs_and_outputs(shown):
    (function,) = shown["functions"]
    assert (function["name"], function["op_set"], shown["version"]) == ("main", "CoreML6 (iOS 16)", 7)
    assert function["inputs"] == [["waveform", "float32", "(1, 9920 to 1920000)"]]
    assert ["framewise", "float32", "(1, any, 527)"] in function["outputs"]
    assert ["clipwise", "float32", "(1, 527)"] in function["outputs"]


def test_op_counts_and_regions(shown):
    (function,) = shown["functions"]
    assert "const" not in function["ops"]
    assert function["ops"]["conv"] >= 2
    assert list(function["ops"].values()) == sorted(function["ops"].values(), reverse=True)
    regions = function["regions"]
    assert [region["precision"] for region in regions] == ["float32", "float16", "float32"]
    assert sum(region["ops"] for region in regions) <= sum(function["ops"].values())


def test_products_by_op_at_the_default_length(shown):
    (function,) = shown["functions"]
    assert function["macs_at"] == {"waveform": [1, 320000]}
    assert function["macs_unknown"] == []
    assert {"conv", "matmul"} <= function["macs"].keys()
    assert sum(function["macs"].values()) == function["macs_total"] > 0


def test_size_and_metadata(shown, made_pann):
    files = [path.stat().st_size for path in made_pann.mlpackage.rglob("*") if path.is_file()]
    assert shown["sizes"]["total"] == sum(files)
    assert shown["sizes"]["weights"] + shown["sizes"]["program"] < shown["sizes"]["total"]
    assert shown["metadata"]["precision"] == "mixed"
    assert shown["metadata"]["model_type"] == "pann"


def test_rules_and_no_hazards_unasked(shown):
    assert {breach["severity"] for breach in shown["rules"]} == {"warning"}
    assert shown["hazards"] is None


def test_hazards_of_the_reference_cases(convert, made_pann, shown):
    said = convert("inspect", made_pann.mlpackage, "--hazards", "--json")
    found = json.loads(said.stdout)
    assert said.exit_code == 0
    assert {**found, "hazards": None} == shown
    assert found["hazards"]
    assert not [hazard for hazard in found["hazards"] if hazard["kind"] == "overflow"]


def test_for_people(convert, made_pann):
    said = convert("inspect", made_pann.mlpackage)
    assert said.exit_code == 0
    for part in (
        "waveform",
        "(1, 9920 to 1920000)",
        "float16",
        "products at waveform (1, 320000)",
        "warning gpu-dimension",
        "What to do",
        "characters)",
    ):
        assert part in said.stdout


def test_a_broken_rule_is_exit_code_1(convert, broken):
    said = convert("inspect", broken)
    assert (said.exit_code, said.stderr) == (1, "")
    assert "error pad-dimensions" in said.stdout
    assert "pad y reflect pads dimension -3" in said.stdout


def test_no_reference_beside_it(convert, broken):
    assert convert("inspect", broken, "--hazards").is_one_clear_error("holds no reference.json")


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_what_is_no_package(convert, tmp_path, content):
    path = tmp_path / "model.mlpackage"
    if content is not None:
        path.write_bytes(content)
    assert convert("inspect", path).is_one_clear_error("model.mlpackage")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "is a folder of `convert recipe`; name the package in it: {folder}/model.mlpackage"),
        ("model.onnx", "model.onnx: is of the format ONNX; inspect shows Core ML packages"),
        ("labels.json", "labels.json: is no package; inspect shows"),
        ("other.mlpackage", "other.mlpackage: there is no such file"),
    ],
)
def test_what_is_no_package_by_its_name(convert, made_pann, name, told):
    assert convert("inspect", made_pann.path / name).is_one_clear_error(told.format(folder=made_pann.path))


def test_a_package_without_its_program(convert, made_pann, tmp_path):
    package = tmp_path / "model.mlpackage"
    shutil.copytree(made_pann.mlpackage, package)
    (package / "Data" / "com.apple.CoreML" / "model.mlmodel").unlink()
    assert convert("inspect", package).is_one_clear_error("model.mlpackage")


def test_check_fails_on_a_broken_rule(broken):
    check = check_coreml_rules(broken, "fp32")
    assert (check.kind, check.status) == ("rules", "failed")
    assert "pad-dimensions" in check.message


def test_check_fails_on_what_cannot_be_read(tmp_path):
    check = check_coreml_rules(tmp_path / "none.mlpackage", "fp32")
    assert (check.status, "no such file" in check.message) == ("failed", True)


def test_check_passes_with_warnings_in_its_message(made_pann):
    check = check_coreml_rules(made_pann.mlpackage, "mixed")
    assert (check.artifact, check.status) == ("model.mlpackage", "passed")
    assert "neural-engine-flexible (waveform)" in check.message


def test_a_recipe_holds_its_package_to_the_rules(made_pann):
    checks = json.loads(made_pann.stdout)["checks"]
    assert [check["status"] for check in checks if check["kind"] == "rules"] == ["passed"]


def test_warnings_stand_below_the_table_and_leave_the_exit_code(made_pann, capsys):
    check = check_coreml_rules(made_pann.mlpackage, "mixed")
    verified = replace(check, kind="values", output="clipwise", message="")
    with pytest.raises(typer.Exit) as left:
        reporting.report([check, verified], as_json=False, verbose=False)
    assert left.value.exit_code == 0
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("warning: model.mlpackage: gpu-dimension (")
    assert line.endswith("`convert inspect` says why")
