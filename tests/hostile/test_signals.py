"""Whatever ends a command, and whenever: the folder is whole-old or whole-new, and no worker is left."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from convert import cli, signals

ROOT = Path(__file__).resolve().parents[2]
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _started(*words: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "convert", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
    )


def _state(process: int) -> list[str]:
    """Its state and its parent's number, and more; a zombie's where it is gone altogether."""
    try:
        return Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return ["Z", ""]


def _workers(parent: int) -> set[int]:
    """A command starts nothing else."""
    running = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {process for process in running if _state(process)[1] == str(parent)}


def _gone(workers: set[int]) -> bool:
    deadline = time.monotonic() + 5
    while (left := {worker for worker in workers if _state(worker)[0] != "Z"}) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not left


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        whole.update(str(path.relative_to(folder)).encode() + (path.read_bytes() if path.is_file() else b""))
    return whole.hexdigest()


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_a_command_in_one_line_and_leaves_nothing(
    tmp_path: Path, commands: Any, number: signal.Signals
) -> None:
    def send(running: Any) -> None:
        deadline = time.monotonic() + 20
        while "checkpoint: " not in running.stderr.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(running.process, number)

    ended = commands.run_until(send, "recipe", "mn04_as", "--weights", "synthetic", "-o", tmp_path / "made", "-v")
    # Python ends by SIGINT itself where it came amid an exec() of text.
    assert ended.exit_code in (128 + number, -signal.SIGINT)
    what = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert ended.stderr.splitlines()[-1] == f"error: {what}; nothing half-written is left"
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.raised() as came:
            signal.raise_signal(signal.SIGHUP)
            assert came == []
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_raises_within_and_not_after() -> None:
    before = [signal.getsignal(number) for number in ENDING]
    for number in ENDING:
        with signals.raised() as came, pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(number)
        assert came == [number]
        assert signals.told(caught.value)[0] == 128 + number
    assert [signal.getsignal(number) for number in ENDING] == before


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_is_held_comes_at_the_end(number: int) -> None:
    done = []
    before = [signal.getsignal(number) for number in ENDING]

    def work(error: Exception | None = None) -> None:
        with signals.held():
            signal.raise_signal(number)
            with signals.held():
                signal.raise_signal(number)
            done.append(number)
            if error:
                raise error

    with signals.raised() as came:
        with pytest.raises(signals.Interrupted):
            work()
        assert (done, came) == ([number], [number])
        with pytest.raises(signals.Interrupted):
            work(OSError("which the signal goes before"))
    assert [signal.getsignal(number) for number in ENDING] == before


def test_what_is_ignored_or_of_another_thread_is_not_held() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.held():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    entered = []

    def enter() -> None:
        with signals.held():
            entered.append(signal.getsignal(signal.SIGINT))

    handler = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [handler]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_a_check(made_pann: Any, number: signal.Signals) -> None:
    with _started("check", made_pann.path) as process:
        deadline = time.monotonic() + 30
        while not (born := _workers(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        process.wait()
        assert born
        assert _gone(born)
        if number == signal.SIGTERM:
            assert process.returncode == 128 + number


# What a command does around its work, for as long as it takes to write so many files.
_WRITING = """
import sys, time
from pathlib import Path
from convert import cli, errors, folder, signals

def app():
    with errors.one_clear_error(), folder.written_whole(Path(sys.argv[1])) as partial:
        for number in range(20):
            (partial / f"{number}.txt").write_text("new" * 10000)
            time.sleep(0.005)
        (partial / "manifest.json").write_text(sys.argv[2])

cli.app = app
try:
    cli.run_app()
except BaseException as error:
    sys.exit(getattr(error, "exit_code", getattr(error, "code", 1)))
