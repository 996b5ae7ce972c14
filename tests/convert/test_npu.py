"""`--to npu`: what the vendor's tools are given, and what is said of it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from convert.subject import Branch
from convert.targets import npu
from convert.targets.target import Job, Product
from convert.verify import File, check_artifact
from exporters.lowering import lower
from exporters.onnx.opset import to_opset
from recipes.base.errors import UserError
from recipes.base.facts import facts_of
from recipes.base.spec import Preparation, Variant
from validators.compare import Sampled
from validators.results import Check
from validators.runners.pytorch import answers
from validators.values import Case

Convert = Callable[..., Any]


@contextmanager
def _step(_: str) -> Iterator[None]:
    yield


def _case(name: str, model: Any, batch: int, size: int, stride: int = 1) -> Case:
    seed = sum(map(ord, name))
    inputs = {"images": np.random.default_rng(seed).standard_normal((batch, 2, 3, size)).astype(np.float32)}
    expected = {output: Sampled.of(value, stride) for output, value in answers(model, inputs).items()}
    return Case(name, inputs, expected)


@pytest.fixture
def branch(tiny: Variant, tiny_model: Any) -> Branch:
    """As fed by its one input: four steps to a "second"; cases of one and of two clips, of another length, in part."""
    cases = (
        _case("rich", tiny_model, 1, 8),
        _case("pair", tiny_model, 2, 8),
        _case("odd", tiny_model, 1, 7),
        _case("part", tiny_model, 1, 8, stride=3),
        _case("long", tiny_model, 1, 19),
    )
    return Branch(
        variant=tiny,
        model=tiny_model,
        facts=facts_of(tiny, "synthetic", "0" * 64, tuple("abcde")),
        cases=cases,
        sweep=(),
        stem="model",
        size=lambda samples: samples // (tiny.sample_rate // 4),
        recordings={},
    )


@pytest.fixture
def make(tiny_exported: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[Path, Product]]:
    monkeypatch.setattr("exporters.onnx.export.export", lambda *_: tiny_exported)

    def run(branch: Branch, seconds: float | None = 2.0) -> tuple[Path, Product]:
        lowered = lower(branch.model, branch.variant)
        return tmp_path, npu.make(Job(branch, lowered, {"seconds": seconds}, tmp_path, _step))

    return run


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_pack_has_what_the_tools_read(make: Any, branch: Branch) -> None:
    folder, product = make(branch)
    rows = {"rich", "pair.1", "pair.2", "part"}
    assert _files(folder) == {
        "npu/model.npu.onnx",
        "npu/input_config.ini",
        "npu/tiny.cfg",
        "npu/raw_preprocess.py",
        *(f"npu/calibration/{name}.bin" for name in rows),
        *(f"npu/inputs/{name}.bin" for name in rows),
        *(f"npu/expected/{name}.npz" for name in rows),
    }
    ((name, artifact),) = product.artifacts.items()
    assert (name, artifact.format, artifact.size) == ("npu/model.npu.onnx", "npu", 8)
    assert product.notes == ("npu: of another length, and so not in inputs and expected: odd, long",)


def test_the_pack_of_another_input_lies_beside_it(make: Any, branch: Branch) -> None:
    folder, product = make(replace(branch, stem="model.melspec"))
    assert list(product.artifacts) == ["npu.melspec/model.melspec.npu.onnx"]
    assert (folder / "npu.melspec" / "input_config.ini").is_file()


def test_inputs_and_answers_are_in_the_toolchains_order(make: Any, branch: Branch) -> None:
    folder, _ = make(branch)
    pair = branch.cases[1]
    read = np.fromfile(folder / "npu" / "inputs" / "pair.2.bin", "<f4").reshape(1, 3, 8, 2)
    np.testing.assert_array_equal(read[0], pair.inputs["images"][1].transpose(1, 2, 0))
    with np.load(folder / "npu" / "expected" / "pair.2.npz") as file:
        whole = Sampled.of(pair.expected["map"]).values.reshape(2, 4, 3, 8)
        np.testing.assert_array_equal(file["map"][0], whole[1].transpose(1, 2, 0))
        assert file["logits"].shape == (1, 5)


def test_answers_are_whole_where_the_reference_is_not(make: Any, branch: Branch) -> None:
    folder, _ = make(branch)
    with np.load(folder / "npu" / "expected" / "part.npz") as file:
        found = file["map"].transpose(0, 3, 1, 2)
    wanted = Sampled.of(branch.cases[3].expected["map"])
    assert wanted.stride == 3
    np.testing.assert_array_equal(wanted.sampled(found), wanted.values)


def _checked(folder: Path, product: Product, branch: Branch) -> list[Check]:
    ((name, artifact),) = product.artifacts.items()
    file = File(folder, name, artifact, npu.TARGET, branch.variant.input, branch.variant.outputs)
    return check_artifact(file, branch.cases)


def test_every_row_is_held_to_pytorch_by_a_runtime_that_says_what_it_is(make: Any, branch: Branch) -> None:
    folder, product = make(branch)
    checks = _checked(folder, product, branch)
    assert [check for check in checks if check.status == "failed"] == []
    values = [check for check in checks if check.kind == "values"]
    assert {check.artifact for check in checks} == {"npu/model.npu.onnx"}
    assert {check.case for check in values if check.status == "passed"} == {"rich", "pair", "part"}
    assert {check.runtime for check in values if check.status == "passed"} == {"onnxruntime-stand-in"}
    (unseen,) = (check for check in values if check.status == "not verified")
    assert unseen.runtime == "sgs-simulator"
    assert "the quantised model is unseen" in unseen.message


def test_a_swapped_axis_in_the_graph_fails(make: Any, branch: Branch) -> None:
    folder, product = make(branch)
    (name,) = product.artifacts
    model = onnx.load(str(folder / name))
    (node,) = (node for node in model.graph.node if "map" in node.output)
    node.output[0] = "straight"
    for other in model.graph.node:
        other.input[:] = ["straight" if value == "map" else value for value in other.input]
    # A sound's ends changed places: the shape is the same.
    ends = {"starts": [-1], "ends": [-100], "axes": [3], "steps": [-1]}
    for key, value in ends.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.int64), key))
    model.graph.node.append(onnx.helper.make_node("Slice", ["straight", *ends], ["map"]))
    onnx.save(model, str(folder / name))
    checks = _checked(folder, product, branch)
    assert {check.output for check in checks if check.status == "failed"} == {"map"}


def _recorded(branch: Branch, *names: str) -> Branch:
    """The branch where these cases are the user's own sounds."""
    return replace(branch, recordings={case.name: case.inputs["images"] for case in branch.cases if case.name in names})


