"""The worker: what goes wrong in it is one error here, and nothing of it outlives the process that started it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes.base import limits, shared_memory, worker_process
from recipes.base.errors import UserError
from recipes.base.worker import Worker, WorkerBugError, WorkerDiedError, WorkerError
from recipes.base.worker_start import Started
from validators.runners.runner import Runner, RunnerError

ROOT = Path(__file__).resolve().parents[2]

# A fork knows this module; a fresh interpreter, which finds no tests, is sent what the library itself has.
FORKED_ALONE = pytest.mark.skipif(sys.platform != "linux", reason="needs a fork")
FORKED = pytest.param(("numpy",), id="forked", marks=FORKED_ALONE)


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


def _lack() -> None:
    raise PermissionError(13, "Permission denied", "x")


def _held(seconds: float, size: int) -> int:
    content = bytearray(size)
    time.sleep(seconds)
    return len(content)


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
        with pytest.raises(WorkerBugError, match=r"^JSONDecodeError: Expecting value"):
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
        (_lack, (), r"^failed: \[Errno 13\] Permission denied: 'x'$"),
        (_take, (50,), "^needs more than 2 GB of memory; SOUNDPORT_MEMORY, in GB, gives it more$"),
        (_take, (0.3,), "^answers with more than 0.25 GB; SOUNDPORT_MEMORY, in GB, gives it more$"),
    ],
)
def test_what_goes_wrong_is_one_error_and_the_next_call_works(
    monkeypatch: pytest.MonkeyPatch,
    needs: tuple[str, ...],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    told: str,
) -> None:
    monkeypatch.setenv(limits.MEMORY, "2")
    with Worker(needs) as worker:
        with pytest.raises(WorkerError) as caught:
            worker.call(function, *arguments)
        assert re.search(told, str(caught.value)), caught.value
        assert "\n" not in str(caught.value)
        assert worker.call(_sleep, 0, returns=int) != os.getpid()


@pytest.mark.parametrize("needs", [FORKED])
@pytest.mark.parametrize(
    ("function", "told"),
    [
        (_break, "^KeyError: 'what'"),
        (_recurse, "^RecursionError: maximum recursion depth"),
        (_objects, "^TypeError: Cannot change data-type"),
    ],
)
def test_what_nobody_foresaw_is_our_fault_and_no_files(
    needs: tuple[str, ...], function: Callable[..., Any], told: str
) -> None:
    with Worker(needs) as worker:
        with pytest.raises(WorkerBugError, match=told) as caught:
            worker.call(function)
        assert not isinstance(caught.value, WorkerError)
        assert f"in {function.__name__}\n" in caught.value.__notes__[0] or function is _objects
        assert worker.call(_sleep, 0, returns=int) != os.getpid()
        assert worker.starts == 1


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_fault_of_ours_in_a_worker_ends_a_command_with_70(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, debug: str
) -> None:
    from convert import cli
    from recipes.base import checkpoint

    monkeypatch.setattr(checkpoint, "read", lambda *_: {}["what"])
    monkeypatch.setenv("SOUNDPORT_DEBUG", debug)
    monkeypatch.setattr("sys.argv", ["convert", "recipe", "mn04_as", "--checkpoint", "it.pt", "-o", "made"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it.pt").touch()
    with pytest.raises(SystemExit) as caught:
        cli.run_app()
    assert caught.value.code == 70
    said = capsys.readouterr().err
    # Both tracebacks: that of the command, and that of the worker.
    assert said.count("Traceback (most recent call last)") >= (2 if debug else 0)
    if not debug:
        (line,) = said.splitlines()
        assert line.startswith(
            "error: WorkerBugError: KeyError: 'what'; this is a bug in soundport; run with SOUNDPORT"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["it.pt"]


@pytest.mark.parametrize("needs", [FORKED])
def test_errors_that_are_expected_come_as_they_are(needs: tuple[str, ...]) -> None:
    with Worker(needs) as worker, pytest.raises(UserError, match=r"^not this$"):
        worker.call(_refuse, raises=(UserError,))


def _run_a_program(told: str) -> int:
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(told).write_text(str(program.pid))
    return program.wait()


@pytest.mark.parametrize("needs", [(), FORKED])
def test_a_program_that_it_has_started_ends_with_it(needs: tuple[str, ...], tmp_path: Path) -> None:
    with Worker(needs) as worker:
        worker.start()
        with limits.time_limit(1), pytest.raises(WorkerDiedError, match=r"^took more than 1 s and was ended"):
            worker.call(_run_a_program, str(tmp_path / "told"), returns=int)
    process = int((tmp_path / "told").read_text())
    deadline = time.monotonic() + 5
    while _lives(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _lives(process)


@pytest.mark.parametrize("needs", [FORKED])
def test_what_takes_too_long_is_ended(needs: tuple[str, ...]) -> None:
    with Worker(needs) as worker:
        process = worker.call(_sleep, 0, returns=int)
        with limits.time_limit(0.2), pytest.raises(WorkerDiedError, match=r"^took more than 0.2 s and was ended"):
            worker.call(_sleep, 60)
        assert not _lives(process)


@pytest.mark.parametrize("dies", ["crash", "time"])
def test_a_runtime_that_died_twice_on_a_file_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, dies: str) -> None:
    """What it is fed decides: a crash and a timeout count, and what is merely refused does not."""
    from validators.runners import isolated

    asked = []

    def open_(_: Path) -> Runner:
        def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            if inputs["x"][0] == 2:
                raise RunnerError("refused")
            if inputs["x"][0]:
                os.abort() if dies == "crash" else time.sleep(60)
            return {"y": inputs["x"]}

        return Runner("it", (), (), {}, run)

    ask = Worker.ask

    def counted(self: Worker, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        asked.append(function.__name__)
        return ask(self, function, *arguments, **named)

    monkeypatch.setattr(sys.modules[__name__], "opener", open_, raising=False)
    monkeypatch.setattr(Worker, "ask", counted)
    with Worker(("numpy",)) as worker, limits.time_limit(0.3):
        runner = isolated.opened("it", f"{__name__}:opener", Path("it.onnx"), worker)
        said = []
        for kind in (0, 2, 2, 1, 0, 1, 0, 1, 0):
            try:
                runner.run({"x": np.array([kind])})
                said.append("")
            except RunnerError as error:
                said.append(str(error))
    died = r"it crashed \(signal 6, SIGABRT\)" if dies == "crash" else "it took more than 0.3 s and was ended"
    assert said[:3] == ["", "refused", "refused"]
    assert re.match(died, said[3])
    assert said[4] == ""
    assert re.match(died, said[5])
    assert all(re.match(f"not run, since it died 2 times on this file: {died}", late) for late in said[6:])
    assert asked == ["_open", *["_run"] * 4, "_open", "_run", "_run"]


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
        b"[]",
        b'{"error": 1}',
        b'{"error": ["a", "b", 3]}',
        b'{"arrays": 1}',
        b'{"arrays": [["x", "|O", [1], 0]]}',
        b'{"arrays": [["x", "<f4", [-1], 0]]}',
        b'{"arrays": [["x", "<f4", ["1"], 0]]}',
        b'{"arrays": [["x"]]}',
        b'{"arrays": [["x", "V1000000000", [1000000000], null]]}',
        b'{"arrays": [["x", "<f8", [1000000000, 1000000000], null]]}',
        b'{"arrays": [["x", "<f8", [1], -8]]}',
        b'{"arrays": [["x", "<f8", [1], 67108860]]}',
        b'{"arrays": [["x", "<f8", [1], 0.0]]}',
        b'{"arrays": [["x", "<f8", [1], "0"]]}',
        b'{"arrays": [["x", "<f8", [1], 1180591620717411303424]]}',
    ],
)
def test_an_answer_that_lies_is_refused(monkeypatch: pytest.MonkeyPatch, header: bytes) -> None:
    """As native code that a file has taken over could give it."""
    monkeypatch.setattr(worker_process, "_encoded", lambda *_: (header, []))
    with Worker(("numpy",)) as worker, pytest.raises(WorkerError, match=r"nobody can read|answers with more than"):
        worker.call(_sleep, 0, returns=int)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a fork")
@pytest.mark.parametrize(
    ("kill", "told"),
    [
        (lambda *_: os.abort(), r"crashed \(signal 6, SIGABRT\)"),
        (lambda *_: time.sleep(60), "took more than 0.5 s"),
        (lambda *_: bytearray(10**11), "needs more than 2 GB of memory"),
    ],
    ids=["crash", "time", "memory"],
)
def test_a_checkpoint_that_kills_its_reader_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kill: Callable[..., Any], told: str
) -> None:
    from recipes.base import checkpoint, weights

    monkeypatch.setattr(checkpoint, "read", kill)
    monkeypatch.setenv(limits.MEMORY, "2")
    with limits.time_limit(0.5), pytest.raises(UserError, match=f"mine.pth: what reads it {told}"):
        weights.read(tmp_path / "mine.pth")


@pytest.mark.parametrize(("installed", "gigabytes"), [(64, 8), (16, 8), (4, 2), (0.5, 0.25)])
def test_a_worker_may_take_8_gb_or_half_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, installed: float, gigabytes: float
) -> None:
    monkeypatch.delenv(limits.MEMORY, raising=False)
    monkeypatch.setattr(limits, "_installed", lambda: round(installed * 1e9))
    assert limits.memory() == gigabytes * 1e9
    monkeypatch.setenv(limits.MEMORY, "12.5")
    assert limits.memory() == 12.5e9


def test_the_machines_memory_is_known() -> None:
    assert 10**8 < limits._installed() < 10**14


@pytest.mark.parametrize("given", ["much", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(limits.MEMORY, given)
    with Worker() as worker, pytest.raises(UserError, match=f"SOUNDPORT_MEMORY is '{given}'; give a number"):
        worker.call(_sleep, 0)
    with pytest.raises(UserError, match="--timeout 0: give a number of seconds"), limits.time_limit(0):
        pass


@pytest.mark.parametrize("megabytes", [1, 31, 33, 60])
def test_arrays_come_through_shared_memory_and_where_that_is_full_through_the_pipe(megabytes: int) -> None:
    """Several, of which some find room and others do not; and what was answered stays as it was."""
    array = np.random.default_rng(megabytes).integers(0, 255, megabytes * 10**6 // 3, np.uint8)
    arrays = {"a": array, "b": array[::-1], "c": array.reshape(1, -1).T, "d": array[:0]}
    with Worker(("numpy",)) as worker:
        for _ in range(2):
            found = worker.call(_same, arrays)
            kept = {name: value.copy() for name, value in found.items()}
            worker.call(_same, {"a": array + 1})
            for name, value in arrays.items():
                np.testing.assert_array_equal(found[name], value)
                np.testing.assert_array_equal(found[name], kept[name])
        assert worker.starts == 1


def test_nobody_can_take_the_shared_memory_away() -> None:
    end = shared_memory.made()
    if end is None:
        pytest.skip("needs memory that several processes share")
    for size in (0, shared_memory.SIZE // 2, shared_memory.SIZE * 2):
        with pytest.raises(PermissionError):
            os.ftruncate(end, size)
    os.close(end)


def test_without_shared_memory_all_goes_through_the_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "made", lambda: None)
    arrays = {"x": np.arange(10**6), "y": np.zeros(0)}
    for needs in ((), ("numpy",)):
        with Worker(needs) as worker:
            assert worker.call(json.loads, "[1]", returns=list[int]) == [1]
            if needs:
                assert worker.call(_same, arrays)["x"].tobytes() == arrays["x"].tobytes()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interruption_while_a_worker_is_ended_ends_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Its number and its pipes may be another's by then."""
    end, ended = Started.end, []

    def interrupted(self: Started) -> int:
        ended.append(self.process.pid)
        if moment == "after" or len(ended) > 1:
            end(self)
        if len(ended) == 1:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(Started, "end", interrupted)
    with Worker(("numpy",)) as worker:
        first = worker.call(_sleep, 0, returns=int)
        with pytest.raises(KeyboardInterrupt):
            worker.close()
        assert not worker.alive
        assert _lives(first) == (moment == "before")
        second = worker.call(_sleep, 0, returns=int)
    assert ended == [first, second]
    if moment == "before":
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)


