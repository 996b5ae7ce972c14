"""EAT from a training run's folder to checked files, and sound of any length through them."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile

from convert.targets import choose_runtime
from recipes.base import labels
from recipes.base.sound import rich
from validators.runners.runner import run_batch

RUN = "eat_s_urban8k_dp"
RATE, SAMPLES = 22050, 90112
WORDS = ("--to", "coreml", "--to", "npu", "--precision", "fp32", "--opset", 13)
NAMES = ("--input-name", "images", "--output-name", "output")

Convert = Callable[..., Any]


@pytest.fixture(scope="module")
def made(convert: Convert, stand_in: Callable[[str], Path], made_once: Callable[..., Path]) -> Path:
    """From DataParallel's form, in every format, with the names and the opset that the vendor's guide has."""
    run = stand_in(RUN)

    def make(folder: Path) -> None:
        before = {path: path.read_bytes() for path in run.iterdir()}
        said = convert("recipe", "eat", "--checkpoint", run, *WORDS, *NAMES, "-o", folder / "made")
        assert said.exit_code == 0, said.stdout + said.stderr
        # The run says what it is; of nothing but the calibration there is any doubt.
        known = ("npu/calibration", "`convert inspect` says why")
        assert [line for line in said.stderr.splitlines() if not any(words in line for words in known)] == []
        assert {path: path.read_bytes() for path in run.iterdir()} == before

    return made_once("eat", make) / "made"


@pytest.fixture(scope="module")
def manifest(made: Path) -> dict[str, Any]:
    return json.loads((made / "manifest.json").read_text(encoding="utf-8"))


def test_the_run_says_what_it_is(manifest: dict[str, Any]) -> None:
    assert (manifest["family"], manifest["variant"]) == ("eat", "eat_s_urban8k")
    assert (manifest["weights"], manifest["checkpoint_file"]) == ("custom", "chkpnt.pt")
    assert manifest["licence"] == "that of the training run's owner"
    assert manifest["command"].endswith("--opset 13 --precision fp32 --input-name images --output-name output")
    assert manifest["input"]["axes"] == ["batch", 1, SAMPLES]
    assert [output["name"] for output in manifest["outputs"]] == ["output"]


def test_the_graph_is_called_and_shaped_as_asked(made: Path) -> None:
    model = onnx.load(str(made / "model.onnx"))
    shape = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert (model.graph.input[0].name, shape) == ("images", ["batch", 1, SAMPLES])
    assert [value.name for value in model.graph.output] == ["output"]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    assert {node.op_type for node in model.graph.node}.isdisjoint({"LayerNormalization", "Attention", "If", "Loop"})


@pytest.mark.parametrize("runtime", ["onnxruntime", "tract", "executor", "executor-float32"])
def test_files_agree_with_the_authors(made: Path, truth: Callable[..., Any], runtime: str) -> None:
    artifact = made / ("model.onnx" if runtime in ("onnxruntime", "tract") else "model.mlpackage")
    runner = choose_runtime(artifact, runtime).open(artifact)
    for name, case in truth(RUN).items():
        logits = run_batch(runner, {"images": case["waveform"]})["output"]
        distance = np.abs(logits - case["logits"]).max()
        assert distance <= 1e-4 * np.abs(case["logits"]).max(), name
        swapped = np.abs(logits[:, ::-1] - case["logits"]).max()
        assert swapped > 100 * distance


def test_the_folder_is_verified_again(convert: Convert, made: Path) -> None:
    said = convert("check", made)
    assert said.exit_code == 0
    assert "NOT VERIFIED npu/model.npu.onnx, sgs-simulator" in said.stdout


def test_the_npus_pack_is_held_to_a_device(convert: Convert, made: Path, tmp_path: Path) -> None:
    """ONNX Runtime stands in for the vendor's simulator."""
    pack = made / "npu"
    runner = choose_runtime(pack / "model.npu.onnx").open(pack / "model.npu.onnx")
    for raw in sorted((pack / "inputs").iterdir()):
        fed = np.fromfile(raw, "<f4").reshape(1, 1, -1)
        runner.run({"images": fed})["output"].astype("<f4").tofile(tmp_path / f"{raw.stem}.bin")
        (tmp_path / raw.stem).mkdir()
        (tmp_path / f"{raw.stem}.bin").rename(tmp_path / raw.stem / "output.bin")
    assert convert("compare", pack / "expected", tmp_path).exit_code == 0
    wrong = tmp_path / "rich" / "output.bin"
    wrong.write_bytes(np.fromfile(wrong, "<f4")[::-1].tobytes())
    said = convert("compare", pack / "expected", tmp_path)
    assert said.exit_code == 1
    assert "FAILED" in said.stdout
    assert "rich" in said.stdout


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for name, seconds in (("short", 1.0), ("long", 9.0)):
        soundfile.write(folder / f"{name}.wav", 0.3 * rich(round(seconds * 32000), 32000, seed=3), 32000, "FLOAT")
    soundfile.write(folder / "silence.wav", np.zeros(32000, np.float32), 32000, "FLOAT")
    return folder


