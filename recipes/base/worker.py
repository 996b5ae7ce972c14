"""A process of its own for what may crash, hang or take all memory: native runtimes, and files that strangers wrote.

What a function asks of a worker is pickled, since it comes from here; what a worker answers is read as JSON and raw
arrays alone, since it has looked at foreign bytes.

A worker is a fresh interpreter, or a fork of this process after the heavy modules that it needs have been imported:
PyTorch and coremltools take seconds to import and milliseconds to fork. Only Linux forks: Apple's frameworks do not
survive it (https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods).
"""

import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from math import inf
from types import TracebackType
from typing import Any, Protocol, TypeVar, overload

from pydantic import TypeAdapter, ValidationError

from recipes.base import limits, shared_memory, wire, worker_process
from recipes.base.shared_memory import Half
from recipes.base.wire import Arrays
from recipes.base.worker_process import LARGEST_PIPE

_T = TypeVar("_T")

_MOST_SAID = 65536


class WorkerError(Exception):
    """A worker died, ran over a limit, or was refused by the system; the message says which and has no subject."""


class WorkerDiedError(WorkerError):
    """It crashed, or was ended since a call took too long; the next call starts another."""


class WorkerBugError(Exception):
    """What was called raised what nobody foresaw: a fault of ours, whatever it looked at. The traceback is a note."""


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
class _Started:
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


class Worker:
    """Calls functions in a process that starts at the first call and stays; after a death the next call starts anew.

    `needs` are heavy modules that the functions import. The process ends with this object, and with the process that
    made it, however that ends. Safe to call from several threads, which wait for each other. What is our own work, on
    data of ours, may be `limited` neither in time nor in memory.
    """

    def __init__(self, needs: Sequence[str] = (), *, limited: bool = True) -> None:
        self._needs = tuple(needs)
        self._limited = limited
        self._lock = threading.Lock()
        self._started: _Started | None = None
        self._finalizer: weakref.finalize | None = None
        self._bare = 0
        self.starts = 0

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether a process is there that was started for an earlier call."""
        # The finalizer is dead before it begins to end the process, and an interruption amid that changes nothing.
        ended = self._finalizer is None or not self._finalizer.alive
        return self._started is not None and not ended and self._started.owner == os.getpid()

    def start(self) -> None:
        """Start the process now, and not at the first call: a fork is of the thread that asks for it."""
        with self._lock:
            self._alive()

    def close(self) -> None:
        """End the process; a later call starts another."""
        if self._finalizer is not None:
            self._finalizer()
        self._started = self._finalizer = None

    def close_if_full(self) -> None:
        """End a process that has taken more than an eighth of what it may, which is the next call's too."""
        if self._started is None or not self.alive:
            return
        held = _resident(self._started.process.pid)
        if held is None or held - self._bare > limits.memory() // 8:
            self.close()

    @overload
    def call(
        self, function: Callable[..., Arrays], *arguments: Any, raises: tuple[type[Exception], ...] = ()
    ) -> Arrays: ...

    @overload
    def call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        returns: type[_T],
        raises: tuple[type[Exception], ...] = (),
    ) -> _T: ...

    def call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        returns: Any = None,
        raises: tuple[type[Exception], ...] = (),
    ) -> Any:
        """`function(*arguments)` there: a mapping of arrays, or plain dataclasses and numbers of the type `returns`.

        Raises those of `raises` that the function raises, by their message alone, WorkerError where it cannot be
        called or takes too much, and WorkerBugError for all else that it raises.
        """
        with self._lock:
            try:
                header, arrays = self._exchange((function, arguments))
            except BaseException:
                # Ctrl-C amid an answer too, whose rest the next call would take for its own.
                self.close()
                raise
        if "error" in header:
            kind, message, trace = header["error"]
            for known in raises:
                if known.__name__ == kind:
                    raise known(message)
            if kind == MemoryError.__name__:
                raise WorkerError(_out_of_memory())
            if kind == OSError.__name__:
                raise WorkerError(f"failed: {message}")
            bug = WorkerBugError(f"{kind}: {message}")
            bug.add_note(trace)
            raise bug
        if returns is None:
            return arrays
        try:
            return TypeAdapter(returns).validate_python(header.get("value"))
        except (ValidationError, RecursionError) as error:
            raise WorkerError("answered what nobody can read") from error

    def _exchange(self, call: tuple[Callable[..., Any], tuple[Any, ...]]) -> tuple[dict[str, Any], Arrays]:
        deadline = time.monotonic() + limits.seconds() if self._limited else inf
        started = self._alive()
        request = wire.request(call, started.asked)
        try:
            wire.write(started.requests, request, deadline)
            return wire.answer(started.answers, started.room, _most(), deadline)
        except (EOFError, BrokenPipeError):
            raise WorkerDiedError(self._death()) from None
        except TimeoutError:
            message = f"took more than {limits.seconds():g} s and was ended; --timeout S gives it more"
            raise WorkerDiedError(message) from None
        except wire.TooMuchError:
            raise WorkerError(f"answers with more than {_most() / 1e9:.2g} GB; {_more_memory()}") from None
        except (ValueError, TypeError, RecursionError) as error:
            raise WorkerError("answered what nobody can read") from error

    def _alive(self) -> _Started:
        if self._started is None or not self.alive:
            # In a fork of the process that started one, another: two would read from one pipe.
            self._started = _start(self._needs, limits.memory() if self._limited else None)
            self._finalizer = weakref.finalize(self, self._started.end)
            # A fork holds what this process does.
            self._bare = _resident(self._started.process.pid) or 0
            self.starts += 1
        return self._started

    def _death(self) -> str:
        """How it ended, and what it said of the reason."""
        assert self._started is not None
        assert self._finalizer is not None
        os.set_blocking(self._started.said, False)
        try:
            said = os.read(self._started.said, _MOST_SAID).decode("utf-8", "replace")
        except BlockingIOError:
            said = ""
        # The pipe is shut by its end alone, so that there is none left to kill.
        code = self._finalizer() or 0
        self._started = self._finalizer = None
        told = f": {reason}" if (reason := _reason(said)) else ""
        if code >= 0:
            return f"ended with exit code {code}{told}"
        name = signal.Signals(-code).name if -code in {*signal.Signals} else "unknown"
        return f"crashed (signal {-code}, {name}){told}"


def _resident(process: int) -> int | None:
    """The bytes of memory that it holds; None where nobody says so."""
    try:
        with open(f"/proc/{process}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _reason(said: str) -> str:
    """Of native code the last line; of Rust the one below the place of its first panic, of which all else follows."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    panics = [index for index, line in enumerate(lines[:-1]) if " panicked at " in line]
    return (lines[panics[0] + 1] if panics else lines[-1])[:200] if lines else ""


def _more_memory() -> str:
    return f"{limits.MEMORY}, in GB, gives it more"


def _out_of_memory() -> str:
    return f"needs more than {limits.memory() / 1e9:.3g} GB of memory; {_more_memory()}"


def _most() -> int:
    """What an answer may hold in bytes: it is read into this process, which has no limit."""
    return limits.memory() // 8


def _start(needs: tuple[str, ...], memory: int | None) -> _Started:
    forked = bool(needs) and sys.platform == "linux"
    for name in needs if forked else ():
        import_module(name)
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
    return _Started(process, requests, answers, said, life, room, Half(room, 0), os.getpid())


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
                # Held open there, none of them would ever end.
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
