"""`--output`: files with some of a model's outputs, nothing else computed, and every command that works on them."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import onnx
import pytest

from convert.folder import listing
from convert.targets import choose_runtime

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tag_sound.py"
SYNTHETIC = ("--weights", "synthetic")

Convert = Callable[..., Any]


def _manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def _outputs(path: Path) -> list[str]:
    return [value.name for value in onnx.load(str(path)).graph.output]


@pytest.fixture(scope="module")
def clipwise(convert: Convert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PANN's answer for whole clips alone, in every format."""
    folder = tmp_path_factory.mktemp("output") / "clipwise"
    words = ["--to", "coreml", "--to", "npu", "--seconds", "0.5", "--output", "clipwise", "--output-name", "scores"]
    said = convert("recipe", "pann", *SYNTHETIC, *words, "-o", folder)
    assert said.exit_code == 0, said.stdout + said.stderr
    return folder


@pytest.fixture(scope="module")
def two(convert: Convert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of three outputs, asked for the other way round, of files that are fed sound and that are fed its melspec."""
    folder = tmp_path_factory.mktemp("output") / "two"
    words = ["--input", "melspec", "--input", "waveform", "--output", "embedding", "--output", "logits"]
    said = convert("recipe", "mn01_as", *SYNTHETIC, *words, "--atol", "logits:0.001", "-o", folder)
    assert said.exit_code == 0, said.stdout + said.stderr
    return folder


@pytest.fixture(scope="module")
def melspec(convert: Convert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The front end alone."""
    folder = tmp_path_factory.mktemp("output") / "melspec"
    said = convert("recipe", "mn01_as", *SYNTHETIC, "--output", "melspec", "--to", "coreml", "-o", folder)
    assert said.exit_code == 0, said.stdout + said.stderr
    return folder


def test_every_file_gives_that_alone(clipwise: Path) -> None:
    manifest = _manifest(clipwise)
    assert list(manifest["artifacts"]) == ["model.onnx", "model.mlpackage", "npu/model.npu.onnx"]
    for name in manifest["artifacts"]:
        runner = choose_runtime(clipwise / name).open(clipwise / name)
        assert list(runner.run({"waveform": np.zeros((1, 16000), np.float32)})) == ["scores"]
    assert [output["name"] for output in manifest["outputs"]] == ["scores"]
    assert (manifest["scores"], manifest["front_end"]) == ("scores", "melspec")
    assert " --output clipwise --output-name scores" in manifest["command"]
    reference = json.loads((clipwise / "reference.json").read_text(encoding="utf-8"))
    assert [port["name"] for port in reference["outputs"]] == ["scores"]
    assert all(list(case["outputs"]) == ["scores"] for case in reference["cases"])
    assert "inner" not in reference
    card = (clipwise / "README.md").read_text(encoding="utf-8")
    assert "It gives `scores`. It takes one clip at a time and computes its front end in float32" in card
    assert "framewise" not in card
    values = {check["output"] for check in manifest["results"]["checks"] if check["kind"] == "values"}
    assert values == {"scores", ""}


def test_nothing_else_is_computed(clipwise: Path, made_pann: Any) -> None:
    alone, whole = (onnx.load(str(folder / "model.onnx")) for folder in (clipwise, made_pann.path))
    kinds = [[node.op_type for node in model.graph.node] for model in (alone, whole)]
    # The head of the segments, which `framewise` and `segment_clipwise` are made of, and what spreads it over frames.
    assert set(kinds[0]) - {"Gemm"} < set(kinds[1])
    assert {"MaxPool", "Gather"} & set(kinds[0]) == set()
    assert [kind.count("Sigmoid") for kind in kinds] == [1, 2]
    assert len(kinds[0]) < len(kinds[1]) - 10
    pack = onnx.load(str(clipwise / "npu" / "model.npu.onnx"))
    assert [node.op_type for node in pack.graph.node].count("Sigmoid") == 1
    shapes = {tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in _inferred(pack)}
    assert (1, 527) in shapes
    assert not any(shape[1:] == (51, 527) for shape in shapes)


def _inferred(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return [*graph.value_info, *graph.output]


def test_the_answers_are_those_of_the_whole_file(clipwise: Path, made_pann: Any) -> None:
    sound = {"waveform": np.random.default_rng(0).standard_normal((1, 16000)).astype(np.float32) / 10}
    alone, whole = (folder / "model.mlpackage" for folder in (clipwise, made_pann.path))
    found, expected = (choose_runtime(path, "executor").open(path).run(sound) for path in (alone, whole))
    # Float16 at the same places.
    np.testing.assert_allclose(found["scores"], expected["clipwise"], atol=1e-4)


def test_a_folder_of_some_outputs_passes_its_check(convert: Convert, clipwise: Path, two: Path, melspec: Path) -> None:
    for folder in (clipwise, two, melspec):
        said = convert("check", folder)
        assert said.exit_code == 0, said.stdout


def test_the_order_is_the_variants_and_what_a_file_is_fed_is_no_output(two: Path) -> None:
    for name in ("model.onnx", "model.melspec.onnx"):
        assert _outputs(two / name) == ["logits", "embedding"]
    manifest = _manifest(two)
    assert [output["name"] for output in manifest["outputs"]] == ["logits", "embedding"]
    assert manifest["outputs"][0]["tolerances"]["fp32"]["atol"] == 0.001
    assert manifest["command"].endswith(
        "--input melspec --input waveform --output embedding --output logits --atol logits:0.001"
    )
    seen = {(c["artifact"], c["output"]) for c in manifest["results"]["checks"] if c["kind"] == "values"}
    assert {pair for pair in seen if pair[0]} == {
        (name, output) for name in ("model.onnx", "model.melspec.onnx") for output in ("logits", "embedding")
    }
    assert {entry["input"] for entry in manifest["lowering"]} == {"waveform", "melspec"}
    reference = json.loads((two / "reference.json").read_text(encoding="utf-8"))
    assert [port["name"] for port in reference["outputs"]] == ["logits", "embedding"]
    assert reference["inner"] == [{"name": "melspec", "axes": ["batch", 1, 128, "time"]}]


def test_the_front_end_alone_has_no_network(melspec: Path, two: Path) -> None:
    assert (melspec / "model.onnx").stat().st_size < (two / "model.onnx").stat().st_size
    model = onnx.load(str(melspec / "model.onnx"))
    assert not {"HardSwish", "GlobalAveragePool", "Gemm", "Relu"} & {node.op_type for node in model.graph.node}
    manifest = _manifest(melspec)
    assert manifest["scores"] is None
    facts = {item.key: item.value for item in model.metadata_props}
    assert "scores" not in facts
    assert len(json.loads(facts["labels"])) == 527


def test_a_card_of_a_file_without_scores_runs(melspec: Path) -> None:
    card = (melspec / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"in Python, ONNX Runtime\n\n```python\n(.*?)```", card, re.DOTALL)
    assert "labels" not in code
    subprocess.run(
        [sys.executable, "-c", f"{code}\nassert outputs['melspec'].shape == (1, 128, 1000)"], check=True, cwd=melspec
    )
    assert '["waveform": input]' in card
    assert 'featureValue(for: "melspec")' in card


def test_a_tensor_may_be_called_as_a_keyword_or_a_function(convert: Convert, tmp_path: Path) -> None:
    """`file` is also what NumPy calls an argument of its own, where it takes arrays by name."""
    made = tmp_path / "made"
    words = ["--to", "npu", "--seconds", "0.5", "--input-name", "class", "--output-name", "file"]
    said = convert("recipe", "mel_kaldi", *words, "-o", made)
    assert said.exit_code == 0, said.stdout + said.stderr
    said = convert("run", made / "model.onnx", made / "reference" / "rich.wav", "-o", tmp_path / "out.npz")
    assert said.exit_code == 0, said.stderr
    assert list(np.load(tmp_path / "out.npz")) == ["file"]
    card = (made / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"ONNX Runtime\n\n```python\n(.*?)```", card, re.DOTALL)
    subprocess.run([sys.executable, "-c", f"{code}\nassert list(outputs) == ['file']"], check=True, cwd=made)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_what_has_no_scores_is_run_and_not_ranked(
    convert: Convert, melspec: Path, tmp_path: Path, words: list[str]
) -> None:
    sound = melspec / "reference" / "rich.wav"
    for name in ("model.onnx", "model.mlpackage"):
        said = convert("run", melspec / name, sound, "-o", tmp_path / "out.npz", *words)
        assert said.exit_code == 0
        assert f"{name} gives melspec and no class scores, so that no classes are ranked" in said.stderr
        if words:
            result = json.loads(said.stdout)
            assert (result["outputs"], result["top"]) == ({"melspec": [1, 128, 100]}, [])
        else:
            assert said.stdout == "melspec  float32[1, 128, 100]\n"
        assert convert("compare", melspec, tmp_path / "out.npz", "--case", "rich").exit_code == 0


def test_a_window_over_sound_has_no_scores_either(convert: Convert, clipwise: Path, tmp_path: Path) -> None:
    """The same file with and without what says which output ranks."""
    model = onnx.load(str(clipwise / "model.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 10000
    with_scores = convert("run", _saved(model, tmp_path / "a.onnx"), clipwise / "reference" / "rich.wav", "--hop", 0.1)
    assert len(with_scores.stdout.splitlines()) == 2
    kept = [item for item in model.metadata_props if item.key not in ("scores", "scores_kind")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    said = convert("run", _saved(model, tmp_path / "b.onnx"), clipwise / "reference" / "rich.wav", "--hop", 0.1)
    assert (said.exit_code, said.stdout) == (0, "scores  float32[2, 527]\n")
    assert "b.onnx gives scores and no class scores" in said.stderr


def _saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, str(path))
    return path


def test_the_example_says_what_is_missing(melspec: Path, two: Path) -> None:
    words = [sys.executable, EXAMPLE, melspec / "model.onnx", melspec / "reference" / "rich.wav"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "gives melspec and no class scores to tag with" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    words = [sys.executable, EXAMPLE, two / "model.onnx", two / "reference" / "rich.wav"]
    assert len(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()) == 5


def test_answers_of_a_device_are_compared_output_by_output(convert: Convert, two: Path, tmp_path: Path) -> None:
    sound = two / "reference" / "rich.wav"
    assert convert("run", two / "model.onnx", sound, "-o", tmp_path / "out.npz").exit_code == 0
    words = ["compare", two, tmp_path / "out.npz", "--case", "rich"]
    assert convert(*words).exit_code == 0
    with np.load(tmp_path / "out.npz") as file:
        np.savez(tmp_path / "out.npz", logits=file["logits"])
    assert convert(*words).exit_code == 1


def test_a_package_is_inspected_on_the_folders_cases(convert: Convert, melspec: Path) -> None:
    said = convert("inspect", melspec / "model.mlpackage", "--hazards", "--json")
    assert said.exit_code == 0
    (function,) = json.loads(said.stdout)["functions"]
    assert [name for name, *_ in function["outputs"]] == ["melspec"]


def _drop(model: onnx.ModelProto) -> None:
    del model.graph.output[1:]


def _reverse(model: onnx.ModelProto) -> None:
    outputs = list(model.graph.output)[::-1]
    del model.graph.output[:]
    model.graph.output.extend(outputs)


def _exchange(model: onnx.ModelProto) -> None:
    """Each gives the other's values: names, axes and order say nothing of it."""
    swapped = {"logits": "embedding", "embedding": "logits"}
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [swapped.get(name, name) for name in names]


@pytest.mark.parametrize(
    ("damage", "kind"), [(_drop, "names"), (_reverse, "names"), (_exchange, "shape")], ids=["drop", "order", "values"]
)
def test_a_missing_or_swapped_output_fails_the_check(
    convert: Convert, two: Path, tmp_path: Path, damage: Callable[[onnx.ModelProto], None], kind: str
) -> None:
    """Also where the checksums were made to fit."""
    folder = copytree(two, tmp_path / "two")
    model = onnx.load(str(folder / "model.onnx"))
    damage(model)
    onnx.save(model, str(folder / "model.onnx"))
    manifest = _manifest(folder) | {"files": {name: asdict(entry) for name, entry in listing(folder).items()}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    said = convert("check", folder, "--json")
    assert said.exit_code == 1
    failed = {(c["artifact"], c["kind"]) for c in json.loads(said.stdout)["checks"] if c["status"] == "failed"}
    assert ("model.onnx", kind) in failed
    assert {artifact for artifact, _ in failed} == {"model.onnx"}


def test_an_output_that_the_manifest_alone_has_fails_the_check(convert: Convert, two: Path, tmp_path: Path) -> None:
    folder = copytree(two, tmp_path / "two")
    manifest = _manifest(folder)
    manifest["outputs"].append(manifest["outputs"][1] | {"name": "features"})
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert convert("check", folder).exit_code == 1


def test_facts_of_a_file_say_all_of_the_scores_or_nothing(convert: Convert, two: Path, tmp_path: Path) -> None:
    model = onnx.load(str(two / "model.onnx"))
    kept = [item for item in model.metadata_props if item.key != "scores_kind"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    said = convert("run", _saved(model, tmp_path / "a.onnx"), two / "reference" / "rich.wav")
    assert said.is_one_clear_error("its metadata is not what `convert recipe` writes")