@pytest.mark.parametrize("artifact", ["model.onnx", "model.mlpackage", "npu/model.npu.onnx"])
def test_one_class_of_all_is_there(convert: Convert, made: Path, sounds: Path, artifact: str) -> None:
    for name in ("short.wav", "silence.wav"):
        said = convert("run", made / artifact, sounds / name, "--json")
        assert (said.exit_code, said.stderr) == (0, "")
        (row,) = json.loads(said.stdout)["top"]
        assert sum(entry["score"] for entry in row) == pytest.approx(1, abs=1e-5)
        assert {entry["label"] for entry in row} == {label.name for label in labels.load("urban8k")}


def test_what_of_a_longer_sound_was_used_is_said(convert: Convert, made: Path, sounds: Path) -> None:
    said = convert("run", made / "model.onnx", sounds / "long.wav", "--top", 1)
    assert said.exit_code == 0
    assert said.stderr == f"note: {sounds / 'long.wav'}: used the first 4.087 s of 9 s; --hop S goes over all of it\n"
    assert len(said.stdout.splitlines()) == 1


def test_a_window_goes_over_a_longer_sound(convert: Convert, made: Path, sounds: Path, tmp_path: Path) -> None:
    words = ("run", made / "model.onnx", sounds / "long.wav", "--hop", 2.5)
    said = convert(*words)
    assert (said.exit_code, said.stderr) == (0, "")
    starts = [re.match(r"(\d+\.\d\d) to (\d+\.\d\d) s  0\.\d{4}  \w", line) for line in said.stdout.splitlines()]
    assert [(found[1], found[2]) for found in starts if found] == [("0.00", "4.09"), ("2.50", "6.59"), ("5.00", "9.00")]
    # The first window is what the sound gives without windows: both are normalised as a whole.
    assert convert(*words, "-o", tmp_path / "windows.npz", "--json").exit_code == 0
    assert convert(*words[:3], "-o", tmp_path / "first.npz").exit_code == 0
    with np.load(tmp_path / "windows.npz") as windows, np.load(tmp_path / "first.npz") as first:
        assert windows["output"].shape == (3, 10)
        np.testing.assert_array_equal(windows["output"][:1], first["output"])


@pytest.mark.parametrize("hop", ["0", "nan", "inf", "-1"])
def test_a_hop_that_is_none(convert: Convert, made: Path, sounds: Path, hop: str) -> None:
    said = convert("run", made / "model.onnx", sounds / "long.wav", "--hop", hop)
    assert said.exit_code == 2
    assert "--hop" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_hop_needs_a_window(convert: Convert, made_pann: Any, sounds: Path) -> None:
    said = convert("run", made_pann.onnx, sounds / "long.wav", "--hop", 1)
    assert said.is_one_clear_error("this one takes any: leave it out")


def test_the_card_says_what_happens_before_and_after_the_net(made: Path) -> None:
    card = (made / "README.md").read_text(encoding="utf-8")
    assert "peak at 0.95, cut or padded with zeros" in card
    assert "before the softmax" in card
    code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]
    checked = code + "\nassert probabilities.shape == (1, 10) and abs(probabilities.sum() - 1) < 1e-5"
    subprocess.run([sys.executable, "-c", checked], check=True, cwd=made)


