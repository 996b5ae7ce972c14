"""`convert recipe mel`: files without a checkpoint, of a preset's numbers or one's own, checked as all others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from convert import manifest
from recipes.base.config import variants
from recipes.base.errors import UserError
from recipes.base.recipe import digest_of_numbers
from recipes.base.sound import rich
from validators.dumps import numpy_file

Convert = Callable[..., Any]

OWN = ("n_fft=256", "hop_length=64", "n_mels=160", "sample_rate=8000")
NUMBERS = [word for number in OWN for word in ("--set", number)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, convert: Convert) -> tuple[Path, Any]:
    """Frames that lose their mean, in every format that a fixed length is not needed for."""
    folder = tmp_path_factory.mktemp("mel") / "mel"
    command = ["recipe", "mel_kaldi", "--to", "coreml", "--set", "n_mels=20", "--set", "log=db", "-o", folder]
    return folder, convert(*command, "--json")


def test_all_is_made_and_passes(made: tuple[Path, Any]) -> None:
    folder, said = made
    assert said.exit_code == 0, said.stdout[-2000:]
    found = {str(path.relative_to(folder)) for path in folder.iterdir()}
    assert found == {
        "README.md",
        "frontend",
        "manifest.json",
        "model.mlpackage",
        "model.onnx",
        "reference",
        "reference.json",
    }
    assert {path.name for path in (folder / "frontend").iterdir()} == {
        "front_end.json",
        "mel.npy",
        "melspec.py",
        "window.npy",
    }
    runtimes = {check["runtime"] for check in json.loads(said.stdout)["checks"] if check["kind"] == "values"}
    assert {"pytorch-lowered", "onnxruntime", "tract", "executor", "executor-float32"} <= runtimes


@pytest.mark.slow
@pytest.mark.parametrize("preset", [variant.name for variant in variants() if variant.family == "mel"])
def test_every_preset_has_its_c(preset: str, convert: Convert, tmp_path: Path) -> None:
    said = convert("recipe", preset, "--to", "c", "-o", tmp_path / "made", "--json")
    assert said.exit_code == 0, said.stdout[-2000:]
    checks = [check for check in json.loads(said.stdout)["checks"] if check["artifact"] == "c"]
    assert {"values", "file"} <= {check["kind"] for check in checks}
    assert {check["status"] for check in checks} == {"passed"}


def test_it_verifies_from_its_own_files(made: tuple[Path, Any], convert: Convert) -> None:
    assert convert("check", made[0]).exit_code == 0


def test_numbers_stand_for_the_checkpoint(made: tuple[Path, Any]) -> None:
    folder, _ = made
    found = manifest.read(folder)
    assert (found.weights, found.checkpoint_file) == ("computed", "numbers")
    assert found.numbers["n_mels"] == 20
    assert found.numbers["sample_rate"] == 16000
    assert found.checkpoint_sha256 == digest_of_numbers(found.numbers)
    assert found.command.endswith(" --set n_mels=20 --set log=db")
    assert ("factorise-dft", True) in {(done.rewrite, "512 = " in done.place) for done in found.lowering}


def test_nothing_is_called_synthetic_and_no_classes_are_named(made: tuple[Path, Any]) -> None:
    folder, _ = made
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Computed from its numbers alone, without weights" in card
    assert "n_mels 20" in card
    assert "labels.json" not in card
    for file in ("README.md", "manifest.json", "reference.json"):
        assert "synthetic" not in (folder / file).read_text(encoding="utf-8")
    model = onnx.load(str(folder / "model.onnx"))
    assert "weights" not in model.doc_string
    said = {item.key: item.value for item in model.metadata_props}
    assert (said["weights"], said["labels"]) == ("computed", "[]")
    assert "scores" not in said


def test_numbers_that_are_not_those_of_the_digest_are_refused(made: tuple[Path, Any], tmp_path: Path) -> None:
    text = (made[0] / "manifest.json").read_text(encoding="utf-8")
    (tmp_path / "manifest.json").write_text(text.replace('"n_mels": 20', '"n_mels": 21'), encoding="utf-8")
    with pytest.raises(UserError, match="checkpoint_sha256 is not the digest of the numbers"):
        manifest.read(tmp_path)


def test_a_sound_is_run_without_classes(made: tuple[Path, Any], convert: Convert, tmp_path: Path) -> None:
    folder, _ = made
    said = convert("run", folder / "model.onnx", folder / "reference" / "rich.wav", "-o", tmp_path / "out.npz")
    assert said.exit_code == 0
    assert "no class scores" in said.stderr
    assert said.stdout == "melspec  float32[1, 20, 98]\n"
    assert list(numpy_file.arrays(tmp_path / "out.npz", (tmp_path / "out.npz").read_bytes())) == ["melspec"]


def test_numbers_in_a_file_are_those_of_words_and_empty_bands_are_warned_of(convert: Convert, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("n_fft: 256\nhop_length: 64\nn_mels: 21\nsample_rate: 8000\n", encoding="utf-8")
    by_words = convert("recipe", "mel", *NUMBERS, "-o", tmp_path / "words")
    by_file = convert("recipe", "mel", "--config", file, "--set", "n_mels=160", "-o", tmp_path / "file")
    assert (by_words.exit_code, by_file.exit_code) == (0, 0), by_words.stderr + by_file.stderr
    assert "warning: mel bands without any bin of the DFT, which are silent whatever sounds: 0, " in by_words.stderr
    assert (tmp_path / "words" / "model.onnx").read_bytes() == (tmp_path / "file" / "model.onnx").read_bytes()
    assert manifest.read(tmp_path / "file").command.endswith("--config mine.yaml --set n_mels=160")


REFUSED = {
    "a frequency beyond the sound's": (["--set", "fmax=12000"], "fmax 12000 is over half of sample_rate, 11025"),
    "a rate that no sound has": (["--set", "sample_rate=100000000000"], "less than or equal to 768000"),
    "a window longer than its DFT": (["--set", "win_length=4096"], "win_length 4096 is over n_fft 2048"),
    "no number": (["--set", "n_mels"], "--set n_mels: give a number by its name, such as n_mels=80"),
    "an unknown one": (
        ["--set", "hop=3"],
        "--set hop=3, hop: is no number of mel_librosa; there are sample_rate, n_fft",
    ),
    "a word for a number": (["--set", "n_mels=many"], "--set n_mels=many, n_mels: Input should be a valid integer"),
    "a mean beyond float32": (["--set", "mean=1e308"], "mean 1e+308 is over what float32 holds, 1.7e+38"),
    "answers beyond float32": (["--set", "scale=1e-38"], "'melspec', which nothing can be compared with; choose other"),
    "the log of silence": (["--set", "log=ln"], "log: ln of silence is minus infinity; give amin or added"),
    "decibels without a log": (["--set", "top_db=80"], "top_db without a log"),
    "no bins at all": (
        ["--set", "n_fft=64", "--set", "n_mels=1", "--set", "fmin=20", "--set", "fmax=90"],
        "no mel band from 20 to 90 Hz has a bin",
    ),
    "a file that is not there": (["--config", "absent.yaml"], "absent.yaml: there is no such file"),
    "a checkpoint": (["--checkpoint", "x.pt"], "--checkpoint: mel_librosa has no weights, and needs none"),
    "weights": (["--weights", "synthetic"], "--weights synthetic: mel_librosa has no weights, and needs none"),
    "labels": (["--labels", "x.txt"], "--labels: mel_librosa has no classes, and needs none"),
}


@pytest.mark.parametrize(("words", "why"), REFUSED.values(), ids=REFUSED)
def test_what_means_nothing_is_refused_by_name(convert: Convert, tmp_path: Path, words: list[str], why: str) -> None:
    said = convert("recipe", "mel", *words, "-o", tmp_path / "made")
    assert said.is_one_clear_error(why), said.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("n_mels: 80\nhop: 3\n", "line 2, hop: is no number of mel_librosa"),
        (
            "log: ln\namin: 1e-10\n",
            "line 2, amin: Input should be a valid number; YAML takes 1e-10 for text: write 1.0e-10",
        ),
        ("n_mels: !!python/object:os.system 3\n", "line 1: is read as 'python/object:os.system'"),
        ("- 3\n", "must be keys with their values"),
        ("n_fft: {a: 1}\n", "line 1, n_fft: Input should be a valid integer"),
    ],
)
def test_a_file_is_read_as_strictly_as_ours(convert: Convert, tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    said = convert("recipe", "mel", "--config", tmp_path / "mine.yaml", "-o", tmp_path / "made")
    assert said.is_one_clear_error(why), said.stderr


@pytest.mark.parametrize("name", ["pann", "eat", "mn04_as"])
def test_what_was_trained_with_its_numbers_keeps_them(convert: Convert, tmp_path: Path, name: str) -> None:
    said = convert("recipe", name, "--weights", "synthetic", "--set", "n_mels=80", "-o", tmp_path / "made")
    assert said.is_one_clear_error("has the numbers that its weights were trained with; leave out --set and --config")


def test_list_says_what_can_be_set(convert: Convert) -> None:
    said = convert("list", "mel_whisper128")
    words = " ".join(said.stdout.split())
    assert "none needed: all follows from the numbers, which --set KEY=VALUE and --config FILE.yaml change" in words
    assert "n_mels 128" in words
    assert "classes" not in words
    assert json.loads(convert("list", "mel", "--json").stdout)["checkpoint"] == "not needed"


def test_the_front_end_s_program_is_run_as_the_card_says(made: tuple[Path, Any], tmp_path: Path) -> None:
    import runpy

    folder, _ = made
    program = runpy.run_path(str(folder / "frontend" / "melspec.py"))
    numbers = json.loads((folder / "frontend" / "front_end.json").read_text())
    window, bank = (np.load(folder / "frontend" / f"{name}.npy") for name in ("window", "mel"))
    found = program["melspec"](rich(16000, 16000, seed=1), window, bank, numbers)
    assert found.shape == (1, 20, 98)
