"""`convert run`: sound and named arrays through every artifact, and each bad input told in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import onnx
import pytest

from recipes.base import audio
from recipes.base.sound import rich

ARTIFACTS = [("model.onnx", "onnxruntime"), ("model.onnx", "tract"), ("model.mlpackage", "coreml")]
OUTPUTS = ["clipwise", "embedding", "framewise", "segment_clipwise", "melspec"]

PRECISION = {"model.onnx": "fp32", "model.mlpackage": "mixed"}

Convert = Callable[..., Any]


@pytest.fixture(scope="session")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`npz(waveform=...)`: a file of these arrays."""
    folder = tmp_path_factory.mktemp("arrays")

    def write(**arrays: Any) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}.npz"
        np.savez(path, **arrays)
        return path

    return write


def _note(artifact: Path) -> str:
    return f"note: {artifact}: its weights are synthetic, and recognise nothing\n"


@pytest.fixture(scope="session")
def expected(synthetic_pann: Any) -> Callable[[Path], dict[str, np.ndarray]]:
    """The PyTorch model's own answers to a sound file."""
    from validators.runners.pytorch import answers

    return lambda path: answers(synthetic_pann, {"waveform": audio.read(path, 32000)[None]})


@pytest.mark.parametrize(("artifact", "runtime"), ARTIFACTS)
@pytest.mark.parametrize("sound", ["tone.wav", "tone.flac", "stereo.wav"])
def test_sound_is_ranked_as_pytorch_ranks_it(
    convert: Convert, made_pann: Any, pann: Any, sounds: Path, expected: Any, artifact: str, runtime: str, sound: str
) -> None:
    said = convert("run", made_pann.path / artifact, sounds / sound, "--runtime", runtime, "--json", "--top", 4)
    assert (said.exit_code, said.stderr) == (0, _note(made_pann.path / artifact))
    result = json.loads(said.stdout)
    assert result["weights"] == "synthetic"
    scores = expected(sounds / sound)["clipwise"][0]
    labels = [label["name"] for label in json.loads((made_pann.path / "labels.json").read_text(encoding="utf-8"))]
    (row,) = result["top"]
    assert row[0]["label"] == labels[int(scores.argmax())]
    assert len(row) == 4
    (tolerance,) = (output.tolerances[PRECISION[artifact]].atol for output in pann.outputs if output.name == "clipwise")
    for entry in row:
        assert entry["score"] == pytest.approx(scores[labels.index(entry["label"])], abs=tolerance)
    assert [entry["score"] for entry in row] == sorted((entry["score"] for entry in row), reverse=True)
    assert list(result["outputs"]) == OUTPUTS
    assert result["outputs"]["framewise"] == [1, 101, 527]


def test_the_table_has_ten_classes_unless_asked_otherwise(convert: Convert, made_pann: Any, sounds: Path) -> None:
    said = convert("run", made_pann.onnx, sounds / "tone.wav")
    lines = said.stdout.splitlines()
    assert (said.exit_code, said.stderr, len(lines)) == (0, _note(made_pann.onnx), 10)
    scores = [float(line.split("  ")[0]) for line in lines]
    assert scores == sorted(scores, reverse=True)
    assert len(convert("run", made_pann.onnx, sounds / "tone.wav", "--top", 3).stdout.splitlines()) == 3
    assert len(convert("run", made_pann.onnx, sounds / "tone.wav", "--top", 9999).stdout.splitlines()) == 527


@pytest.mark.parametrize(("artifact", "runtime"), ARTIFACTS)
def test_named_arrays_go_in_and_all_outputs_come_out(
    convert: Convert,
    made_pann: Any,
    pann: Any,
    sounds: Path,
    npz: Any,
    expected: Any,
    tmp_path: Path,
    artifact: str,
    runtime: str,
) -> None:
    given = npz(waveform=audio.read(sounds / "tone.wav", 32000)[None])
    said = convert("run", made_pann.path / artifact, given, "--runtime", runtime, "-o", tmp_path / "out.npz")
    assert (said.exit_code, said.stderr) == (0, _note(made_pann.path / artifact))
    assert len(said.stdout.splitlines()) == 10
    with np.load(tmp_path / "out.npz") as written:
        assert written.files == OUTPUTS
        wanted = expected(sounds / "tone.wav")
        for output in pann.outputs:
            allowed = output.tolerances[PRECISION[artifact]]
            assert written[output.name].dtype == np.float32
            np.testing.assert_allclose(written[output.name], wanted[output.name], rtol=allowed.rtol, atol=allowed.atol)
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_a_batch_goes_through_onnx_as_one(convert: Convert, made_pann: Any, npz: Any) -> None:
    said = convert("run", made_pann.onnx, npz(waveform=np.zeros((3, 9920), np.float32)), "--json")
    result = json.loads(said.stdout)
    assert result["outputs"]["clipwise"] == [3, 527]
    assert [len(row) for row in result["top"]] == [10, 10, 10]


