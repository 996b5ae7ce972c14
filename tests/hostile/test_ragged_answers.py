"""Models whose answers differ in size from row to row, window to window or chunk to chunk."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto

from convert.manifest import Artifact
from convert.targets import named
from convert.verify import File, check_in
from recipes.base.worker import Worker
from tests.hostile.test_folders import listed
from tests.hostile.test_models import INPUT, OUTPUT, X, info, integers, model_of, node
from validators.values import Case


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(named("onnx").needs()) as started:
        yield started


def _where_it_is_loud(name: str = "y") -> list[Any]:
    """The places of x that are over 0: as many as there are."""
    return [
        node("Greater", ["x", "zero"], ["over"]),
        node("NonZero", ["over"], ["places"]),
        node("Cast", ["places"], [name], to=TensorProto.FLOAT),
    ]


ZERO = {"zero": np.array(0, np.float32)}


def _ragged() -> onnx.ModelProto:
    return model_of(_where_it_is_loud(), ZERO, inputs=[info("x", (1, 8))], outputs=[info("y", None)])


def test_rows_that_differ_fail_their_case_and_the_others_go_on(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(_ragged().SerializeToString())
    artifact = Artifact("onnx", "x", "fp32", None, {"opset": 17})
    file = File(tmp_path, "model.onnx", artifact, named("onnx"), INPUT, (OUTPUT,))
    batch = np.concatenate([X, X + 0.3])
    checks = check_in(worker, file, [Case("two rows", {"x": batch}, {"y": -batch}), Case("a row", {"x": X}, {"y": -X})])
    for runtime in ("onnxruntime", "tract"):
        (of_rows,) = (check for check in checks if (check.runtime, check.case) == (runtime, "two rows"))
        assert of_rows.status == "failed"
        assert "the output 'y' is float32[2, 4] for row 0 and float32[2, 5] for row 1" in of_rows.message
        assert {check.kind for check in checks if (check.runtime, check.case) == (runtime, "a row")} > {"shape", "axes"}


def test_rows_that_differ_are_one_line_of_the_command(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(_ragged().SerializeToString())
    np.savez(tmp_path / "rows.npz", x=np.concatenate([X, X + 0.3]))
    said = refused("run", tmp_path / "model.onnx", tmp_path / "rows.npz", "-o", tmp_path / "out.npz")
    assert "the output 'y' is float32[2, 4] for row 0 and float32[2, 5] for row 1" in said
    assert not (tmp_path / "out.npz").exists()


def test_a_comparison_of_rows_that_differ_is_a_failed_check(commands: Any, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(_ragged().SerializeToString())
    np.savez(tmp_path / "rows.npz", x=np.concatenate([X, X + 0.3]))
    path = tmp_path / "model.onnx"
    ended = commands.run("compare", path, path, "--on", tmp_path / "rows.npz", "--json")
    assert ended.exit_code == 1, ended
    assert "for row 0 and" in ended.stdout


def _of_windows(rows: int, *nodes: Any, more: Sequence[Any] = ()) -> onnx.ModelProto:
    """Scores of so many rows a window of 8 samples."""
    scores = [node("ReduceMean", ["x"], ["mean"], axes=[1]), node("Tile", ["mean", "times"])]
    constants = {"times": integers(rows, 8), **ZERO}
    return model_of([*scores, *nodes], constants, inputs=[info("x", (1, 8))], outputs=[info("y", None), *more])


WINDOWS = {
    "no rows a window": (_of_windows(0), "gives 0 rows of y where 1 went in"),
    "three rows a window": (_of_windows(3), "gives 3 rows of y where 1 went in"),
    "another size each window": (
        _of_windows(1, *_where_it_is_loud("z"), more=[info("z", None)]),
        "the output 'z' is float32[2, 8] for window 0 and float32[2, 0] for window 1",
    ),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_that_cannot_be_put_together(name: str, refused: Callable[..., str], tmp_path: Path) -> None:
    content, part = WINDOWS[name]
    (tmp_path / "model.onnx").write_bytes(content.SerializeToString())
    soundfile.write(tmp_path / "it.wav", np.repeat(np.float32([0.5, -0.5]), 8), 32000, "FLOAT")
    # With --json nothing is told before all is known.
    words = ("--hop", 8 / 32000, "--json", "-o", tmp_path / "out.npz")
    assert part in refused("run", tmp_path / "model.onnx", tmp_path / "it.wav", *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it.wav", "model.onnx"]


def test_a_number_each_window_is_a_row_each(commands: Any, tmp_path: Path) -> None:
    content = _of_windows(1, node("ReduceMax", ["x"], ["z"], keepdims=0), more=[info("z", [])])
    (tmp_path / "model.onnx").write_bytes(content.SerializeToString())
    soundfile.write(tmp_path / "it.wav", np.repeat(np.float32([0.5, -0.5]), 8), 32000, "FLOAT")
    words = ("run", tmp_path / "model.onnx", tmp_path / "it.wav", "--hop", 8 / 32000, "--json")
    ended = commands.run(*words, "-o", tmp_path / "out.npz")
    assert ended.exit_code == 0, ended
    assert json.loads(ended.stdout)["outputs"] == {"y": [2, 8], "z": [2]}
    with np.load(tmp_path / "out.npz") as written:
        assert written["z"].tolist() == [0.5, -0.5]


@pytest.fixture(scope="module")
def fed_chunks(tmp_path_factory: pytest.TempPathFactory, convert: Callable[..., Any]) -> Path:
    """A made folder whose file of chunks gives as many bands as samples are over 0."""
    folder = tmp_path_factory.mktemp("chunks") / "it"
    settings = ("--set", "top_db=null", "--set", "ref=1")
    assert convert("recipe", "mel_whisper80", *settings, "--streaming", 2, "-o", folder).exit_code == 0
    (name,) = (path.name for path in folder.glob("*streaming*.onnx"))
    own = onnx.load(folder / name)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    fed = manifest["artifacts"][name]["input"]
    (tensor,) = (one for one in [manifest["input"], *manifest["alternative_inputs"]] if one["name"] == fed)
    stream = tensor["stream"]
    (given,) = (one.name for one in own.graph.output if one.name != stream["next_state"])
    nodes = [
        node("Identity", [stream["state"]], [stream["next_state"]]),
        node("Greater", [fed, "zero"], ["over"]),
        node("NonZero", ["over"], ["places"]),
        node("Cast", ["places"], ["numbers"], to=TensorProto.FLOAT),
        node("Slice", ["numbers", "first", "second", "first"], ["row"]),
        node("Unsqueeze", ["row", "axis"], ["column"]),
        node("Tile", ["column", "times"], [given]),
    ]
    constants = {**ZERO, "first": integers(0), "second": integers(1), "axis": integers(2)}
    constants["times"] = integers(1, 1, stream["frames"])
    outputs = [one if one.name == stream["next_state"] else info(given, None) for one in own.graph.output]
    other = model_of(nodes, constants, inputs=own.graph.input, outputs=outputs)
    del other.metadata_props[:]
    other.metadata_props.extend(own.metadata_props)
    (folder / name).write_bytes(other.SerializeToString())
    listed(folder, name)
    return folder


def test_chunks_that_differ_fail_their_cases_and_the_others_go_on(commands: Any, fed_chunks: Path) -> None:
    ended = commands.run("check", fed_chunks, "--json")
    assert (ended.exit_code, ended.stderr) == (1, "")
    checks = json.loads(ended.stdout)["checks"]
    assert any("and the first one gave melspec float32[1, " in check["message"] for check in checks)
    assert {check["status"] for check in checks if check["artifact"] == "model.onnx"} == {"passed"}
