"""`convert recipe` from end to end: what the folder holds, and that it holds the same every time."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
CASES = {
    "rich": 1,
    "silence": 1,
    "full_scale_square": 1,
    "full_scale_tone": 1,
    "impulse": 1,
    "very_quiet_noise": 1,
    "batch_of_2": 2,
    "odd_length": 1,
    "shortest": 1,
}

Convert = Callable[..., Any]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def manifest(made_pann: Any) -> dict[str, Any]:
    return json.loads((made_pann.path / "manifest.json").read_text(encoding="utf-8"))


def test_everything_passes_and_stdout_is_one_json_object(made_pann: Any) -> None:
    assert (made_pann.exit_code, made_pann.stderr) == (0, "")
    result = json.loads(made_pann.stdout)
    assert result["exit_code"] == 0
    assert result["verdict"] == "passed"
    assert result["counts"]["failed"] == 0
    assert result["unverified"] == []
    assert Path(result["folder"]).name == "pann"
    values = {
        (c["artifact"], c["runtime"]) for c in result["checks"] if c["kind"] == "values" and c["status"] == "passed"
    }
    assert values >= {
        ("model.onnx", "onnxruntime"),
        ("model.onnx", "tract"),
        ("model.mlpackage", "executor"),
        ("model.mlpackage", "executor-float32"),
    }
    if sys.platform != "darwin":
        (unseen,) = (check for check in result["checks"] if check["status"] == "not verified")
        assert (unseen["artifact"], unseen["runtime"]) == ("model.mlpackage", "coreml")


def test_the_sweep_covers_batches_and_odd_lengths(made_pann: Any) -> None:
    checks = json.loads(made_pann.stdout)["checks"]
    for runtime in ("onnxruntime", "tract"):
        swept = {check["case"] for check in checks if check["runtime"] == runtime}
        assert swept >= {f"{batch} x {samples}" for batch in (1, 2, 3) for samples in (9920, 19841, 32000, 320000)}
        assert any(case.endswith(", simplified") for case in swept) == (runtime == "onnxruntime")


def test_the_folder_holds_what_it_should(made_pann: Any) -> None:
    sounds = {
        f"reference/{name}.wav" if rows == 1 else f"reference/{name}.{row + 1}.wav"
        for name, rows in CASES.items()
        for row in range(rows)
    }
    package = {"Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"}
    assert _files(made_pann.path).keys() == {
        "README.md",
        "labels.json",
        "manifest.json",
        "model.onnx",
        "reference.json",
        *sounds,
        *(f"model.mlpackage/{name}" for name in package),
    }
    assert [path.name for path in made_pann.path.parent.iterdir() if path.name.startswith(".")] == []


def test_the_manifest_has_every_checksum(made_pann: Any, manifest: dict[str, Any]) -> None:
    files = _files(made_pann.path)
    del files["manifest.json"]
    assert manifest["files"] == {
        name: {"size": len(content), "sha256": sha256(content).hexdigest()} for name, content in files.items()
    }


def test_the_manifest_says_how_it_was_made(manifest: dict[str, Any]) -> None:
    assert manifest["schema"] == "soundport.manifest/3"
    assert manifest["command"] == (
        "convert recipe pann --to onnx --to coreml --weights synthetic --opset 17 --precision mixed"
    )
    assert manifest["weights"] == "synthetic"
    assert manifest["versions"].keys() >= {"python", "torch", "onnx", "coremltools"}
    assert manifest["artifacts"]["model.onnx"]["settings"] == {"opset": 17, "fast_in": []}
    assert manifest["artifacts"]["model.mlpackage"]["precision"] == "mixed"
    assert manifest["results"]["verdict"] == "passed"


def test_no_text_tells_who_made_it_where_or_when(made_pann: Any) -> None:
    for name, content in _files(made_pann.path).items():
        if name.endswith((".json", ".md")):
            text = content.decode("utf-8")
            for private in (str(made_pann.path.parent), str(Path.home()) + "/", str(ROOT), "/tmp/"):
                assert private not in text, (name, private)
            assert not re.search(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d", text), name


def test_labels_are_all_of_them_with_their_commas(made_pann: Any) -> None:
    table = json.loads((made_pann.path / "labels.json").read_text(encoding="utf-8"))
    assert [row["index"] for row in table] == list(range(527))
    assert table[0] == {"index": 0, "mid": "/m/09x0r", "name": "Speech"}
    assert table[2]["name"] == "Female speech, woman speaking"


def test_labels_are_audiosets(made_pann: Any) -> None:
    from recipes.base import labels

    table = json.loads((made_pann.path / "labels.json").read_text(encoding="utf-8"))
    assert [labels.Label(**row) for row in table] == list(labels.load("audioset"))


def test_sounds_are_mono_float_at_the_models_rate(made_pann: Any) -> None:
    for path in (made_pann.path / "reference").iterdir():
        info = soundfile.info(path)
        assert (info.channels, info.samplerate, info.subtype) == (1, 32000, "FLOAT"), path.name
    silence, _ = soundfile.read(made_pann.path / "reference" / "silence.wav")
    square, _ = soundfile.read(made_pann.path / "reference" / "full_scale_square.wav")
    assert not silence.any()
    assert set(np.unique(square)) == {-1.0, 1.0}


def test_synthetic_weights_are_labelled_everywhere(made_pann: Any, manifest: dict[str, Any]) -> None:
    import coremltools as ct
    import onnx

    card = (made_pann.path / "README.md").read_text(encoding="utf-8")
    assert "**synthetic weights**" in card
    assert "it recognises nothing" in card
    assert manifest["weights"] == json.loads((made_pann.path / "reference.json").read_text())["weights"] == "synthetic"
    model = onnx.load(str(made_pann.onnx), load_external_data=False)
    assert "synthetic weights" in model.doc_string
    assert {item.key: item.value for item in model.metadata_props}["weights"] == "synthetic"
    metadata = ct.utils.load_spec(str(made_pann.mlpackage)).description.metadata
    assert "synthetic weights" in metadata.shortDescription
    assert metadata.userDefined["org.soundport.weights"] == "synthetic"


def test_the_card_fits_the_artifacts(made_pann: Any, pann: Any) -> None:
    card = (made_pann.path / "README.md").read_text(encoding="utf-8")
    for output in pann.outputs:
        assert f"| `{output.name}` |" in card
        assert output.description in card
    for part in (
        "ONNX Runtime",
        "tract",
        "Core ML",
        "9920 to 1920000",
        "9920 or more",
        "computes its front end in float32 and the rest in float16",
        "none: synthetic weights",
        "32 kHz",
    ):
        assert part in card


def test_the_cards_python_runs(made_pann: Any) -> None:
    card = (made_pann.path / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    shapes = "outputs['clipwise'].shape == (1, 527) and outputs['melspec'].shape == (1, 1001, 64)"
    checked = f"{code}\nassert {shapes} and len(best) == 3"
    subprocess.run([sys.executable, "-c", checked], check=True, cwd=made_pann.path)


def test_two_runs_give_the_same_bytes(made_pann: Any, tmp_path: Path) -> None:
    """In another folder and time zone, with other hashes of strings."""
    command = ["recipe", "pann", "--to", "coreml", "--weights", "synthetic", "-o", tmp_path / "elsewhere", "-v"]
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        [sys.executable, "-m", "convert", *command], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0
    before, after = _files(made_pann.path), _files(tmp_path / "elsewhere")
    assert [name for name in before | after if before.get(name) != after.get(name)] == []
    # Progress and notes are on stderr, results on stdout, the folder's name as its last line.
    assert re.search(r"^export: \d+\.\d s$", done.stderr, re.MULTILINE)
    assert "lowering, fed waveform: fold-norms: features.0.2 into features.0.0" in done.stderr.splitlines()
    assert "model.onnx, tract, fp32" in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path / "elsewhere")


def test_a_checkpoint_of_ones_own(convert: Convert, quick: list[str], tmp_path: Path, sounds: Path) -> None:
    (tmp_path / "made").mkdir()
    said = convert(*quick, "-o", tmp_path / "made", "--audio", sounds / "stereo.wav", "--json")
    assert said.exit_code == 0
    (warning,) = said.stderr.splitlines()
    assert warning.startswith("warning: mine.pth is not known to be the published checkpoint: its 527 classes are")
    assert {check["artifact"] for check in json.loads(said.stdout)["checks"]} == {"", "model.onnx"}
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["weights"], manifest["checkpoint_file"]) == ("custom", "mine.pth")
    assert manifest["command"].endswith("--checkpoint mine.pth --opset 17 --audio stereo.wav")
    assert not (tmp_path / "made" / "model.mlpackage").exists()
    assert (tmp_path / "made" / "reference" / "stereo.wav").is_file()
    assert "Swift" not in (tmp_path / "made" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_second_run_replaces_the_first(convert: Convert, quick: list[str], tmp_path: Path) -> None:
    for words, atol in (([], 1e-4), (["--atol", "clipwise:0.5"], 0.5)):
        assert convert(*quick, "-o", tmp_path / "made", *words).exit_code == 0
        manifest = json.loads((tmp_path / "made" / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["outputs"][0]["tolerances"]["fp32"]["atol"] == atol
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.slow
def test_a_fixed_length_of_fp16_warns_and_fails(convert: Convert, quick: list[str], tmp_path: Path) -> None:
    words = ["--to", "coreml", "--precision", "fp16", "--seconds", "0.5", "-o", tmp_path / "made"]
    said = convert(*quick, *words)
    assert said.exit_code == 1
    warnings = said.stderr.splitlines()
    assert all(line.startswith("warning: ") for line in warnings)
    assert sum("--precision fp16" in line for line in warnings) == 1
    remedy = "model.mlpackage fails its check; --precision mixed was tried, and passes: run again with it"
    search = f"convert bisect {tmp_path / 'made'} --suggest"
    assert f"warning: {remedy}, or see whether `{search}` finds less to change" in warnings
    assert "FAILED" in said.stdout
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text(encoding="utf-8"))
    failed = {check["case"] for check in manifest["results"]["checks"] if check["status"] == "failed"}
    assert failed >= {"silence", "full_scale_square"}
    assert {check["artifact"] for check in manifest["results"]["checks"] if check["status"] == "failed"} == {
        "model.mlpackage"
    }
    card = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert "samples: exactly 16000." in card
    assert "computes in float16" in card
    # The folder stays, to be looked into, and its own check says the same.
    assert convert("check", tmp_path / "made").exit_code == 1
    # Scores of silence are no numbers, and JSON has none for them.
    said = convert(
        "run", tmp_path / "made" / "model.mlpackage", tmp_path / "made" / "reference" / "silence.wav", "--json"
    )
    json.loads(said.stdout)
    said = convert("run", tmp_path / "made" / "model.mlpackage", tmp_path / "made" / "reference" / "shortest.wav")
    assert said.is_one_clear_error("this file takes exactly 0.5 s")


@pytest.mark.slow
def test_where_no_other_precision_passes_that_is_said(convert: Convert, quick: list[str], tmp_path: Path) -> None:
    words = ["--to", "coreml", "--seconds", "0.31", "--atol", "clipwise:0", "-o", tmp_path / "made"]
    said = convert(*quick, *words)
    assert said.exit_code == 1
    line = "warning: model.mlpackage fails its check, and does so with --precision fp32 too"
    assert line in said.stderr.splitlines()


def test_a_failing_check_says_what_would_have_passed(convert: Convert, quick: list[str], tmp_path: Path) -> None:
    said = convert(*quick, "--atol", "clipwise:0", "-o", tmp_path / "made", "--json")
    assert said.exit_code == 1
    assert [line[: line.find(":")] for line in said.stderr.splitlines()] == ["warning", "warning"]
    assert "warning: with the rewrite fold-norms answers are over their tolerance in float64" in said.stderr
    result = json.loads(said.stdout)
    failed = [check for check in result["checks"] if check["status"] == "failed"]
    assert {check["output"] for check in failed} == {"clipwise"}
    assert result["verdict"] == "failed"
    for check in failed:
        assert check["comparison"]["passing_atol"] > 0
        assert re.search(r"atol \S+ would have passed", check["message"])


@pytest.mark.slow
def test_what_would_have_passed_passes(convert: Convert, quick: list[str], tmp_path: Path) -> None:
    result = json.loads(convert(*quick, "--atol", "clipwise:0", "-o", tmp_path / "made", "--json").stdout)
    worst = max(check["comparison"]["passing_atol"] for check in result["checks"] if check["status"] == "failed")
    assert convert(*quick, "--atol", f"clipwise:{worst}", "-o", tmp_path / "made").exit_code == 0


def test_not_verified_is_not_passed(
    convert: Convert, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Callable[..., None]
) -> None:
    monkeypatch.setattr("convert.targets.onnx.against_exported", lambda *_: ())
    here()
    said = convert(*quick, "-o", tmp_path / "made")
    assert said.exit_code == 3
    assert "NOT VERIFIED" in said.stdout
    assert "verified by no runtime" in " ".join(said.stdout.split())
    assert "not here" in " ".join(said.stdout.split())
    assert convert("check", tmp_path / "made").exit_code == 3
