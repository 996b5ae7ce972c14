"""The whole path of a family with two inputs, on a checkpoint in the published layout and on a fine-tuned one."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import pytest

from convert.__main__ import main


@pytest.fixture(scope="module")
def made(
    convert: Callable[..., Any], stand_in: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("efficientat") / "mn04_as"
    words = ["--to", "coreml", "--input", "waveform", "--input", "melspec", "-o", folder]
    said = convert("recipe", "mn04_as", "--checkpoint", stand_in("mn04_as"), *words)
    assert said.exit_code == 0, said.stdout + said.stderr
    return folder


def test_both_inputs_are_made_and_checked(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["weights"] == "custom"
    assert {name: artifact["input"] for name, artifact in manifest["artifacts"].items()} == {
        "model.onnx": "waveform",
        "model.mlpackage": "waveform",
        "model.melspec.onnx": "melspec",
        "model.melspec.mlpackage": "melspec",
    }
    seen = {(check["artifact"], check["output"]) for check in manifest["results"]["checks"] if check["comparison"]}
    assert ("model.melspec.onnx", "logits") in seen
    assert ("model.melspec.onnx", "melspec") not in seen


def test_the_card_shows_each_file(made: Path) -> None:
    card = (made / "README.md").read_text(encoding="utf-8")
    for part in (
        "`model.melspec.mlpackage` is fed `melspec` (batch, 1, 128, time)",
        "It gives `logits`, `embedding`. It takes one clip at a time and computes in float16.",
        "It gives `logits`, `embedding`, `melspec`. It takes one clip at a time and computes its front end in float32",
        "with a channel axis of size 1",
        "## `model.melspec.mlpackage` in Swift, Core ML",
    ):
        assert part in card
    samples = re.findall(r"in Python, ONNX Runtime\n\n```python\n(.*?)```", card, re.DOTALL)
    assert len(samples) == 2
    for sample in samples:
        subprocess.run([sys.executable, "-c", f"{sample}\nassert len(best) == 3"], check=True, cwd=made)


def test_the_folder_passes_its_own_check(convert: Callable[..., Any], made: Path) -> None:
    assert convert("check", made).exit_code == 0


def test_typing_is_recognised(
    convert: Callable[..., Any], real_weights: Callable[[str], Path], recordings: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    words = ["--checkpoint", real_weights("mn04_as"), "--to", "coreml", "--json"]
    assert convert("recipe", "mn04_as", *words, "-o", made).exit_code == 0
    assert json.loads((made / "manifest.json").read_text(encoding="utf-8"))["weights"] == "published"
    for artifact in ("model.onnx", "model.mlpackage"):
        said = convert("run", made / artifact, recordings / "typing.wav", "--top", 2, "--json")
        (first, second) = json.loads(said.stdout)["top"][0]
        assert (first["label"], second["label"]) == ("Computer keyboard", "Typing")
        assert first["score"] == pytest.approx(0.891, abs=2e-3)
        assert second["score"] == pytest.approx(0.871, abs=2e-3)


def test_a_spectrogram_is_no_sound(convert: Callable[..., Any], made: Path, sounds: Path) -> None:
    said = convert("run", made / "model.melspec.onnx", sounds / "tone.wav")
    assert said.is_one_clear_error("is fed melspec (batch, 1, 128, time) and no sound")


def test_the_front_end_in_numpy_feeds_the_network(
    convert: Callable[..., Any], made: Path, truth: Callable, agreement: Callable, tmp_path: Path
) -> None:
    expected = truth("mn04_as")["odd_batch2"]
    np.save(tmp_path / "in.npy", expected["waveform"])
    words = [made / "frontend" / "melspec.py", tmp_path / "in.npy", tmp_path / "out.npy"]
    subprocess.run([sys.executable, "-I", *words], check=True)
    np.savez(tmp_path / "melspec.npz", melspec=np.load(tmp_path / "out.npy")[:, None])
    words = ["--top", 1, "-o", tmp_path / "out.npz"]
    assert convert("run", made / "model.melspec.onnx", tmp_path / "melspec.npz", *words).exit_code == 0
    logits = np.load(tmp_path / "out.npz")["logits"]
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=agreement("mn04_as", "odd_batch2")["logits"])
    assert (made / "frontend" / "melspec.py").read_text().strip() in (made / "README.md").read_text()


def test_an_unknown_input_is_refused(convert: Callable[..., Any], tmp_path: Path) -> None:
    said = convert("recipe", "mn04_as", "--weights", "synthetic", "--input", "logmel", "-o", tmp_path / "made")
    assert said.is_one_clear_error("mn04_as has no input 'logmel'; choose from waveform, melspec")


@pytest.mark.slow
def test_a_fixed_length_is_checked_on_the_sounds_of_that_length(convert: Callable[..., Any], tmp_path: Path) -> None:
    """The reference holds so long a melspec in samples only; what the file is fed has to be whole."""
    words = ["--to", "coreml", "--seconds", "10", "--input", "melspec", "-o", tmp_path / "made"]
    assert convert("recipe", "mn01_as", "--weights", "synthetic", *words).exit_code == 0
    said = convert("check", tmp_path / "made", "--json")
    assert said.exit_code == 0
    cases = {
        check["case"]
        for check in json.loads(said.stdout)["checks"]
        if check["artifact"] == "model.melspec.mlpackage" and check["comparison"]
    }
    assert cases >= {"rich", "silence", "full_scale_square", "full_scale_tone", "impulse", "batch_of_2"}


@pytest.mark.slow
def test_fp16_overflows_on_a_loud_high_tone(convert: Callable[..., Any], tmp_path: Path) -> None:
    words = ["--to", "coreml", "--precision", "fp16", "--seconds", "0.5", "-o", tmp_path / "made", "--json"]
    said = convert("recipe", "mn01_as", "--weights", "synthetic", *words)
    assert said.exit_code == 1
    failed = [check for check in json.loads(said.stdout)["checks"] if check["status"] == "failed"]
    assert {check["artifact"] for check in failed} == {"model.mlpackage"}
    assert any(check["case"] == "full_scale_tone" and "NaN" in check["message"] for check in failed)


@pytest.fixture(scope="module")
def fine_tuned(stand_in: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a head for three classes."""
    import torch

    state = torch.load(stand_in("mn04_as"), weights_only=True)
    for name in ("classifier.5.weight", "classifier.5.bias"):
        state[name] = state[name][:3].clone()
    path = tmp_path_factory.mktemp("fine-tuned") / "three.pt"
    torch.save(state, path)
    return path