@pytest.mark.parametrize("artifact", ["model.onnx", "model.mlpackage"])
@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({"sound": np.zeros((1, 9920), np.float32)}, "has no array 'waveform'; it holds sound"),
        ({}, "has no array 'waveform'; it holds nothing"),
        ({"waveform": np.zeros((1, 9920))}, "waveform is float64; it must be float32"),
        ({"waveform": np.zeros((1, 9920), np.int16)}, "waveform is int16; it must be float32"),
        ({"waveform": np.zeros(9920, np.float32)}, "waveform has shape (9920,); it must be ("),
        ({"waveform": np.zeros((1, 1, 9920), np.float32)}, "waveform has shape (1, 1, 9920); it must be ("),
        ({"waveform": np.full((1, 9920), np.nan, np.float32)}, "holds NaN or infinity"),
        ({"waveform": np.full((1, 9920), np.inf, np.float32)}, "holds NaN or infinity"),
        ({"waveform": np.zeros((1, 9920), np.float32), "more": np.zeros(1)}, "holds more, which is no input"),
        ({"waveform": np.array([None])}, "waveform: holds Python objects, which are not unpickled"),
        ({"waveform": np.zeros((1, 9919), np.float32)}, "the last axis must be 9920"),
        ({"waveform": np.zeros((0, 9920), np.float32)}, "waveform has shape (0, 9920); "),
        ({"waveform": np.zeros((1, 0), np.float32)}, "the last axis must be 9920"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_named_arrays_that_do_not_fit(
    convert: Convert, made_pann: Any, npz: Any, artifact: str, arrays: dict[str, Any], part: str
) -> None:
    said = convert("run", made_pann.path / artifact, npz(**arrays))
    assert said.is_one_clear_error(part), said


def test_too_few_samples_are_refused_before_tract_makes_something_of_them(
    convert: Convert, made_pann: Any, npz: Any
) -> None:
    few = npz(waveform=np.zeros((1, 100), np.float32))
    assert convert("run", made_pann.onnx, few, "--runtime", "tract").is_one_clear_error("9920")


def test_an_empty_batch_is_refused(convert: Convert, made_pann: Any, npz: Any) -> None:
    said = convert("run", made_pann.onnx, npz(waveform=np.zeros((0, 9920), np.float32)))
    assert said.is_one_clear_error("(0, 9920)")


def test_a_batch_goes_row_by_row_through_a_package_that_takes_one_clip(
    convert: Convert, made_pann: Any, npz: Any, tmp_path: Path
) -> None:
    rows = np.stack([rich(9920, 32000, seed) for seed in (1, 2)])
    together, alone = tmp_path / "together.npz", tmp_path / "alone.npz"
    assert convert("run", made_pann.mlpackage, npz(waveform=rows), "-o", together).exit_code == 0
    assert convert("run", made_pann.mlpackage, npz(waveform=rows[1:]), "-o", alone).exit_code == 0
    with np.load(together) as both, np.load(alone) as second:
        assert both["clipwise"].shape == (2, 527)
        for name in second.files:
            np.testing.assert_array_equal(both[name][1:], second[name])


def test_files_that_are_no_npz(convert: Convert, made_pann: Any, npz: Any, tmp_path: Path) -> None:
    whole = npz(waveform=np.zeros((1, 9920), np.float32)).read_bytes()
    damaged = bytearray(whole)
    damaged[5000] ^= 1
    np.save(tmp_path / "single.npy", np.zeros((1, 9920), np.float32))
    contents = {
        "truncated": whole[:2000],
        "damaged": bytes(damaged),
        "text": b"hello",
        "empty": b"",
        "single": (tmp_path / "single.npy").read_bytes(),
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
        said = convert("run", made_pann.onnx, tmp_path / f"{name}.npz")
        assert said.is_one_clear_error("is no .npz of plain arrays"), (name, said)


@pytest.mark.parametrize("artifact", ["model.onnx", "model.mlpackage"])
def test_sound_that_does_not_fit(convert: Convert, made_pann: Any, sounds: Path, tmp_path: Path, artifact: str) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    for path, part in (
        (sounds / "short.wav", "9919 samples"),
        (tmp_path / "text.wav", "is no sound file"),
        (tmp_path / "nowhere.wav", "there is no such file"),
        (tmp_path / "nowhere.npz", "there is no such file"),
        (tmp_path, "is a folder"),
    ):
        assert convert("run", made_pann.path / artifact, path).is_one_clear_error(part), path


def test_artifacts_that_cannot_be_run(convert: Convert, made_pann: Any, sounds: Path, tmp_path: Path) -> None:
    sound = sounds / "tone.wav"
    assert convert("run", tmp_path / "model.onnx", sound).is_one_clear_error("no such file; `convert recipe` makes one")
    assert convert("run", tmp_path / "model.tflite", sound).is_one_clear_error("must end in .onnx or .mlpackage")
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 64)
    (tmp_path / "bad.mlpackage").mkdir()
    for runtime in ("onnxruntime", "tract"):
        said = convert("run", tmp_path / "bad.onnx", sound, "--runtime", runtime)
        assert said.is_one_clear_error("cannot load it"), said
    assert convert("run", tmp_path / "bad.mlpackage", sound).is_one_clear_error("bad.mlpackage")
    said = convert("run", made_pann.mlpackage, sound, "--runtime", "tract")
    assert said.is_one_clear_error("model.mlpackage cannot be run by tract")


def test_a_model_from_elsewhere_takes_arrays_but_no_sound(
    convert: Convert, made_pann: Any, sounds: Path, npz: Any, tmp_path: Path
) -> None:
    model = onnx.load(str(made_pann.onnx))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "model.onnx"))
    said = convert("run", tmp_path / "model.onnx", sounds / "tone.wav")
    assert said.is_one_clear_error("feed it an .npz")
    assert convert("run", tmp_path / "model.onnx", npz(waveform=np.zeros((1, 9920), np.float32))).exit_code == 0