def test_an_interruption_while_a_worker_dies_ends_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    end, ended = Started.end, []

    def interrupted(self: Started) -> int:
        ended.append(self.process.pid)
        end(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Started, "end", interrupted)
    with Worker(("numpy",)) as worker:
        first = worker.call(_sleep, 0, returns=int)
        with pytest.raises(KeyboardInterrupt):
            worker.call(os.abort)
    assert ended == [first]


def _keep(gigabytes: float) -> int:
    _kept.append(bytearray(round(gigabytes * 1e9)))
    _kept[-1][::4096] = bytes(len(_kept[-1][::4096]))
    return os.getpid()


_kept: list[bytearray] = []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_one_that_holds_much_is_ended_and_one_that_holds_little_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the process that it is a fork of holds."""
    monkeypatch.setenv(limits.MEMORY, "4")
    ours = np.ones(600_000_000, np.uint8)
    with Worker(("numpy",)) as worker:
        worker.close_if_full()
        assert worker.starts == 0
        first = worker.call(_keep, 0.001, returns=int)
        worker.close_if_full()
        assert worker.call(_keep, 0.2, returns=int) == first
        monkeypatch.setenv(limits.MEMORY, "0.8")
        worker.close_if_full()
        assert worker.call(_keep, 0.001, returns=int) != first
    assert ours.all()


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


@FORKED_ALONE
def test_work_of_our_own_takes_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.MEMORY, "0.02")
    with limits.time_limit(0.2), Worker(("numpy",), limited=False) as worker:
        assert worker.call(_held, 0.6, 30_000_000, returns=int) == 30_000_000
    with limits.time_limit(0.2), Worker(("numpy",)) as worker, pytest.raises(WorkerError):
        worker.call(_held, 0.6, 30_000_000, returns=int)
