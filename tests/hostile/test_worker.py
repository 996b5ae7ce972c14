"""The worker: what goes wrong in it is one error here, and nothing of it outlives the process that started it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes.base import limits, worker_process
from recipes.base.errors import UserError
from recipes.base.worker import Worker, WorkerError, WorkerTimeoutError

ROOT = Path(__file__).resolve().parents[2]

# A fork knows this module; a fresh interpreter, which finds no tests, is sent what the library itself has.
FORKED = pytest.param(("numpy",), id="forked", marks=pytest.mark.skipif(sys.platform != "linux", reason="needs a fork"))


@dataclass(frozen=True)
class Said:
    word: str
    sizes: tuple[int, ...]
    figure: float


def _said(word: str) -> Said:
    return Said(word, (1, 2), float("inf"))


def _same(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return arrays


def _refuse() -> None:
    raise UserError("not this\nnor that")


def _break() -> None:
    raise KeyError("what")


def _signal(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(10)


def _say_and_abort(text: str) -> None:
    os.write(2, text.encode())
    os.abort()


def _chatter() -> str:
    os.write(1, b"x" * 100_000)
    for _ in range(100):
        with_nobody_reading = b"x" * 100_000
        try:
            os.write(2, with_nobody_reading)
        except BlockingIOError:
            break
    return "done"


def _leave() -> None:
    os._exit(3)


def _recurse() -> Any:
    return _recurse()


def _sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def _take(gigabytes: float) -> dict[str, np.ndarray]:
    return {"all": np.ones(int(gigabytes * 1e9), np.int8)}


def _objects() -> dict[str, np.ndarray]:
    return {"pointers": np.array([object()])}


@pytest.mark.parametrize("needs", [FORKED])
def test_values_and_arrays_come_back_as_they_are(needs: tuple[str, ...]) -> None:
    with Worker(needs) as worker:
        said = worker.call(_said, "\x1b \udcff\n", returns=Said)
        assert said == Said("\x1b \udcff\n", (1, 2), float("inf"))
        arrays = {
            "floats": np.array([[np.nan, np.inf], [-0.0, 1e-45]], np.float32),
            "backwards": np.arange(6).reshape(2, 3)[:, ::-1],
            "nothing": np.zeros((3, 0), bool),
            "scalar": np.array(7, np.float16),
            "large": np.random.default_rng(1).random(2_000_000),
        }
        found = worker.call(_same, arrays)
        assert worker.starts == 1
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_a_fresh_interpreter_answers_too() -> None:
    with Worker() as worker:
        assert worker.call(json.loads, "[1, 2]", returns=list[int]) == [1, 2]
        with pytest.raises(WorkerError, match="failed: JSONDecodeError: Expecting value"):
            worker.call(json.loads, "nonsense", returns=list[int])
        assert worker.starts == 1
        with pytest.raises(WorkerError, match=r"^crashed \(signal 6, SIGABRT\)"):
            worker.call(os.abort)
        assert worker.call(json.loads, "3", returns=int) == 3
        assert worker.starts == 2


def test_a_fresh_interpreter_takes_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "json", "recipes"):
        (tmp_path / f"{name}.py").write_text("open('canary', 'w').close()")
    monkeypatch.chdir(tmp_path)
    with Worker() as worker:
        assert worker.call(json.loads, "[]", returns=list[int]) == []
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("needs", [FORKED])
@pytest.mark.parametrize(
    ("function", "arguments", "told"),
    [
        (_signal, (signal.SIGSEGV,), r"^crashed \(signal 11, SIGSEGV\)$"),
        (_signal, (signal.SIGKILL,), r"^crashed \(signal 9, SIGKILL\)$"),
        (_signal, (signal.SIGTERM,), r"^crashed \(signal 15, SIGTERM\)$"),
        (_say_and_abort, ("one\nthe last\n\n",), r"^crashed \(signal 6, SIGABRT\): the last$"),
        (
            _say_and_abort,
            ("\nthread 'x' panicked at a.rs:1:\nno such size\nnote: that\nthread 'x' panicked at b.rs:\nworse\n",),
            r"^crashed \(signal 6, SIGABRT\): no such size$",
        ),
        (_leave, (), "^ended with exit code 3$"),
        (_break, (), "^failed: KeyError: 'what'$"),
        (_recurse, (), "^failed: RecursionError: maximum recursion depth"),
        (_take, (50,), "^needs more than 8 GB of memory; SOUNDPORT_MEMORY, in GB, gives it more$"),
        (_take, (1.1,), "^answers with more than 1 GB; SOUNDPORT_MEMORY, in GB, gives it more$"),
        (_objects, (), "^failed: "),
    ],
)
def test_what_goes_wrong_is_one_error_and_the_next_call_works(
    needs: tuple[str, ...], function: Callable[..., Any], arguments: tuple[Any, ...], told: str
) -> None:
    with Worker(needs) as worker:
        with pytest.raises(WorkerError) as caught:
            worker.call(function, *arguments)
        assert re.search(told, str(caught.value)), caught.value
        assert "\n" not in str(caught.value)
        assert worker.call(_sleep, 0, returns=int) != os.getpid()


@pytest.mark.parametrize("needs", [FORKED])
def test_errors_that_are_expected_come_as_they_are(needs: tuple[str, ...]) -> None:
    with Worker(needs) as worker, pytest.raises(UserError, match=r"^not this$"):
        worker.call(_refuse, raises=(UserError,))


@pytest.mark.parametrize("needs", [FORKED])
def test_what_takes_too_long_is_ended(needs: tuple[str, ...]) -> None:
    with Worker(needs) as worker:
        process = worker.call(_sleep, 0, returns=int)
        with limits.time_limit(0.2), pytest.raises(WorkerTimeoutError, match=r"^took more than 0.2 s and was ended"):
            worker.call(_sleep, 60)
        assert not _lives(process)


@pytest.mark.parametrize("needs", [FORKED])
def test_what_it_prints_goes_nowhere_and_stops_nothing(
    needs: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    with Worker(needs) as worker:
        assert worker.call(_chatter, returns=str) == "done"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("needs", [FORKED])
def test_an_answer_of_another_type_is_refused(needs: tuple[str, ...]) -> None:
    with Worker(needs) as worker, pytest.raises(WorkerError, match="answered what nobody can read"):
        worker.call(_said, "word", returns=dict[str, int])


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b"\xff",
        b'{"arrays": [["x", "|O", [1]]]}',
        b'{"arrays": [["x", "<f4", [-1]]]}',
        b'{"arrays": [["x", "<f4", ["1"]]]}',
        b'{"arrays": [["x"]]}',
        b'{"arrays": [["x", "V1000000000", [1000000000]]]}',
        b'{"arrays": [["x", "<f8", [1000000000, 1000000000]]]}',
    ],
)
def test_an_answer_that_lies_is_refused(monkeypatch: pytest.MonkeyPatch, header: bytes) -> None:
    """As native code that a file has taken over could give it."""
    monkeypatch.setattr(worker_process, "_encoded", lambda _: (header, []))
    with Worker(("numpy",)) as worker, pytest.raises(WorkerError, match=r"nobody can read|answers with more than"):
        worker.call(_sleep, 0, returns=int)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a fork")
@pytest.mark.parametrize(
    ("kill", "told"),
    [
        (lambda *_: os.abort(), r"crashed \(signal 6, SIGABRT\)"),
        (lambda *_: time.sleep(60), "took more than 0.5 s"),
        (lambda *_: bytearray(10**11), "needs more than 8 GB of memory"),
        (lambda *_: 1 / 0, "failed: ZeroDivisionError"),
    ],
    ids=["crash", "time", "memory", "bug"],
)
def test_a_checkpoint_that_kills_its_reader_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kill: Callable[..., Any], told: str
) -> None:
    from recipes.base import checkpoint, weights

    monkeypatch.setattr(checkpoint, "read", kill)
    with limits.time_limit(0.5), pytest.raises(UserError, match=f"mine.pth: what reads it {told}"):
        weights.read(tmp_path / "mine.pth")


@pytest.mark.parametrize("given", ["much", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(limits.MEMORY, given)
    with Worker() as worker, pytest.raises(UserError, match=f"SOUNDPORT_MEMORY is '{given}'; give a number"):
        worker.call(_sleep, 0)
    with pytest.raises(UserError, match="--timeout 0: give a number of seconds"), limits.time_limit(0):
        pass


@pytest.mark.parametrize("needs", [FORKED])
def test_threads_wait_for_each_other(needs: tuple[str, ...]) -> None:
    results: list[bool] = []
    with Worker(needs) as worker:

        def ask(seed: int) -> None:
            array = np.full(100_000, seed)
            results.append(bool((worker.call(_same, {"x": array})["x"] == seed).all()))

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [True] * 8


@pytest.mark.parametrize("needs", [FORKED])
def test_it_ends_with_its_object(needs: tuple[str, ...]) -> None:
    worker = Worker(needs)
    process = worker.call(_sleep, 0, returns=int)
    assert _lives(process)
    del worker
    assert not _lives(process)


@pytest.mark.parametrize(("needs", "asleep"), [("()", False), ("('numpy',)", False), ("('numpy',)", True)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_the_process_that_started_it(needs: str, asleep: bool, number: int) -> None:
    code = (
        "import os, sys, threading\n"
        "from recipes.base.worker import Worker\n"
        f"worker = Worker({needs})\n"
        "print(worker.call(os.getpid, returns=int), flush=True)\n"
        f"{'import time; worker.call(time.sleep, 100)' if asleep else 'sys.stdin.read()'}\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        time.sleep(0.2 if asleep else 0)
        assert _lives(process)
        parent.send_signal(number)
        parent.wait()
    deadline = time.monotonic() + 5
    while _lives(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _lives(process)


def _lives(process: int) -> bool:
    """Whether it runs; one that has ended and that nobody has asked for its exit code does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