def test_scores_that_are_no_numbers_are_null_in_json(
    convert: Convert, made_pann: Any, sounds: Path, tmp_path: Path
) -> None:
    model = onnx.load(str(made_pann.onnx))
    bias = next(
        tensor for tensor in model.graph.initializer if "fc_audioset" in tensor.name and tensor.name.endswith("bias")
    )
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(527, np.nan, np.float32), bias.name))
    onnx.save(model, str(tmp_path / "model.onnx"))
    said = convert("run", tmp_path / "model.onnx", sounds / "tone.wav", "--json", "--top", 1)
    assert json.loads(said.stdout)["top"][0][0]["score"] is None
    assert convert("run", tmp_path / "model.onnx", sounds / "tone.wav", "--top", 1).stdout.startswith("nan  ")


def test_where_the_outputs_cannot_be_written(convert: Convert, made_pann: Any, sounds: Path, tmp_path: Path) -> None:
    sound = copy(sounds / "tone.wav", tmp_path)
    said = convert("run", made_pann.onnx, sound, "-o", tmp_path / "out.csv")
    assert said.is_one_clear_error("give a name that ends so")
    said = convert("run", made_pann.onnx, sound, "-o", tmp_path / "nowhere" / "out.npz")
    assert said.is_one_clear_error("nowhere; make it, or choose another")
    assert [path.name for path in tmp_path.iterdir()] == ["tone.wav"]


def test_a_folder_names_the_files_that_it_holds(convert: Convert, made_pann: Any, sounds: Path) -> None:
    said = convert("run", made_pann.path, sounds / "tone.wav")
    assert said.is_one_clear_error(f"name a file in it: {made_pann.onnx}, {made_pann.mlpackage}")


@pytest.mark.parametrize("words", [["--top", "0"], ["--runtime", "torch"], ["--nonsense"], []])
def test_wrong_usage_exits_with_2(convert: Convert, made_pann: Any, sounds: Path, words: list[str]) -> None:
    arguments = [made_pann.onnx, sounds / "tone.wav", *words] if words else []
    said = convert("run", *arguments)
    assert (said.exit_code, said.stdout) == (2, "")
    assert "Traceback" not in said.stderr
