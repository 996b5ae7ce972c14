"""`convert recipe mel`: files without a checkpoint, of a preset's numbers or one's own, checked as all others."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import onnx
import pytest

from convert import manifest
from convert.verify import check_artifact, file_of
from recipes.base.config import variants
from recipes.base.errors import UserError
from recipes.base.recipe import digest_of_numbers
from recipes.base.sound import rich
from validators import reference
from validators.dumps import numpy_file

Convert = Callable[..., Any]

OWN = ("n_fft=256", "hop_length=64", "n_mels=160", "sample_rate=8000")
NUMBERS = [word for number in OWN for word in ("--set", number)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, convert: Convert) -> tuple[Path, Any]:
    """Frames that lose their mean, in every format that a fixed length is not needed for, and in chunks."""
    folder = tmp_path_factory.mktemp("mel") / "mel"
    command = ["recipe", "mel_kaldi", "--to", "coreml", "--set", "n_mels=20", "--set", "log=db", "-o", folder]
    return folder, convert(*command, "--streaming", "2", "--json")


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
        "streaming.mlpackage",
        "streaming.onnx",
    }
    assert {path.name for path in (folder / "frontend").iterdir()} == {
        "front_end.json",
        "mel.npy",
        "melspec.py",
        "streaming.json",
        "streaming.py",
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


@pytest.mark.slow
@pytest.mark.parametrize("preset", [v.name for v in variants() if v.family == "mel" and "whisper" not in v.name])
def test_every_preset_is_streamed_hop_by_hop(preset: str, convert: Convert, tmp_path: Path) -> None:
    """A frame that is computed alone is summed in another order, which the comparison with the whole would show."""
    said = convert("recipe", preset, "--streaming", "1", "-o", tmp_path / "made", "--json")
    assert said.exit_code == 0, said.stdout[-2000:]
    checks = [check for check in json.loads(said.stdout)["checks"] if check["case"].endswith(", of the whole")]
    assert len(checks) > 5
    assert {check["status"] for check in checks} == {"passed"}
    # 1e-6 of the 4e-6 that numbers of one's own may need.
    compared = [check["comparison"] for check in checks if check["kind"] == "values"]
    assert all(one["passing_atol"] <= one["atol"] / 4 for one in compared)


def test_it_verifies_from_its_own_files(made: tuple[Path, Any], convert: Convert) -> None:
    assert convert("check", made[0]).exit_code == 0


def test_numbers_stand_for_the_checkpoint(made: tuple[Path, Any]) -> None:
    folder, _ = made
    found = manifest.read(folder)
    assert (found.weights, found.checkpoint_file) == ("computed", "numbers")
    assert found.numbers["n_mels"] == 20
    assert found.numbers["sample_rate"] == 16000
    assert found.checkpoint_sha256 == digest_of_numbers(found.numbers)
    assert found.command.endswith(" --set n_mels=20 --set log=db --streaming 2")
    for fed in ("waveform", "chunk"):
        places = [done.place for done in found.lowering if (done.input, done.rewrite) == (fed, "factorise-dft")]
        assert ["512 = " in place for place in places] == [True]


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


@pytest.mark.slow
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
        "--set hop=3, hop: is no number of mel_librosa; `convert list mel_librosa` shows all",
    ),
    "a word for a number": (["--set", "n_mels=many"], "--set n_mels=many, n_mels: must be a whole number"),
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
            "line 2, amin: must be a number; YAML takes 1e-10 for text: write 1.0e-10",
        ),
        ("n_mels: !!python/object:os.system 3\n", "line 1: is read as 'python/object:os.system'"),
        ("- 3\n", "must be keys with their values"),
        ("n_fft: {a: 1}\n", "line 1, n_fft: must be a whole number"),
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


def test_chunks_are_checked_in_every_runtime_and_against_the_whole(made: tuple[Path, Any]) -> None:
    _, said = made
    checks = [check for check in json.loads(said.stdout)["checks"] if check["artifact"].startswith("streaming.")]
    values = [check for check in checks if check["kind"] == "values" and check["status"] == "passed"]
    assert {(check["artifact"], check["runtime"]) for check in values} == {
        ("streaming.onnx", "onnxruntime"),
        ("streaming.onnx", "tract"),
        ("streaming.mlpackage", "executor"),
        ("streaming.mlpackage", "executor-float32"),
    }
    of_whole = [check for check in values if check["case"].endswith(", of the whole")]
    assert {"rich, of the whole", "odd_length, of the whole"} <= {check["case"] for check in of_whole}
    # 1e-6, in parts of the frame's greatest.
    assert all(check["comparison"]["passing_atol"] <= 1e-6 for check in of_whole)


def test_how_chunks_are_fed_and_how_late_frames_are_is_said(made: tuple[Path, Any]) -> None:
    folder, _ = made
    (chunk,) = manifest.read(folder).alternative_inputs
    assert (chunk.name, chunk.axes) == ("chunk", ("batch", 320))
    assert chunk.stream is not None
    # Half of a window, and a hop for which the first frame of a chunk waits.
    assert (chunk.stream.size, chunk.stream.latency) == (240, 200 + 160)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Latency: 22.5 ms at most from the middle of a frame's window until it is given" in card
    graph = onnx.load(str(folder / "streaming.onnx")).graph
    ports = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert ports == {
        "chunk": ["batch", 320],
        "state_in": ["batch", 240],
        "melspec": ["batch", 20, 2],
        "state_out": ["batch", 240],
    }


def test_the_card_s_program_streams(made: tuple[Path, Any]) -> None:
    folder, _ = made
    code = next(
        part.split("```")[0]
        for part in (folder / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
        if "streaming" in part.split("```")[0]
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    # Five seconds, of which frames before the last few are given at once.
    assert done.stdout.splitlines() == ["(1, 20, 2)"] * 249


def test_files_of_chunks_are_run_on_whole_sounds(made: tuple[Path, Any], convert: Convert, tmp_path: Path) -> None:
    folder, _ = made
    for name in ("model.onnx", "streaming.onnx", "streaming.mlpackage"):
        said = convert("run", folder / name, folder / "reference" / "rich.wav", "-o", tmp_path / f"{name}.npz")
        assert said.exit_code == 0, said.stderr
    whole, *others = (
        numpy_file.arrays_of(tmp_path / f"{name}.npz")["melspec"]
        for name in ("model.onnx", "streaming.onnx", "streaming.mlpackage")
    )
    for chunked in others:
        np.testing.assert_allclose(chunked, whole, atol=1e-3)


def test_a_whole_file_runs_whatever_its_folder_says(made: tuple[Path, Any], convert: Convert, tmp_path: Path) -> None:
    """A manifest of another version is nobody's business there."""
    folder, _ = made
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    (tmp_path / "manifest.json").write_text('{"schema": "soundport.manifest/2"}')
    assert convert("run", tmp_path / "model.onnx", folder / "reference" / "rich.wav").exit_code == 0


