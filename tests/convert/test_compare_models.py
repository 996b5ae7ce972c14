"""`convert compare` runs models, anybody's: one network passes whatever its tensors are called, faults fail."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper, numpy_helper

from recipes.base.sound import rich
from validators.runners.runner import Runner
from validators.runners.runtime import Runtime

Convert = Callable[..., Any]

SIZE = 300
RANDOM = np.random.RandomState(3)
WEIGHTS = {
    "scores": RANDOM.randn(SIZE, 4).astype(np.float32),
    "memory": RANDOM.randn(SIZE, 4).astype(np.float32),
    "map": RANDOM.randn(SIZE, 6).astype(np.float32),
}
NAMES = {"scores": "scores", "memory": "memory", "map": "map"}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runtimes in this process, which spares two starts a command; workers have tests of their own."""

    def open_(runtime: Runtime, artifact: Path, tensor: object = None) -> Runner:
        module, _, function = runtime.opener.partition(":")
        runner: Runner = getattr(import_module(module), function)(artifact)
        return runner

    monkeypatch.setattr(Runtime, "open", open_)


def _model(
    path: Path,
    *,
    fed: str = "x",
    axes: Sequence[str | int] = ("batch", SIZE),
    names: Mapping[str, str] = NAMES,
    shift: float = 0,
    extra: str = "",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Three products of what it is fed, named and ordered as `names` says; `shift` is added to the scores."""
    x = helper.make_tensor_value_info(fed, TensorProto.FLOAT, axes)
    inputs = [x]
    nodes = [helper.make_node("Flatten", [fed], ["flat"], axis=1)]
    if axes[0] == 1:
        nodes = [helper.make_node("Reshape", [fed, "row"], ["flat"])]
    constants = [
        numpy_helper.from_array(np.array([1, SIZE], np.int64), "row"),
        numpy_helper.from_array(np.float32(shift), "shift"),
    ]
    if extra:
        inputs.append(helper.make_tensor_value_info(extra, TensorProto.INT64, ()))
        nodes.append(helper.make_node("Cast", [extra], ["rate"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", ["flat", "rate"], ["scaled"]))
    source = "scaled" if extra else "flat"
    for own, weights in WEIGHTS.items():
        if own not in names:
            continue
        constants.append(numpy_helper.from_array(weights, f"weights_{own}"))
        nodes.append(helper.make_node("MatMul", [source, f"weights_{own}"], [f"product_{own}"]))
        last = ["Add", [f"product_{own}", "shift"]] if own == "scores" else ["Tanh", [f"product_{own}"]]
        nodes.append(helper.make_node(*last, [names[own]]))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (axes[0], WEIGHTS[own].shape[1]))
        for own, name in names.items()
    ]
    graph = helper.make_graph(nodes, "network", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_operatorsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, path)
    return path


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return _model(tmp_path / "ours.onnx")


def _failed(said: Any) -> list[tuple[str, str]]:
    return [(c["output"], c["kind"]) for c in json.loads(said.stdout)["checks"] if c["status"] == "failed"]


def _messages(said: Any) -> str:
    return "\n".join(c["message"] for c in json.loads(said.stdout)["checks"] if c["status"] != "passed")


@pytest.mark.usefixtures("here")
def test_another_ones_file_of_the_same_network_passes(convert: Convert, tmp_path: Path, ours: Path) -> None:
    """Other names, another order, another rank: what was assumed is told."""
    names = {"map": "215", "memory": "213", "scores": "214"}
    theirs = _model(tmp_path / "theirs.onnx", fed="audio", axes=(1, 1, SIZE), names=names)
    said = convert("compare", ours, theirs, "--json")
    assert said.exit_code == 0, said.stdout
    notes = json.loads(said.stdout)["notes"]
    assert "GOT's input 'audio' is fed what EXPECTED's 'x' is, the only one that fits its shape" in notes
    assert any("but for axes of 1" in note for note in notes)
    assert "scores: compared with GOT's '214', whose values are nearest; names and shapes do not tell" in notes
    assert "map: compared with GOT's '215', the only one of its shape" in notes
    assert notes[-1] == "tolerances: atol 0.0001, rtol 0.0001, the defaults of fp32"
    checks = json.loads(said.stdout)["checks"]
    assert {c["case"] for c in checks} == {"generated 1: 1x300", "generated 2: 1x300"}
    assert {c["runtime"] for c in checks} == {"onnxruntime"}


@pytest.mark.usefixtures("here")
def test_free_axes_are_tried_at_two_sizes(convert: Convert, ours: Path) -> None:
    said = convert("compare", ours, ours, "--json")
    assert {c["case"] for c in json.loads(said.stdout)["checks"]} == {"generated 1: 1x300", "generated 2: 2x300"}


@pytest.mark.usefixtures("here")
def test_planted_faults_are_found(convert: Convert, tmp_path: Path, ours: Path) -> None:
    def said(**how: Any) -> Any:
        return convert("compare", ours, _model(tmp_path / "theirs.onnx", **how), "--json")

    shifted = said(shift=0.01)
    assert (shifted.exit_code, _failed(shifted)) == (1, [("scores", "values")] * 2)
    swapped = said(names={"scores": "memory", "memory": "scores", "map": "map"})
    assert _failed(swapped) == [("scores", "values"), ("memory", "values")] * 2
    assert "are they swapped?" in _messages(swapped)
    missing = said(names={"scores": "scores", "map": "map"})
    assert _failed(missing) == [("memory", "names")] * 2
    assert "GOT has no 'memory', and no other that its shape or its values tell; GOT has scores, map" in _messages(
        missing
    )
    nan = said(shift=float("nan"))
    assert _failed(nan) == [("scores", "values")] * 2
    assert "actual values are NaN or infinite" in _messages(nan)
    # What is near nothing stands against what is left over, and fails.
    renamed = said(shift=100, names={"scores": "a", "memory": "b", "map": "c"})
    assert _failed(renamed) == [("scores", "values")] * 2


@pytest.mark.usefixtures("here")
def test_a_wrong_shape_is_found(convert: Convert, tmp_path: Path, ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WEIGHTS, "map", WEIGHTS["map"][:, :5])
    said = convert("compare", ours, _model(tmp_path / "theirs.onnx"), "--json")
    assert said.exit_code == 1
    assert _failed(said) == [("map", "shape")] * 2


@pytest.mark.usefixtures("here")
def test_an_input_that_one_side_has_alone_is_given_or_refused(convert: Convert, tmp_path: Path, ours: Path) -> None:
    theirs = _model(tmp_path / "theirs.onnx", fed="audio", extra="sr")
    said = convert("compare", ours, theirs)
    assert said.is_one_clear_error("GOT's input 'sr' int64 [] has no partner")
    np.savez(tmp_path / "one.npz", sr=np.array(1))
    assert convert("compare", ours, theirs, "--on", tmp_path / "one.npz").exit_code == 0
    np.savez(tmp_path / "two.npz", sr=np.array(2))
    assert convert("compare", ours, theirs, "--on", tmp_path / "two.npz").exit_code == 1
    np.savez(tmp_path / "typo.npz", rate=np.array(1))
    said = convert("compare", ours, theirs, "--on", tmp_path / "typo.npz")
    assert said.is_one_clear_error("holds rate, and the inputs are x, audio, sr; name arrays so")


@pytest.mark.usefixtures("here")
def test_inputs_that_exclude_each_other_are_one_clear_error(convert: Convert, tmp_path: Path, ours: Path) -> None:
    theirs = _model(tmp_path / "theirs.onnx", axes=("batch", 3, SIZE // 3))
    assert convert("compare", ours, theirs).is_one_clear_error("take no shape in common; say which input is which")
    np.savez(tmp_path / "other.npz", x=np.zeros((1, 5), np.float32))
    said = convert("compare", ours, ours, "--on", tmp_path / "other.npz")
    assert said.is_one_clear_error("other: x has the shape [1, 5], and EXPECTED takes float32 [batch, 300]")
    assert convert("compare", ours, ours, "--map", "x").is_one_clear_error("--map x: give EXPECTED's name and GOT's")


@pytest.mark.usefixtures("here")
def test_sound_is_fed_at_the_rate_that_a_model_says(convert: Convert, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", rich(4000, 16000), 16000, "FLOAT")
    ours = _model(tmp_path / "ours.onnx", metadata={"sample_rate": "8000"})
    said = convert("compare", ours, ours, "--on", tmp_path / "tone.wav", "--json")
    assert said.exit_code == 0
    assert any("tone.wav: used the first 300 of 2000 samples" in n for n in json.loads(said.stdout)["notes"])
    assert {c["case"] for c in json.loads(said.stdout)["checks"]} == {"tone"}
    plain = _model(tmp_path / "plain.onnx")
    notes = json.loads(convert("compare", plain, plain, "--on", tmp_path / "tone.wav", "--json").stdout)["notes"]
    assert any("fed at its own rate, since no model says one" in note for note in notes)
    assert any("used the first 300 of 4000 samples" in note for note in notes)


@pytest.mark.usefixtures("here")
def test_a_dump_stands_against_a_model_that_is_fed_the_same(convert: Convert, tmp_path: Path, ours: Path) -> None:
    fed = tmp_path / "fed.npz"
    x = RANDOM.randn(1, SIZE).astype(np.float32)
    np.savez(fed, x=x)
    dump = tmp_path / "dump.npz"
    np.savez(dump, scores=x @ WEIGHTS["scores"], memory=np.tanh(x @ WEIGHTS["memory"]), map=np.tanh(x @ WEIGHTS["map"]))
    for words in ((dump, ours), (ours, dump)):
        assert convert("compare", *words, "--on", fed).exit_code == 0
        said = convert("compare", *words)
        assert said.is_one_clear_error("is a dump, which does not say what the model was fed")
    said = convert("compare", dump, dump, "--on", fed)
    assert said.is_one_clear_error("--on is for models, and both sides are dumps")


def test_folders_of_two_models_are_told_first(convert: Convert, made_pann: Any, folder: Path) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(
        manifest.read_text("utf-8").replace('"variant": "mobilenetv1"', '"variant": "mn04_as"'), "utf-8"
    )
    said = convert("compare", made_pann.path, folder / "reference.json", "--json")
    assert json.loads(said.stdout)["notes"][0].startswith("EXPECTED is of mobilenetv1, and GOT of mn04_as: two models")
    said = convert("compare", made_pann.path, made_pann.path / "reference.json", "--json")
    assert not any("two models" in note for note in json.loads(said.stdout)["notes"])


@pytest.mark.usefixtures("here")
def test_a_made_folder_is_its_reference_and_as_got_its_models(convert: Convert, made_pann: Any, tmp_path: Path) -> None:
    said = convert("compare", made_pann.path, made_pann.onnx, "--case", "batch_of_2", "--json")
    assert said.exit_code == 0
    manifest = made_pann.path / "manifest.json"
    assert json.loads(said.stdout)["notes"] == [f"tolerances: those of {manifest} for fp32"]
    said = convert("compare", made_pann.path, made_pann.path, "--case", "shortest", "--json")
    assert said.exit_code == 0
    checks = json.loads(said.stdout)["checks"]
    assert {(c["artifact"], c["runtime"], c["precision"]) for c in checks} == {
        ("model.onnx", "onnxruntime", "fp32"),
        ("model.mlpackage", "executor", "mixed"),
    }
    # A stranger's copy, whose tensors have other names and which lies elsewhere.
    model = onnx.load(made_pann.onnx)
    for node in model.graph.node:
        node.input[:] = ["audio" if name == "waveform" else name for name in node.input]
        node.output[:] = ["out" if name == "clipwise" else name for name in node.output]
    model.graph.input[0].name = "audio"
    next(output for output in model.graph.output if output.name == "clipwise").name = "out"
    onnx.save(model, tmp_path / "strangers.onnx")
    said = convert(
        "compare", made_pann.path, tmp_path / "strangers.onnx", "--case", "shortest", "--map", "clipwise=out"
    )
    assert said.exit_code == 0, said.stdout
    assert "is fed the reference's 'waveform'" in said.stderr


@pytest.mark.usefixtures("here")
def test_files_of_a_made_folder_are_named_by_their_paths_whether_they_open_or_not(
    convert: Convert, folder: Path
) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text("utf-8").replace('"model.', '"inner/model.'), "utf-8")
    (folder / "inner").mkdir()
    (folder / "model.mlpackage").rename(folder / "inner/model.mlpackage")
    (folder / "inner/model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:9999])
    said = convert("compare", folder, folder, "--case", "shortest", "--json")
    statuses = {check["artifact"]: check["status"] for check in json.loads(said.stdout)["checks"]}
    assert statuses == {"inner/model.onnx": "failed", "inner/model.mlpackage": "passed"}


@pytest.mark.usefixtures("here")
def test_a_package_of_another_converter_stands_against_a_graph(convert: Convert, tmp_path: Path, ours: Path) -> None:
    """In float16, which sets the tolerances, with other names, another order and rank, and bounds of its own."""
    from recipes.base.quiet import quiet

    with quiet("coremltools"):
        import coremltools as ct
        from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec((1, 1, SIZE))])  # type: ignore[untyped-decorator]
    def network(audio: Any) -> Any:
        flat = mb.reshape(x=mb.mul(x=audio, y=np.float32(0.1)), shape=[1, SIZE])
        scores, memory, wide = (mb.matmul(x=flat, y=10 * weights) for weights in WEIGHTS.values())
        return mb.tanh(x=wide, name="var_7"), mb.identity(x=scores, name="var_3"), mb.tanh(x=memory, name="var_5")

    with quiet("coremltools"):
        package = ct.convert(network, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS16)
        package.save(str(tmp_path / "theirs.mlpackage"))
    soundfile.write(tmp_path / "tone.wav", rich(4000, 16000), 16000, "FLOAT")
    said = convert("compare", ours, tmp_path / "theirs.mlpackage", "--on", tmp_path / "tone.wav", "--json")
    assert said.exit_code == 0, said.stdout
    data = json.loads(said.stdout)
    assert data["notes"][-1] == "tolerances: atol 0.02, rtol 0.01, the defaults of mixed"
    assert {(c["runtime"], c["precision"]) for c in data["checks"]} == {("executor", "mixed")}
    assert "map: compared with GOT's 'var_7', the only one of its shape" in data["notes"]
    assert any(
        note.startswith("scores: compared with GOT's 'var_3', whose values are nearest") for note in data["notes"]
    )
    said = convert("compare", ours, tmp_path / "theirs.mlpackage", "--precision", "fp32", "--json")
    assert said.exit_code == 1


@pytest.mark.slow
def test_a_made_file_that_is_fed_chunks_is_fed_whole_sounds(convert: Convert, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert convert("recipe", "mel_avatar", "--streaming", "1", "-o", made).exit_code == 0
    said = convert("compare", made / "model.onnx", made / "streaming.onnx", "--json")
    assert said.exit_code == 0
    assert "melspec" in {check["output"] for check in json.loads(said.stdout)["checks"]}
    # Elsewhere nobody says what its state is.
    alone = tmp_path / "streaming.onnx"
    alone.write_bytes((made / "streaming.onnx").read_bytes())
    assert convert("compare", made, alone).is_one_clear_error("is nothing that the reference holds")
    assert convert("compare", alone, alone).exit_code == 0


@pytest.mark.usefixtures("here")
def test_a_graph_that_takes_less_than_it_declares_says_how_to_feed_it(convert: Convert, tmp_path: Path) -> None:
    path = _model(tmp_path / "ours.onnx", axes=("batch", "samples"))
    said = convert("compare", path, path, "--json")
    assert said.exit_code == 1
    assert "EXPECTED, ours.onnx: onnxruntime: " in _messages(said)
    assert "what it was fed was generated to fit what it declares: give what it takes with --on" in _messages(said)


def test_a_model_that_crashes_its_runtime_has_failed(convert: Convert, tmp_path: Path, ours: Path) -> None:
    """tract divides by the stride."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 8, 8))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[0, 0])
    graph = helper.make_graph([node], "crash", [x], [y])
    path = tmp_path / "crash.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_operatorsetid("", 17)], ir_version=8), path)
    np.savez(tmp_path / "dump.npz", y=np.ones((1, 1, 4, 4), np.float32))
    np.savez(tmp_path / "fed.npz", x=np.ones((1, 1, 8, 8), np.float32))
    said = convert("compare", tmp_path / "dump.npz", path, "--on", tmp_path / "fed.npz", "--runtime", "tract", "--json")
    assert said.exit_code == 1
    assert _messages(said) == "tract crashed (signal 6, SIGABRT): attempt to divide by zero"


def test_what_no_runtime_opens_is_one_clear_error(convert: Convert, tmp_path: Path, ours: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(ours.read_bytes()[:100])
    said = convert("compare", tmp_path / "damaged.onnx", ours)
    assert said.is_one_clear_error("damaged.onnx: onnxruntime cannot load it")
    assert convert("compare", ours, tmp_path / "none.onnx").is_one_clear_error("none.onnx: no such file")
    (tmp_path / "empty.mlpackage").mkdir()
    assert convert("compare", ours, tmp_path / "empty.mlpackage").is_one_clear_error("empty.mlpackage: ")


@pytest.mark.usefixtures("here")
def test_files_of_one_name_in_two_folders_are_two_cases(convert: Convert, tmp_path: Path) -> None:
    """A graph that fails on one of them fails, whichever is named last."""
    right = _model(tmp_path / "right.onnx", extra="gain", names={"scores": "scores"}, shift=0)
    wrong = _model(tmp_path / "wrong.onnx", extra="gain", names={"scores": "scores"}, shift=0.01)
    for folder, gain in (("quiet", 0), ("loud", 10**9)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "fed.npz", x=np.ones((1, SIZE), np.float32), gain=np.array(gain))
    paths = [tmp_path / folder / "fed.npz" for folder in ("quiet", "loud")]
    for one, other in (paths, paths[::-1]):
        said = convert("compare", right, wrong, "--on", one, "--on", other, "--on", one, "--json")
        assert said.exit_code == 1
        values = {c["case"]: c["status"] for c in json.loads(said.stdout)["checks"] if c["kind"] == "values"}
        assert values == {str(paths[0]): "failed", str(paths[1]): "passed"}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("scores=none", "--map scores=none: GOT has no 'none'; it has map, memory, scores, x"),
        ("none=scores", "--map none=scores: EXPECTED has no 'none'; it has map, memory, scores, x"),
        ("x=scores", "--map x=scores: one is an input and the other an output"),
    ],
)
def test_a_map_of_what_is_not_there_is_one_clear_error(convert: Convert, ours: Path, given: str, told: str) -> None:
    assert convert("compare", ours, ours, "--map", given).is_one_clear_error(told)
    assert convert("compare", ours, ours, "--map", "x=x", "--map", "scores=scores").exit_code == 0