@pytest.mark.slow
def test_a_checkpoint_of_other_classes(convert: Callable[..., Any], fine_tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("knock\nring, ring\nsilence\n")
    borrowed = copyfile(fine_tuned, tmp_path / "mn05_as_mAP_443.pt")
    said = convert("recipe", "mn04_as", "--checkpoint", borrowed, "-o", tmp_path / "made")
    assert said.exit_code == 0
    named, counted = said.stderr.splitlines()
    assert named.startswith(f"warning: {borrowed.name} has the name of mn05_as's published checkpoint")
    assert counted.startswith(f"warning: {borrowed.name} has 3 classes of its own")
    words = ["recipe", "mn04_as", "--checkpoint", fine_tuned, "-o", tmp_path / "made"]
    labelled = convert(*words, "--labels", tmp_path / "labels.txt")
    assert (labelled.exit_code, labelled.stderr) == (0, "")
    names = [label["name"] for label in json.loads((tmp_path / "made" / "labels.json").read_text())]
    assert names == ["knock", "ring, ring", "silence"]
    (tmp_path / "labels.txt").write_text("knock\n")
    assert convert(*words, "--labels", tmp_path / "labels.txt").is_one_clear_error("names 1 classes")


def test_a_checkpoint_of_another_variant_is_refused(
    convert: Callable[..., Any], real_weights: Callable[[str], Path], tmp_path: Path
) -> None:
    """Of some variants the tensors have the same names and shapes, so that no loading would tell."""
    said = convert("recipe", "mn10_as", "--checkpoint", real_weights("mn04_as"), "-o", tmp_path / "made")
    assert said.is_one_clear_error("is the published checkpoint of mn04_as; use `convert recipe mn04_as`")


def test_a_variant_without_a_known_checksum_is_not_fetched(
    convert: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUNDPORT_CACHE", str(tmp_path))
    said = convert("recipe", "mn01_as", "-o", tmp_path / "made")
    assert said.is_one_clear_error("no checksum of it is known, so that it is not fetched")


def test_an_interrupted_import_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr("convert.cli.run_app", interrupt)
    monkeypatch.setattr("os._exit", leave)
    monkeypatch.setattr("gc.set_threshold", lambda *_: None)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130
