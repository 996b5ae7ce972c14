"""Starts the process of a worker: a fresh interpreter, or a fork of this one; and this side of its pipes.

A fork comes after the heavy modules that it needs have been imported: PyTorch and coremltools take seconds to import
and milliseconds to fork. Only Linux forks: Apple's frameworks do not survive it
(https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods).
"""

import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from recipes.base import shared_memory, worker_process
from recipes.base.shared_memory import Half
from recipes.base.worker_process import LARGEST_PIPE


class _Process(Protocol):
    pid: int

    def kill(self) -> None: ...

    def wait(self) -> int: ...


class _Fork:
    """The part of Popen that is needed here, of a process that was forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@dataclass(frozen=True)
class Started:
    """A process, this side of its pipes, and what they share; it ends when `life` is closed, at the latest with us.

    `room` is the whole of the shared memory, where there is one, and `asked` the half for calls.
    """

    process: _Process
    requests: int
    answers: int
    said: int
    life: int
    room: mmap.mmap | None
    asked: Half
    owner: int

    def end(self) -> int:
        """Its exit code; negative is the signal that ended it, SIGKILL where it was alive."""
        if self.owner != os.getpid():
            # A fork of the owner: the pipes' ends are copies, and the process is another's.
            return 0
        # It leads a session: a program that it has started, and waits for, would go on without it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        code = self.process.wait()
        _close((self.requests, self.answers, self.said, self.life))
        return code


# A fork amid another's start would hold that one's pipes open: its death would not be seen, nor would it see ours.
_starting = threading.Lock()


def start(needs: tuple[str, ...], memory: int | None) -> Started:
    """A worker's process. `needs` are heavy modules; `memory` is what it may take, in bytes; None limits nothing."""
    forked = bool(needs) and sys.platform == "linux"
    for name in needs if forked else ():
        import_module(name)
    with _starting:
        (asked, requests), (answers, answered), (said, saying), (living, life) = (os.pipe() for _ in range(4))
        theirs, ours = (asked, answered, saying, living), (requests, answers, said, life)
        shared = shared_memory.made()
        try:
            room = shared_memory.mapped(shared)
            process = _forked(theirs, ours, shared, memory) if forked else _spawned(theirs, shared, memory)
        except BaseException:
            _close(ours)
            raise
        finally:
            _close(theirs if shared is None else (*theirs, shared))
    worker_process.widen(requests, LARGEST_PIPE)
    worker_process.widen(answers, LARGEST_PIPE)
    os.set_blocking(requests, False)
    return Started(process, requests, answers, said, life, room, Half(room, 0), os.getpid())


def _spawned(pipes: tuple[int, ...], shared: int | None, memory: int | None) -> _Process:
    """A fresh interpreter, which finds modules where this one does and nowhere else: not in the current folder."""
    code = (
        "import json, sys\n"
        "path, *numbers = json.loads(sys.argv[1])\n"
        "sys.path[:] = path\n"
        "from recipes.base.worker_process import main\n"
        "main(numbers[:4], *numbers[4:])\n"
    )
    path = [entry for entry in sys.path if isinstance(entry, str)]
    return subprocess.Popen(
        [sys.executable, "-I", "-c", code, json.dumps([path, *pipes, shared, memory])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=pipes[2],
        pass_fds=pipes if shared is None else (*pipes, shared),
        # Ctrl-C of a terminal is for the command, which ends its workers itself.
        start_new_session=True,
    )


def _forked(pipes: tuple[int, ...], others: tuple[int, ...], shared: int | None, memory: int | None) -> _Process:
    # A handler of this process must not run in the other one before that has taken its own.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of forks where threads run. A spinner's and those of native pools do: the worker uses
            # neither, as those of PyTorch's own DataLoader.
            warnings.simplefilter("ignore")
            pid = os.fork()
        if pid == 0:
            try:
                # Held there, none of them would ever end.
                _starting.release()
                _close(others)
                worker_process.after_fork(pipes[2], blocked)
                worker_process.main(pipes, shared, memory)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return _Fork(pid)


def _close(ends: Iterable[int]) -> None:
    for end in ends:
        os.close(end)