@pytest.mark.usefixtures("here")
def test_what_an_input_cannot_hold_is_one_clear_error(convert: Convert, tmp_path: Path) -> None:
    path = _model(tmp_path / "rated.onnx", extra="hz")
    for value in (0.5, np.nan, 1e30):
        np.savez(tmp_path / "fed.npz", x=np.ones((1, SIZE), np.float32), hz=np.array(value))
        said = convert("compare", path, path, "--on", tmp_path / "fed.npz")
        assert said.is_one_clear_error("the input 'hz' is of int64, which cannot hold all of its values")
    np.savez(tmp_path / "fed.npz", x=np.full((1, SIZE), 1e39), hz=np.array(2.0))
    said = convert("compare", path, path, "--on", tmp_path / "fed.npz")
    assert said.is_one_clear_error("the input 'x' is of float32, which cannot hold all of its values")
    np.savez(tmp_path / "fed.npz", x=np.full((1, SIZE), 1.0), hz=np.array(2.0))
    assert convert("compare", path, path, "--on", tmp_path / "fed.npz").exit_code == 0


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("flag", ["--junit", "--markdown", "--html"])
def test_what_a_model_is_fed_is_not_replaced(convert: Convert, tmp_path: Path, ours: Path, flag: str) -> None:
    fed = tmp_path / "fed.npz"
    np.savez(fed, x=np.ones((1, SIZE), np.float32))
    before = fed.read_bytes()
    assert convert("compare", ours, ours, "--on", fed, flag, fed).is_one_clear_error("is what is read")
    assert convert("bisect", ours, ours, "--on", fed, "--html", fed).is_one_clear_error("is what is read")
    assert fed.read_bytes() == before


@pytest.mark.usefixtures("here")
def test_a_file_that_no_case_fits_is_not_verified(convert: Convert, made_pann: Any, tmp_path: Path) -> None:
    fixed = _model(tmp_path / "fixed.onnx", axes=(3, SIZE))
    said = convert("compare", made_pann.path, fixed, "--json")
    assert said.exit_code == 3
    assert _messages(said) == "no case has the shape that this file takes; give one that has with --on"
    assert any(
        note.startswith("left out, since fixed.onnx takes other shapes: ") for note in json.loads(said.stdout)["notes"]
    )