def test_a_recording_is_padded_where_the_network_is_fed_padded_sound(make: Any, branch: Branch) -> None:
    fixed = replace(branch.variant, input=replace(branch.variant.input, least=8, most=8))
    prepared = replace(_recorded(branch, "long"), variant=replace(fixed, preparation=Preparation(peak=0.95)))
    folder, product = make(prepared, seconds=None)
    assert _files(folder / "npu" / "calibration") == {"long.1.bin", "long.2.bin", "long.3.bin"}
    last = np.fromfile(folder / "npu" / "calibration" / "long.3.bin", "<f4").reshape(3, 8, 2)
    np.testing.assert_array_equal(last[:, :3], branch.cases[4].inputs["images"][0, :, :, 16:].transpose(1, 2, 0))
    assert not last[:, 3:].any()
    assert product.warnings == ()


def test_the_cards_first_steps_leave_the_folder_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "npu").mkdir()
    (tmp_path / "npu" / "model.npu.onnx").write_bytes(b"graph")
    sample = npu.TARGET.sample.format(file="npu/model.npu.onnx", stem="model.npu", sizes="1,1,114688")
    (first,) = (line for line in sample.splitlines() if line.startswith("pack="))
    done = subprocess.run(["bash", "-ec", f"{first} && ls && pwd"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["model.npu.onnx", done.stdout.split()[-1]]
    assert not done.stdout.split()[-1].startswith(str(tmp_path / "npu"))
    assert [path.name for path in tmp_path.iterdir()] == ["npu"]
    assert "--input_shapes 1,1,114688 " in sample


def test_recordings_are_cut_into_clips_to_calibrate_on(make: Any, branch: Branch) -> None:
    folder, product = make(_recorded(branch, "long"))
    assert _files(folder / "npu" / "calibration") == {"long.1.bin", "long.2.bin"}
    second = np.fromfile(folder / "npu" / "calibration" / "long.2.bin", "<f4").reshape(1, 3, 8, 2)
    np.testing.assert_array_equal(second[0], branch.cases[4].inputs["images"][0, :, :, 8:16].transpose(1, 2, 0))
    assert product.warnings == ()


@pytest.mark.parametrize(
    ("recorded", "said"),
    [((), "holds generated sound: enough"), (("odd",), "since the recordings are shorter than the input: enough")],
)
def test_that_nothing_was_recorded_is_said(make: Any, branch: Branch, recorded: tuple[str, ...], said: str) -> None:
    _, product = make(_recorded(branch, *recorded))
    (warning,) = product.warnings
    assert said in warning
    assert "--audio FILE" in warning


def test_an_operator_that_the_vendor_may_not_take_is_warned_of(
    make: Any, branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporters.npu.graph._CONVERTED", "Relu Reshape Gemm ReduceMean")
    _, product = make(_recorded(branch, "long"))
    assert product.warnings == ("npu/model.npu.onnx: the vendor's converter is not known to take Conv",)


def test_a_length_is_needed_where_there_is_more_than_one(tiny: Variant) -> None:
    with pytest.raises(UserError, match=r"--to npu: the NPU takes sound of one length .* choose it with --seconds S"):
        npu.refuse({"seconds": None}, tiny)
    with pytest.raises(UserError, match="--seconds 1: "):
        npu.refuse({"seconds": 1.0}, tiny)
    npu.refuse({"seconds": None}, replace(tiny, input=replace(tiny.input, least=8, most=8)))


def test_a_variant_of_one_length_needs_none(make: Any, branch: Branch) -> None:
    fixed = replace(branch.variant, input=replace(branch.variant.input, least=8, most=8))
    _, product = make(replace(branch, variant=fixed), seconds=None)
    (artifact,) = product.artifacts.values()
    assert (artifact.size, artifact.settings) == (8, {"seconds": None})


def test_the_command_refuses_before_it_reads_weights(convert: Convert, tmp_path: Path) -> None:
    said = convert("recipe", "pann", "--to", "npu", "--weights", "synthetic", "-o", tmp_path / "made")
    assert said.is_one_clear_error("choose it with --seconds S")
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_from_end_to_end(
    convert: Convert, quick: list[str], exported_pann: Path, sounds: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    content = exported_pann.read_bytes()
    monkeypatch.setattr(
        "exporters.onnx.export.export", lambda *words: to_opset(onnx.load_from_string(content), words[2])
    )
    made = tmp_path / "made"
    words = ["--to", "npu", "--seconds", "0.4", "--audio", sounds / "tone.wav", "-o", made]
    said = convert(*quick, *words)
    assert said.exit_code == 0, said.stdout + said.stderr
    assert "calibration" not in said.stderr
    assert "npu/model.npu.onnx, onnxruntime-stand-in, fp32" in said.stdout
    assert "NOT VERIFIED npu/model.npu.onnx, sgs-simulator, fp32" in said.stdout
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["artifacts"]["npu/model.npu.onnx"]["size"] == 12800
    assert _files(made / "npu" / "calibration") == {"tone.1.bin", "tone.2.bin"}
    assert _files(made / "npu" / "inputs") >= {"rich.bin", "silence.bin", "batch_of_2.1.bin", "batch_of_2.2.bin"}
    card = (made / "README.md").read_text(encoding="utf-8")
    assert "--input_shapes 1,12800 " in card
    assert convert("check", made).exit_code == 0
    words = ("run", made / "npu" / "model.npu.onnx", made / "reference" / "rich.wav", "--top", 1)
    ran = convert(*words, "--runtime", "onnxruntime-stand-in")
    assert ran.exit_code == 0, ran.stderr
    assert convert(*words, "--runtime", "npu").stdout == convert(*words).stdout == ran.stdout
    _compared_with_the_simulator(convert, made / "npu", tmp_path)
    (made / "npu" / "calibration" / "tone.1.bin").write_bytes(b"")
    assert "npu/calibration/tone.1.bin is not the file" in " ".join(convert("check", made).stdout.split())


def _compared_with_the_simulator(convert: Convert, pack: Path, tmp_path: Path) -> None:
    """ONNX Runtime stands in for the vendor's simulator; what it writes of each input is held to `expected`."""
    runner = npu.TARGET.runtimes[1].open(pack / "model.npu.onnx")
    for got in (tmp_path / "got", tmp_path / "swapped"):
        for raw in sorted((pack / "inputs").iterdir()):
            (got / raw.stem).mkdir(parents=True)
            for name, value in runner.run({"waveform": np.fromfile(raw, "<f4").reshape(1, -1)}).items():
                array = value.transpose(0, 2, 1) if (got.name, name) == ("swapped", "framewise") else value
                np.save(got / raw.stem / f"{name}.npy", array)
    said = convert("compare", pack / "expected", tmp_path / "got", "--json")
    assert said.exit_code == 0, said.stdout + said.stderr
    checks = json.loads(said.stdout)["checks"]
    cases = {check["case"] for check in checks if check["kind"] == "values" and check["status"] == "passed"}
    assert cases == {raw.stem for raw in (pack / "inputs").iterdir()}

    said = convert("compare", pack / "expected", tmp_path / "swapped", "--json")
    assert said.exit_code == 1
    failed = [check for check in json.loads(said.stdout)["checks"] if check["status"] == "failed"]
    assert {check["output"] for check in failed} == {"framewise"}
    assert any("axes 1 and 2 are swapped" in check["message"] for check in failed), failed[0]["message"]
