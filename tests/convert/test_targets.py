"""A format is one module: what that module says appears everywhere, and nothing else knows of it."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import reload
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from convert import cli, options, targets
from convert.commands import checking, looking, making
from convert.targets import TARGETS, asked_for, choose_runtime, declaring, named, of_artifact
from convert.targets.target import SECONDS, Option
from recipes.base.errors import UserError
from validators.runners import runtime

Convert = Callable[..., Any]

# NumPy's own arrays as a format: every case's inputs are looked up among those of the reference.
THIRD = """
    from convert.targets.target import Option, Product, Target
    from validators.results import judged
    from validators.runners.runtime import Runtime


    def make(job):
        import numpy as np

        from convert.manifest import Artifact

        name = f"{job.branch.stem}.answers.npz"
        arrays = {}
        for index, case in enumerate(job.branch.cases):
            (fed,) = case.inputs.values()
            arrays[f"{index}/fed"] = fed
            for output, value in case.expected.items():
                arrays[f"{index}/{output}"] = value.values.reshape(value.shape) + job.settings["off_by"]
        with job.step("answers"):
            np.savez(job.folder / name, **arrays)
        return Product({name: Artifact("answers", job.branch.variant.input.name, "fp32", None, dict(job.settings))})


    def check_file(path, artifact, tensor, outputs):
        return [judged(path.name, "fp32", "file", [])]


    def open_file(path):
        import numpy as np

        from validators.runners.runner import Port, Runner, RunnerError

        stored = dict(np.load(path))

        def run(inputs):
            (fed,) = inputs.values()
            for key, array in stored.items():
                if key.endswith("/fed") and array.shape == fed.shape and (array == fed).all():
                    index = key.split("/")[0]
                    return {k.split("/")[1]: v for k, v in stored.items() if k.split("/")[0] == index and k != key}
            raise RunnerError("knows no answer to this")

        ports = (Port("waveform", ("batch", "samples"), "float32"),)
        return Runner("table", ports, (), {}, run)


    TARGET = Target(
        name="answers",
        title="Answers",
        suffix=".npz",
        packages=("numpy",),
        # In a fork of this process, which knows the module that lies elsewhere.
        runtimes=(Runtime("table", "convert.targets.answers:open_file", needs=("numpy",)),),
        make=make,
        check_file=check_file,
        sample="## `{file}` in NumPy\\n\\nIt knows {names}.",
        options=(Option("off_by", float, "Add this to every answer.", default=0.0),),
        remarks=lambda artifact, manifest: "It knows these sounds alone.",
    )
"""


@pytest.fixture
def with_a_third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Convert]:
    """The command where one module more lies in the folder of the targets: the package's path is all that changes."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "answers.py").write_text(dedent(THIRD))
    monkeypatch.setattr(targets, "__path__", [*targets.__path__, str(tmp_path / "more")])
    monkeypatch.setattr(targets, "TARGETS", targets._found())
    _again()

    def invoke(*words: object) -> Result:
        return CliRunner().invoke(cli.app, [str(word) for word in words])

    yield invoke
    monkeypatch.undo()
    del sys.modules["convert.targets.answers"]
    _again()


def _again() -> None:
    """What is asked of the targets when it is imported."""
    for module in (options, making, checking, looking, cli):
        reload(module)


def test_a_third_format_is_one_module(with_a_third: Convert, quick: list[str], tmp_path: Path) -> None:
    said = with_a_third("recipe", "--help").stdout
    assert "onnx, answers, c, " in " ".join(said.replace("│", " ").split())
    assert "Options of Answers" in said
    assert "--off-by" in said
    assert "table" in with_a_third("run", "--help").stdout
    assert "Answers" in with_a_third("--help").stdout

    made = tmp_path / "made"
    said = with_a_third(*quick, "--to", "answers", "-o", made)
    assert said.exit_code == 0, said.stderr
    assert "model.answers.npz, table, fp32" in said.stdout
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["artifacts"]["model.answers.npz"]["settings"] == {"off_by": 0.0}
    assert "--to onnx --to answers" in manifest["command"]
    card = (made / "README.md").read_text(encoding="utf-8")
    assert "## `model.answers.npz` in NumPy\n\nIt knows clipwise, " in card
    assert "It knows these sounds alone." in card
    said = with_a_third("check", made)
    assert (said.exit_code, "model.answers.npz" in said.stdout) == (0, True)
    np.savez(tmp_path / "sound.npz", waveform=np.zeros((1, 9920), np.float32))
    assert "knows no answer" in with_a_third("run", made / "model.answers.npz", tmp_path / "sound.npz").stderr


@pytest.mark.slow
def test_a_third_formats_wrong_values_are_found(with_a_third: Convert, quick: list[str], tmp_path: Path) -> None:
    said = with_a_third(*quick, "--to", "answers", "--off-by", "0.5", "-o", tmp_path / "made")
    assert said.exit_code == 1
    assert "FAILED model.answers.npz, table, fp32" in said.stdout
    assert "FAILED model.onnx" not in said.stdout
    said = with_a_third(*quick, "--off-by", "0.5", "-o", tmp_path / "made")
    assert "--off-by belongs to --to answers; add --to answers" in said.stderr


