"""`--streaming CHUNK --ios 18`: a package that keeps the state between its chunks itself, and what it is held to."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import util
from pathlib import Path
from shutil import copytree
from types import ModuleType
from typing import Any

import coremltools as ct
import numpy as np
import pytest

from convert import manifest
from convert.manifest import Artifact
from convert.targets import named
from convert.verify import File, check_artifact
from recipes.base.sound import rich
from validators import reference
from validators.coreml import CoreMLModel
from validators.runners import streamed
from validators.runners.coreml import open_stored
from validators.values import check_values

Convert = Callable[..., Any]

NAME = "streaming.mlpackage"
# A state of 192 samples, and chunks of 128: zeros have to fill what is fed before the first one.
NUMBERS = ("sample_rate=8000", "fmax=3800", "n_fft=256", "hop_length=64", "n_mels=20")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, convert: Convert) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("own") / "mel"
    words = [word for number in NUMBERS for word in ("--set", number)]
    command = ["recipe", "mel_avatar", *words, "--to", "coreml", "--streaming", "2", "--ios", "18", "-o", folder]
    return folder, convert(*command, "--json")


@pytest.fixture(scope="module")
def host(made: tuple[Path, Any]) -> Iterator[ModuleType]:
    """The program that lies in the folder."""
    spec = util.spec_from_file_location("shipped_streaming", made[0] / "frontend" / "streaming.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_every_sound_is_fed_through_its_state_and_passes(made: tuple[Path, Any], convert: Convert) -> None:
    folder, said = made
    assert said.exit_code == 0, said.stdout[-2000:]
    again = convert("check", folder, "--json")
    assert again.exit_code == 0
    cases = {case.name for case in reference.read(folder).cases}
    for answer in (said, again):
        checks = [check for check in json.loads(answer.stdout)["checks"] if check["artifact"] == NAME]
        for runtime in ("executor", "executor-float32"):
            values = [check for check in checks if check["runtime"] == runtime and check["kind"] == "values"]
            assert {check["case"] for check in values} == cases
            assert {check["status"] for check in values} == {"passed"}


def test_the_state_is_no_input_and_the_other_package_is_as_ever(made: tuple[Path, Any]) -> None:
    folder, _ = made
    spec = ct.utils.load_spec(str(folder / NAME))
    assert spec.specificationVersion == 9
    ports = {port.name: list(port.type.multiArrayType.shape) for port in (*spec.description.input,)}
    given = {port.name: list(port.type.multiArrayType.shape) for port in spec.description.output}
    assert (ports, given) == ({"chunk": [1, 128]}, {"melspec": [1, 20, 2]})
    (state,) = spec.description.state
    assert (state.name, list(state.type.stateType.arrayType.shape)) == ("state_in", [3, 192])
    assert ct.utils.load_spec(str(folder / "model.mlpackage")).specificationVersion == 7


def test_the_manifest_says_which(made: tuple[Path, Any]) -> None:
    found = manifest.read(made[0])
    assert " --ios 18 " in found.command
    assert found.artifacts[NAME].settings["ios"] == "18"
    assert found.artifacts["model.mlpackage"].settings["ios"] == "16"
    # Folders from before there was a choice.
    older = Artifact("coreml", "chunk", "mixed", 128, {"precision": "mixed", "seconds": None})
    assert older.settings["ios"] == "16"
    with pytest.raises(ValueError, match="the setting ios cannot be '17'"):
        Artifact("coreml", "chunk", "mixed", 128, {"precision": "mixed", "seconds": None, "ios": "17"})


@pytest.mark.parametrize("scale", [1, 1e-3, 1e-6, 32768])
def test_float16_keeps_every_bit_of_a_sample_in_three_parts(made: tuple[Path, Any], scale: float) -> None:
    model = CoreMLModel(made[0] / NAME)
    state = model.make_state()
    sound = np.random.default_rng(1).uniform(-scale, scale, (1, 256)).astype(np.float32)
    for start in (0, 128):
        model.predict({"chunk": sound[:, start : start + 128]}, state=state)
    first, second, third = state.read_state("state_in").astype(np.float64)
    np.testing.assert_allclose(first + (second + third / 2048) / 2048, sound[0, -192:], rtol=0, atol=7.2e-15)
    # One part alone is not enough.
    assert np.abs(first - sound[0, -192:]).max() > 1e-5 * scale


def test_the_host_needs_no_new_state_for_a_new_sound(made: tuple[Path, Any], host: ModuleType) -> None:
    folder, _ = made
    numbers = json.loads((folder / "frontend" / "streaming.json").read_text(encoding="utf-8"))
    model = CoreMLModel(folder / NAME)
    used = model.make_state()

    def frames(sound: np.ndarray, state: Any, feed: Callable[[Any], Any]) -> np.ndarray:
        stream = host.Stream(feed(lambda chunk: model.predict({"chunk": chunk}, state=state)["melspec"]), numbers)
        return np.concatenate([*stream.feed(sound), *stream.finish()], axis=2)

    sounds = [rich(1100, 8000, seed) for seed in (3, 4)]
    found = [frames(sound, used, host.remembering) for sound in sounds]
    for sound, got in zip(sounds, found, strict=True):
        np.testing.assert_array_equal(got, frames(sound, model.make_state(), host.remembering))
    # A host that forgets the first state has other frames at the beginning, and the same from there on.
    wrong = frames(sounds[0], model.make_state(), lambda run: lambda chunk, state: (run(chunk), state))
    assert not np.allclose(wrong[:, :, 0], found[0][:, :, 0], rtol=1e-3)
    np.testing.assert_array_equal(wrong[:, :, 4:], found[0][:, :, 4:])


def _operation(spec: Any, kind: str) -> Any:
    (function,) = spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    (found,) = (operation for operation in block.operations if operation.type == kind)
    return found


def _forgetting(spec: Any) -> None:
    """What is written is what was read."""
    (data,) = _operation(spec, "write_state").inputs["data"].arguments
    data.name = _operation(spec, "read_state").outputs[0].name


def _state(spec: Any) -> Any:
    return spec.description.state[0].type.stateType.arrayType


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_forgetting, "values are over"),
        (lambda spec: setattr(spec, "specificationVersion", 8), "version is 8, expected 9 (iOS 18)"),
        (lambda spec: setattr(_state(spec), "dataType", 65568), "the state state_in is not float16 of [3, 192]"),
        (lambda spec: _state(spec).shape.append(1), "the state state_in is not float16 of [3, 192]"),
        (lambda spec: spec.description.state.pop(), "states are [], expected ['state_in']"),
        (
            lambda spec: spec.description.output.add(name="more"),
            "outputs are ['melspec', 'more'], expected ['melspec']",
        ),
    ],
    ids=["a state that never changes", "for another iOS", "in float32", "of another shape", "no state", "more"],
)
def test_a_package_that_keeps_another_state_fails(
    made: tuple[Path, Any], tmp_path: Path, damage: Callable[[Any], object], why: str
) -> None:
    package = copytree(made[0] / NAME, tmp_path / NAME)
    spec = ct.utils.load_spec(str(package))
    damage(spec)
    (package / "Data" / "com.apple.CoreML" / "model.mlmodel").write_bytes(spec.SerializeToString())
    assert why in _failed(made[0], package)


def test_a_package_for_18_is_none_for_16_nor_the_other_way_round(made: tuple[Path, Any]) -> None:
    folder, _ = made
    said = _failed(folder, folder / NAME, ios="16")
    assert "version is 9, expected 7 (iOS 16); states are ['state_in'], expected []" in said
    assert "inputs are ['chunk'], expected ['chunk', 'state_in']" in said
    assert "version is 7, expected 9 (iOS 18); states are []" in _failed(folder, folder / "model.mlpackage")


def _failed(folder: Path, package: Path, ios: str = "18") -> str:
    found = manifest.read(folder)
    tensor, outputs = found.fed_by("chunk")
    artifact = replace(found.artifacts[NAME], settings={"precision": "mixed", "seconds": None, "ios": ios})
    cases = [case for case in reference.read(folder).cases if case.name == "rich"]
    checks = check_artifact(File(package.parent, package.name, artifact, named("coreml"), tensor, outputs), cases)
    return " ".join(check.message for check in checks if check.status == "failed")


def test_what_feeds_it_without_its_first_state_fails(made: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = made
    tensor, outputs = manifest.read(folder).fed_by("chunk")
    cases = [case for case in reference.read(folder).cases if case.name == "rich"]

    def statuses() -> set[str]:
        runner = streamed.of_sounds(open_stored(folder / NAME), tensor)
        checks = check_values(runner, cases, outputs, artifact=NAME, precision="mixed")
        return {check.status for check in checks if check.kind == "values"}

    assert statuses() == {"passed"}
    monkeypatch.setattr(streamed, "remembering", lambda run: lambda chunk, state: (run(chunk), state))
    assert statuses() == {"failed"}


def test_the_card_makes_a_state_and_feeds_it_first(made: tuple[Path, Any]) -> None:
    card = (made[0] / "README.md").read_text(encoding="utf-8")
    swift = card.split(f"## `{NAME}` in Swift, Core ML, iOS 18")[1].split("```")[1]
    assert "let state = model.makeState()" in swift
    assert "model.prediction(from: features, using: state)" in swift
    assert "for _ in 0..<2 {" in swift
    assert "in a state that the host makes for a sound" in card
    assert "state_in" not in swift


def test_it_is_inspected_compared_and_run_on_a_whole_sound_where_its_folder_says_how(
    made: tuple[Path, Any], convert: Convert, sounds: Path, tmp_path: Path
) -> None:
    folder, _ = made
    shown = json.loads(convert("inspect", folder / NAME, "--json").stdout)
    assert shown["functions"][0]["states"] == [["state_in", "float16", "(3, 192)"]]
    assert "state_in" in convert("inspect", folder / NAME).stdout
    assert convert("compare", folder / "streaming.onnx", folder / NAME).exit_code == 0
    sound = next(iter(sorted(sounds.glob("*.wav"))))
    assert convert("run", folder / NAME, sound).exit_code == 0
    shutil.copytree(folder / NAME, tmp_path / NAME)
    said = convert("run", tmp_path / NAME, sound)
    assert said.exit_code == 2
    assert "takes sound in chunks, and keeps a state between them" in " ".join(said.stderr.split())


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            ["--to", "coreml", "--ios", "18"],
            "--ios: is of files that take chunks; add --streaming CHUNK, or leave it out",
        ),
        (["--ios", "18", "--streaming", "2"], "--ios belongs to --to coreml; add --to coreml, or leave it out"),
        (["--to", "coreml", "--ios", "17", "--streaming", "2"], "'17' is not one of 16, 18"),
    ],
)
def test_what_would_change_nothing_is_refused(convert: Convert, tmp_path: Path, words: list[str], why: str) -> None:
    said = convert("recipe", "mel_avatar", *words, "-o", tmp_path / "made")
    assert said.exit_code == 2
    assert why in " ".join(said.stderr.replace("│", " ").split())
    assert not (tmp_path / "made").exists()
