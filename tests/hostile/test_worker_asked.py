"""What a worker is asked without waiting: every answer is for whoever asked, and none is waited for in vain."""

import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from recipes.base import limits
from recipes.base.worker import Worker, WorkerDiedError
from validators.runners import isolated
from validators.runners.runner import Runner, RunnerError

# A fork knows the functions of this module; a fresh interpreter finds no tests.
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a fork")
NUMPY = ("numpy",)


def _same(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return arrays


def _sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def _ones(megabytes: int) -> dict[str, np.ndarray]:
    return {"x": np.ones(megabytes * 1_000_000 + 1, np.int8)}


def _run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if inputs["x"][0]:
        os.abort()
    return dict(inputs)


def _touch(path: str) -> str:
    Path(path).touch()
    return path


def test_what_is_asked_goes_on_while_nobody_waits(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with Worker(NUMPY) as worker:
        answer = worker.ask(_touch, str(done), returns=str)
        deadline = time.monotonic() + 10
        while not done.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert done.exists()
        assert answer() == answer() == str(done)


def test_each_answer_is_for_whoever_asked() -> None:
    """In shared memory the next one lies where the one before did."""
    with Worker(NUMPY) as worker:
        waiting = [worker.ask(_same, {"x": np.full(1000, seed)}) for seed in range(3)]
        assert [int(wait()["x"].max()) for wait in reversed(waiting)] == [2, 1, 0]
        died, next_one = worker.ask(os.abort), worker.ask(str, "word", returns=str)
        assert next_one() == "word"
        with pytest.raises(WorkerDiedError, match=r"^crashed"):
            died()
        assert worker.starts == 2


def test_a_worker_that_is_closed_does_not_answer() -> None:
    with Worker(NUMPY) as worker:
        answer = worker.ask(_sleep, 60, returns=int)
        worker.close()
        with pytest.raises(WorkerDiedError, match=r"^was ended before it answered"):
            answer()
        assert worker.call(str, "word", returns=str) == "word"


def test_an_interruption_of_who_waits_goes_on_and_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with Worker(NUMPY) as worker:
        answer = worker.ask(_sleep, 60, returns=int)
        with monkeypatch.context() as patch:
            patch.setattr("recipes.base.wire.answer", interrupted)
            with pytest.raises(KeyboardInterrupt):
                answer()
        assert not worker.alive
        with pytest.raises(WorkerDiedError, match=r"^was ended before it answered"):
            answer()
        assert worker.call(str, "word", returns=str) == "word"


def test_time_that_nobody_waits_for_counts() -> None:
    with Worker(NUMPY) as worker:
        worker.start()
        with limits.time_limit(0.2):
            late, begun = worker.ask(_sleep, 60, returns=int), time.monotonic()
            time.sleep(0.3)
            with pytest.raises(WorkerDiedError, match=r"^took more than 0.2 s"):
                late()
            assert time.monotonic() - begun < 5


@pytest.mark.parametrize("megabytes", [0, 50])
def test_what_has_come_by_then_is_taken_however_late(megabytes: int) -> None:
    """What finds no room between the two comes as it is read."""
    with Worker(NUMPY) as worker:
        worker.start()
        with limits.time_limit(1):
            answer = worker.ask(_ones, megabytes)
            time.sleep(1.2)
            assert answer()["x"].sum() == megabytes * 1_000_000 + 1


def test_what_cannot_be_asked_is_an_error_of_whoever_asks() -> None:
    with Worker(NUMPY) as worker:
        process = worker.call(_sleep, 0, returns=int)
        with pytest.raises(TypeError, match=r"cannot pickle"):
            worker.ask(_same, threading.Lock())
        assert worker.call(_sleep, 0, returns=int) == process


def test_a_runner_whose_process_died_is_loaded_again_for_what_is_asked_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often somebody waits for what died, it died once."""
    monkeypatch.setattr(sys.modules[__name__], "opener", lambda _: Runner("it", (), (), {}, _run), raising=False)
    with Worker(NUMPY) as worker:
        runner = isolated.opened("it", f"{__name__}:opener", Path("it.onnx"), worker)
        assert runner.ask is not None
        died, fine = (runner.ask({"x": np.array([value])}) for value in (1.0, 0.0))
        assert fine()["x"] == [0]
        for _ in range(3):
            with pytest.raises(RunnerError, match=r"^it crashed"):
                died()
        assert runner.run({"x": np.array([0.0])})["x"] == [0]


def test_forks_that_start_at_once_hold_nothing_of_each_other() -> None:
    """Else the death of one is seen once the other has died too."""
    workers = [Worker(NUMPY) for _ in range(8)]
    threads = [threading.Thread(target=worker.start) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with limits.time_limit(5):
        for worker in workers:
            with pytest.raises(WorkerDiedError, match=r"^crashed"):
                worker.call(os.abort)
    for worker in workers:
        worker.close()