def test_a_form_for_one_runtime_is_not_what_other_formats_are_made_of(convert: Convert, tmp_path: Path) -> None:
    said = convert("recipe", "mel", "--to", "c", "--to", "web", "--fast-in", "tract", "-o", tmp_path / "made")
    assert said.is_one_clear_error("--fast-in: --to c and --to web would be made of that file too")
    assert not (tmp_path / "made").exists()


def test_of_a_file_of_chunks_away_from_its_folder_that_is_said(
    made: tuple[Path, Any], convert: Convert, tmp_path: Path
) -> None:
    folder, _ = made
    (tmp_path / "streaming.onnx").write_bytes((folder / "streaming.onnx").read_bytes())
    said = convert("run", tmp_path / "streaming.onnx", folder / "reference" / "rich.wav")
    assert said.is_one_clear_error("this file is fed chunk and state_in and no sound"), said


def test_files_of_chunks_are_bisected_call_by_call(made: tuple[Path, Any], convert: Convert) -> None:
    folder, _ = made
    said = convert("bisect", folder / "streaming.onnx", folder / "streaming.mlpackage", "--json")
    assert said.exit_code == 0, said.stderr
    assert {"melspec", "state_out"} <= {found["b"] for found in json.loads(said.stdout)["divergence"]["outputs"]}


def _with_graph(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(str(folder / "streaming.onnx"))
    change(model)
    onnx.save(model, str(folder / "streaming.onnx"))


def _forgetting(model: onnx.ModelProto) -> None:
    """What goes in as state comes out as it is."""
    (maker,) = (node for node in model.graph.node if "state_out" in node.output)
    maker.output[list(maker.output).index("state_out")] = "lost"
    model.graph.node.append(onnx.helper.make_node("Identity", ["state_in"], ["state_out"]))


def _swapped(model: onnx.ModelProto) -> None:
    """What is called the state is the frames, and the other way round."""
    names = {"state_out": "melspec", "melspec": "state_out"}
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            node.output[place] = names.get(name, name)
    for value in model.graph.output:
        value.name = names[value.name]


def _numbers(**changed: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        text["alternative_inputs"][0]["stream"].update(changed)
        (folder / "manifest.json").write_text(json.dumps(text), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda folder: _with_graph(folder, _forgetting), "values are over"),
        (_numbers(skipped=1), "values are over"),
        (_numbers(led=True, window=401), "expected"),
        (_numbers(state="state"), "inputs are ['chunk', 'state_in'], expected ['chunk', 'state']"),
        (_numbers(unread=160), "expected"),
        (_numbers(unread=2**20), "the sound has 16000 samples; too few for a frame"),
        (lambda folder: _with_graph(folder, _swapped), "gives no state_out of the state's own shape and type"),
    ],
    ids=[
        "a state that never changes",
        "a sample left out",
        "a window of another length",
        "another name",
        "too few",
        "none",
        "no state",
    ],
)
def test_chunks_that_do_not_give_the_whole_fail(
    made: tuple[Path, Any], damage: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    folder = copytree(made[0], tmp_path / "mel")
    damage(folder)
    found = manifest.read(folder)
    cases = [case for case in reference.read(folder).cases if case.name == "rich"]
    checks = check_artifact(file_of(folder, found, "streaming.onnx"), cases)
    assert why in " ".join(check.message for check in checks if check.status == "failed")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["mel_whisper80", "--streaming", "4"], "--streaming: mel_whisper80 has top_db 80"),
        (["mel_pann", "--streaming", "4", "--to", "c"], "made as ONNX, Core ML alone; leave out --to c"),
        (["pann", "--weights", "synthetic", "--streaming", "4"], "mobilenetv1 needs whole sounds"),
        (["mel_pann", "--streaming", "0"], "should be greater than or equal to 1"),
        (["mel_pann", "--streaming", "2", "--output-name", "state_out"], "two tensors would be called 'state_out'"),
        (["mel_pann", "--streaming", "2", "--input-name", "chunk"], "two tensors would be called 'chunk'"),
    ],
)
def test_what_is_not_made_in_chunks_is_refused(convert: Convert, tmp_path: Path, words: list[str], why: str) -> None:
    said = convert("recipe", *words, "-o", tmp_path / "made")
    assert said.exit_code == 2
    assert why in " ".join(said.stderr.replace("│", " ").split())
    assert not (tmp_path / "made").exists()
