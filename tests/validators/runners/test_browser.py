"""A page in a browser answers what ONNX Runtime answers, and what is foreign is not run."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from convert.targets import choose_runtime
from convert.targets.web import TARGET
from recipes.base.sound import rich
from recipes.base.worker import Worker
from tests import tiny_page as tiny
from validators.runners import runtime
from validators.runners.onnxruntime import open_file
from validators.runners.runner import Runner, RunnerError
from validators.values import Case, check_values

pytestmark = pytest.mark.usefixtures("browser_is_here")


@pytest.fixture(scope="module")
def page(tiny_page: Path) -> Iterator[Runner]:
    with Worker() as worker:
        yield choose_runtime(tiny_page).open(tiny_page, worker)


def _cases(folder: Path) -> list[Case]:
    right = open_file(folder.parent / "model.onnx")
    sounds = [rich(count, tiny.RATE, seed) for seed, count in enumerate((640, 9601, 32000), start=1)]
    batches = [*(sound[None] for sound in sounds), np.stack([rich(9601, tiny.RATE, seed) for seed in (5, 6)])]
    return [Case(str(batch.shape), {"waveform": batch}, right.run({"waveform": batch})) for batch in batches]


def test_a_page_has_the_face_of_every_runtime(page: Runner) -> None:
    assert page.runtime == "browser"
    assert [(port.name, port.axes, port.dtype) for port in page.inputs] == [
        ("waveform", ("batch", "samples"), "float32")
    ]
    assert [port.axes for port in page.outputs] == [output.axes for output in tiny.variant().outputs]
    assert page.metadata["sample_rate"] == str(tiny.RATE)
    assert page.metadata["weights"] == "synthetic"


def test_a_page_answers_what_onnx_runtime_answers(page: Runner, tiny_page: Path) -> None:
    checks = check_values(page, _cases(tiny_page), tiny.variant().outputs, artifact="web", precision="fp32")
    assert {check.status for check in checks} == {"passed"}
    assert {check.case for check in checks} == {"(1, 640)", "(1, 9601)", "(1, 32000)", "(2, 9601)"}
    assert {check.output for check in checks} == {"clipwise", "framewise", "melspec"}


def test_a_page_of_another_model_is_found(tiny_page: Path, npm_package: Path, tmp_path: Path) -> None:
    other = tiny.write(tmp_path, npm_package, scale=1.01)
    with Worker() as worker:
        runner = choose_runtime(other).open(other, worker)
        checks = check_values(runner, _cases(tiny_page), tiny.variant().outputs, artifact="web", precision="fp32")
    assert {check.output for check in checks if check.status == "failed"} == {"clipwise", "framewise"}
    assert {check.status for check in checks if check.output == "melspec"} == {"passed"}


def test_what_the_model_refuses_is_a_runner_error(page: Runner) -> None:
    with pytest.raises(RunnerError, match="waveform"):
        page.run({"sound": np.zeros((1, 640), np.float32)})
    with pytest.raises(RunnerError, match="fed float32"):
        page.run({"waveform": np.zeros((1, 640))})
    # It goes on.
    assert page.run({"waveform": np.zeros((1, 640), np.float32)})["clipwise"].shape == (1, 3)


@pytest.mark.parametrize("name", ["page.js", "index.html", "ort/ort-wasm-simd-threaded.wasm"])
def test_a_script_of_somebody_elses_is_not_run(tiny_page: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(tiny_page, tmp_path / "web")
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(RunnerError, match=f"{name} is not that of this version of soundport.*it is not run"):
        choose_runtime(folder).open(folder)


def test_a_model_that_is_none_is_told(tiny_page: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_page, tmp_path / "web")
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(RunnerError, match="browser: "):
        choose_runtime(folder).open(folder)


def test_the_browser_ends_with_what_has_started_it(tiny_page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A name of a socket of Chromium's is no longer than 108 bytes, which pytest's own folders may take alone.
    with tempfile.TemporaryDirectory() as name, Worker() as worker:
        folder = Path(name)
        monkeypatch.setenv("TMPDIR", name)
        choose_runtime(tiny_page).open(tiny_page, worker)
        assert _browsers(folder)
        assert list(folder.iterdir())
        assert worker._started is not None
        os.kill(worker._started.process.pid, signal.SIGKILL)
        for _ in range(200):
            if not _browsers(folder) and not list(folder.iterdir()):
                return
            time.sleep(0.05)
        pytest.fail(f"{_browsers(folder)} and {list(folder.iterdir())} are left")


def _browsers(folder: Path) -> list[str]:
    """The processes that were started with a profile in this folder."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            content = command.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in content:
            found.append(command.parent.name)
    return found


@pytest.mark.parametrize(
    ("missing", "said"),
    [("chromedriver", "apt install chromium chromium-driver"), ("selenium", "pip install selenium")],
)
def test_where_it_is_absent_the_package_is_named(monkeypatch: pytest.MonkeyPatch, missing: str, said: str) -> None:
    monkeypatch.setattr(runtime.shutil, "which", lambda name: None if name == missing else f"/usr/bin/{name}")
    monkeypatch.setattr(runtime, "find_spec", lambda name: None if name == missing else object())
    (browser,) = TARGET.runtimes
    assert said in str(browser.absent())
