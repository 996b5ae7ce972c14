"""Programs in C as a runtime: what they answer, and how they fail."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.targets import named
from recipes.base.worker import Worker
from validators.runners import c
from validators.runners.runner import Runner, RunnerError

# Doubles what it is fed, and writes as many arrays as the first line says.
PROGRAM = """#!{python}
import io, sys
import numpy as np
x = np.frombuffer(sys.stdin.buffer.read(), "<f4")
assert sys.argv[1:] == ["--outputs"]
{body}
"""
ANSWER = "np.save(answer := io.BytesIO(), 2 * x[None]); sys.stdout.buffer.write(answer.getvalue())"

Open = Callable[..., Runner]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """`opened(body)`: a program of these lines, where a made one would lie."""

    def open_(body: str = ANSWER, **described: Any) -> Runner:
        said = {
            "inputs": [{"name": "x", "axes": [1, "samples"]}],
            "outputs": [{"name": "y", "axes": [1, "samples"]}],
            "metadata": {"variant": "toy"},
        }
        (tmp_path / "model.json").write_text(json.dumps(said | described))
        (tmp_path / "tag").write_text(PROGRAM.format(python=sys.executable, body=body))
        (tmp_path / "tag").chmod(0o755)
        return c.open_program(tmp_path / "tag")

    return open_


X = np.arange(5, dtype=np.float32)[None]


def _npy(shape: object) -> bytes:
    """What an .npy begins with, of a shape that none has."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape},), }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head


def test_a_program_answers_with_arrays(opened: Open) -> None:
    runner = opened()
    assert (runner.run({"x": X})["y"] == 2 * X).all()
    assert runner.metadata == {"variant": "toy"}
    assert [port.axes for port in (*runner.inputs, *runner.outputs)] == [(1, "samples")] * 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("print('tag: it is ill', file=sys.stderr); sys.exit(2)", "native: tag: it is ill"),
        ("sys.exit(3)", "native: exit code 3"),
        ("import os; os.abort()", "native: signal 6"),
        ("print('no array')", "it writes no arrays"),
        (f"sys.stdout.buffer.write({_npy(10**30)!r})", "it writes no arrays"),
        (f"sys.stdout.buffer.write({_npy('((((')!r})", "it writes no arrays"),
        (f"{ANSWER}; print('more')", "it writes more than its 1 outputs"),
        ("np.lib.format.write_array(sys.stdout.buffer, np.array([print], object))", "it writes no arrays"),
    ],
)
def test_a_program_that_fails_is_told_of_in_one_line(opened: Open, body: str, said: str) -> None:
    with pytest.raises(RunnerError, match=said):
        opened(body).run({"x": X})


@pytest.mark.parametrize("inputs", [{"z": X}, {"x": X[0]}, {"x": np.zeros((2, 5), np.float32)}])
def test_what_a_program_does_not_take_is_refused(opened: Open, inputs: Any) -> None:
    with pytest.raises(RunnerError, match=r"^native: "):
        opened().run(inputs)


@pytest.mark.parametrize("described", [{"inputs": []}, {"outputs": [{"name": "y"}]}, {"metadata": None}])
def test_a_description_that_is_none_is_refused(opened: Open, described: Any) -> None:
    with pytest.raises(RunnerError, match=r"^model\.json cannot be read"):
        opened(**described)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match=r"^model\.json cannot be read"):
        c.open_program(tmp_path / "tag")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the program stays until its folder is removed")
def test_a_program_that_was_compiled_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "built").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "built"))
    port = {"name": "x", "axes": [1, "samples"]}
    (tmp_path / "model.json").write_text(json.dumps({"inputs": [port], "outputs": [port], "metadata": {}}))
    for name in ("tag.c", "model.c", "labels.c", "weights.S"):
        (tmp_path / name).write_text("int main(void) { return 7; }\n" if name == "tag.c" else "")
    runner = c.open_sources(tmp_path)
    assert not list((tmp_path / "built").iterdir())
    with pytest.raises(RunnerError, match="exit code 7"):
        runner.run({"x": X})
    # What a compiler shows of a source may be no text.
    (tmp_path / "tag.c").write_bytes(b"#error \xff\n")
    with pytest.raises(RunnerError, match="the compiler fails"):
        c.open_sources(tmp_path)


def test_every_program_s_runner_is_called_what_its_runtime_is(opened: Open, tmp_path: Path) -> None:
    """Checks are told apart by that name: of another, they would be nobody's."""
    opened()
    names = ("tag", "tag-x86_64-linux-musl", "tag-aarch64-linux-musl", "tag-wasm32-wasi.wasm")
    with Worker() as worker:
        for name in names:
            shutil.copy(tmp_path / "tag", tmp_path / name) if name != "tag" else None
            (runtime,) = named("c").runtimes_of(name)
            assert runtime.open(tmp_path / name, worker).runtime == runtime.name