@pytest.mark.parametrize(("name", "seconds"), [("short", 1.0), ("long", 9.0), ("silence", 1.0)])
def test_the_example_says_what_the_command_says(made: Path, tmp_path: Path, name: str, seconds: float) -> None:
    sound = 0.3 * rich(round(seconds * RATE), RATE, seed=3) * (name != "silence")
    soundfile.write(tmp_path / f"{name}.wav", sound, RATE, "FLOAT")
    words = [made / "model.onnx", tmp_path / f"{name}.wav"]
    root = Path(__file__).resolve().parents[2]
    example, command = (
        subprocess.run([sys.executable, *line], capture_output=True, text=True, check=True, cwd=root).stdout
        for line in (["examples/tag_sound.py", *words], ["-m", "convert", "run", *words, "--top", "5"])
    )
    assert example == command


def test_an_unknown_set_has_numbered_classes_until_they_are_named(
    convert: Convert, stand_in: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convert import subject

    run = tmp_path / "run"
    run.mkdir()
    text = (stand_in(RUN) / "args.yml").read_text(encoding="utf-8").replace("urban8k", "doors")
    (run / "args.yml").write_text(text, encoding="utf-8")
    (run / "chkpnt.pt").symlink_to(stand_in(RUN) / "chkpnt.pt")
    seen: list[Any] = []

    def stop(found: Any, *_: Any) -> None:
        seen.append(found)
        raise KeyboardInterrupt

    monkeypatch.setattr("convert.pipeline.branches", stop)
    (tmp_path / "names.txt").write_text("".join(f"door {index}\n" for index in range(10)))
    for words in ([], ["--labels", tmp_path / "names.txt"]):
        assert convert("recipe", "eat", "--checkpoint", run, *words, "-o", tmp_path / "made").exit_code == 130
    assert [found.classes[3].name for found in seen] == ["class 3", "door 3"]
    assert [found.warnings for found in seen] == [
        ("chkpnt.pt has 10 classes of its own: they are numbered; --labels FILE names them",),
        (),
    ]
    assert all(isinstance(found, subject.Subject) and found.variant.name == "eat_of_a_run" for found in seen)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["eat_m_audioset"], "is of EAT-S UrbanSound8K, and eat_m_audioset is asked for; use `convert recipe eat`"),
        (
            ["eat", "--to", "coreml", "--seconds", 4],
            "--seconds 4: EAT-S UrbanSound8K takes exactly 4.08671 s: leave it out",
        ),
        (["eat", "--output-name", "a", "--output-name", "b"], "logits has a name already, a; give it one"),
        (["eat", "--input-name", "logits"], "two tensors would be called 'logits'"),
    ],
    ids=["another", "length", "two names", "one name"],
)
def test_what_the_run_is_not(
    convert: Convert, stand_in: Callable[[str], Path], tmp_path: Path, words: list[Any], part: str
) -> None:
    said = convert("recipe", *words, "--checkpoint", stand_in(RUN), "-o", tmp_path / "made")
    assert said.is_one_clear_error(part)
    assert not (tmp_path / "made").exists()


def test_hostile_arguments_are_one_line(convert: Convert, stand_in: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "chkpnt.pt").symlink_to(stand_in(RUN) / "chkpnt.pt")
    canary = tmp_path / "canary"
    (tmp_path / "args.yml").write_text(f"nf: 16\nrun: !!python/object/apply:os.mkdir [{canary}]\n")
    said = convert("recipe", "eat", "--checkpoint", tmp_path, "-o", tmp_path / "made")
    assert said.is_one_clear_error("line 2: is read as 'python/object/apply:os.mkdir', which is not allowed")
    assert not canary.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"chkpnt.pt", "args.yml"}


def test_nobody_publishes_weights(convert: Convert, tmp_path: Path) -> None:
    said = convert("recipe", "eat", "-o", tmp_path / "made")
    assert said.is_one_clear_error("nobody publishes weights of eat_s_esc50: give those of a training run")