"""


def _ended(moment: float, number: signal.Signals, line: list[object]) -> None:
    """Runs it, and sends the signal after so many seconds."""
    with subprocess.Popen(
        [sys.executable, *map(str, line)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    ) as process:
        time.sleep(moment)
        process.send_signal(number)
        process.wait()


def _whole_at_any_moment(line: list[object], target: Path, new: str, most: float, moments: int) -> int:
    """Kills the command at random moments, and lets it run in the end; `target` is there and `new` is what it makes.

    Returns how many times it was killed. What kill -9 leaves beside it the next run clears.
    """
    old = _digest(target)
    chosen = random.Random(moments)
    for _ in range(moments):
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            before = {path.name for path in target.parent.iterdir()}
            _ended(chosen.uniform(0.02, most), number, line)
            assert _digest(target) in (old, new), number
            if number != signal.SIGKILL:
                assert {path.name for path in target.parent.iterdir()} <= before, number
    assert subprocess.run([sys.executable, *map(str, line)], capture_output=True, cwd=ROOT).returncode == 0
    assert _digest(target) == new
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    return 3 * moments


def test_at_any_moment_a_folder_is_whole(made_pann: Any, tmp_path: Path, noted: Callable[[str, object], None]) -> None:
    """The writing alone, which takes a moment, at a few moments of it."""
    manifest = (made_pann.path / "manifest.json").read_text(encoding="utf-8")
    data = json.loads(manifest)
    entry = {"size": 30000, "sha256": hashlib.sha256(b"new" * 10000).hexdigest()}
    data["files"] = {f"{number}.txt": entry for number in range(20)}
    data["artifacts"] = {"0.txt": data["artifacts"]["model.onnx"]}
    manifest = json.dumps(data)
    line = ["-c", _WRITING, tmp_path / "made" / "made", manifest]
    (tmp_path / "made").mkdir()
    started = time.monotonic()
    subprocess.run([sys.executable, *map(str, line)], check=True, capture_output=True, cwd=ROOT)
    taken = time.monotonic() - started
    new = _digest(tmp_path / "made" / "made")
    (tmp_path / "made" / "made" / "0.txt").write_text("old")
    noted("tried", _whole_at_any_moment(line, tmp_path / "made" / "made", new, taken, moments=3))


@pytest.mark.slow
def test_at_thirty_moments_a_conversion_leaves_a_folder_whole(
    tmp_path: Path, noted: Callable[[str, object], None]
) -> None:
    words: list[object] = ["-m", "convert", "recipe", "eat_s_esc50", "--weights", "synthetic"]
    (tmp_path / "made").mkdir()
    for target, more in ((tmp_path / "made" / "made", ["--opset", "16"]), (tmp_path / "new", [])):
        started = time.monotonic()
        line = [sys.executable, *words, *more, "-o", target]
        subprocess.run(list(map(str, line)), check=True, capture_output=True, cwd=ROOT)
        taken = time.monotonic() - started
    new = _digest(tmp_path / "new")
    target = tmp_path / "made" / "made"
    noted("tried", _whole_at_any_moment([*words, "-o", target], target, new, taken, moments=10))


@pytest.mark.parametrize("debug", ["", "1"])
def test_what_nobody_foresaw_is_one_line_and_exit_code_70(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], debug: str
) -> None:
    def broken() -> None:
        raise IndexError("list index\nout of range \x1b[31m")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.setenv("SOUNDPORT_DEBUG", debug)
    with pytest.raises(SystemExit) as caught:
        cli.run_app()
    assert caught.value.code == 70
    said = capsys.readouterr().err
    if debug:
        assert "Traceback (most recent call last)" in said
        assert "IndexError" in said
    else:
        (line,) = said.splitlines()
        assert line.startswith("error: IndexError: list index out of range ")
        assert line.endswith("; this is a bug in soundport; run with SOUNDPORT_DEBUG=1 for the traceback")


def test_too_little_memory_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("convert.catalogue.table", broken)
    said = CliRunner().invoke(cli.app, ["list"])
    assert said.exit_code == 2
    assert said.stderr.startswith("error: there is not enough memory")