def test_the_formats_are_known_by_name() -> None:
    assert [target.name for target in TARGETS] == ["onnx", "c", "coreml", "npu", "swift", "web"]
    assert named("coreml").title == "Core ML"
    known = "onnx, c, coreml, npu, swift, web"
    with pytest.raises(UserError, match=f"there is no format 'tflite'; the formats are {known}"):
        named("tflite")


def test_what_is_asked_for_has_its_settings() -> None:
    (only,) = asked_for((), {"opset": None})
    assert (only[0].name, only[1]) == ("onnx", {"opset": 17, "fast_in": ()})
    onnx, coreml = asked_for(("coreml",), {"opset": 13, "precision": "fp32", "seconds": None})
    assert onnx[1] == {"opset": 13, "fast_in": ()}
    assert asked_for((), {"fast_in": ("tract",)})[0][1] == {"opset": 17, "fast_in": ("tract",)}
    assert coreml[1] == {"precision": "fp32", "float32_op": (), "seconds": None, "ios": "16"}


@pytest.mark.parametrize(
    ("given", "owners"),
    [
        ({"precision": "fp32"}, "--to coreml or --to swift"),
        ({"seconds": 1.0}, "--to coreml or --to npu or --to swift"),
    ],
)
def test_an_option_of_what_is_not_asked_for_is_refused(given: dict[str, Any], owners: str) -> None:
    (name,) = given
    with pytest.raises(UserError, match=f"--{name} belongs to {owners}; add {owners}, or leave it out"):
        asked_for(("onnx",), given)
    asked_for(("coreml",), given)


def test_the_same_option_of_two_formats_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = replace(named("coreml"), name="twin", options=(SECONDS,))
    monkeypatch.setattr(targets, "TARGETS", (*TARGETS, twin))
    assert [target.name for target in declaring(SECONDS)] == ["coreml", "npu", "swift", "twin"]
    with pytest.raises(UserError, match="belongs to --to coreml or --to npu or --to swift or --to twin"):
        asked_for((), {"seconds": 1.0})
    assert dict(asked_for(("twin",), {"seconds": 1.0})[1][1]) == {"seconds": 1.0}


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        (
            Option("opset", int, "", default=17, least=13, most=20),
            [13, 20],
            [12, 21, None, "13", 13.5, True, []],
        ),
        (Option("seconds", float, "", least=0), [0, 0.5, None], [-1, "1", True, float("nan"), {}]),
        (Option("precision", ("fp32", "fp16"), "", default="fp32"), ["fp32"], ["bf16", None, 1, True]),
        (Option("name", str, ""), ["images", None], [1, True, []]),
        (
            Option("binary", ("here", "there"), "", default=(), repeat=True),
            [(), ("here",), ("there", "here")],
            [None, "here", ("nowhere",), 1],
        ),
        (Option("float32_op", str, "", default=(), repeat=True), [(), ("a", "b")], [None, "a", (1,), (None,)]),
    ],
    ids=["int", "float", "words", "text", "many words", "many texts"],
)
def test_an_option_knows_its_values(option: Option, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not option.admits(value)] == []
    assert [value for value in bad if option.admits(value)] == []


def test_artifacts_are_known_by_their_ending() -> None:
    assert of_artifact(Path("a/model.onnx")).runtime_names() == ("onnxruntime", "tract")
    assert of_artifact(Path("a/npu/model.npu.onnx")).name == "npu"
    assert of_artifact(Path("a/web/")).runtime_names() == ("browser",)
    assert of_artifact(Path("a/swift")).runtime_names() == ("coreml", "executor")
    assert of_artifact(Path("a/model.mlpackage")).runtime_names() == ("coreml", "executor", "executor-float32")
    with pytest.raises(UserError, match=r"must end in \.onnx or \.mlpackage or \.npu\.onnx, or be c or swift or web"):
        of_artifact(Path("a/model.tflite"))


def test_the_first_runtime_that_is_here_is_chosen(made_pann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_runtime(made_pann.onnx).name == choose_runtime(made_pann.onnx, "onnx").name == "onnxruntime"
    assert choose_runtime(made_pann.onnx, "tract").name == "tract"
    assert choose_runtime(made_pann.mlpackage, "executor-float32").name == "executor-float32"
    for platform, first in (("linux", "executor"), ("darwin", "coreml")):
        monkeypatch.setattr(runtime.sys, "platform", platform)
        assert choose_runtime(made_pann.mlpackage).name == choose_runtime(made_pann.mlpackage, "coreml").name == first


def test_a_runtime_that_cannot_run_it_is_refused(
    made_pann: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="cannot be run by coreml; choose onnxruntime or tract"):
        choose_runtime(made_pann.onnx, "coreml")
    with pytest.raises(UserError, match="no such file"):
        choose_runtime(tmp_path / "model.onnx")
    monkeypatch.setattr(runtime, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install tract"):
        choose_runtime(made_pann.onnx, "tract")


def test_what_the_command_says_of_itself_is_what_the_targets_say(convert: Convert) -> None:
    said = convert("recipe", "--help").stdout
    for target in TARGETS:
        for option in target.options:
            assert option.flag in said
        # An option that several declare stands under all their titles.
        assert not target.options or re.search(rf"Options of [^─]*{target.title}", said)
