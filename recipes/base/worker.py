"""A process of its own for what may crash, hang or take all memory: native runtimes, and files that strangers wrote.

What a function asks of a worker is pickled, since it comes from here; what a worker answers is read as JSON and raw
arrays alone, since it has looked at foreign bytes.

How its process is started is in `worker_start`.
"""

import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import Any, TypeVar, overload

from pydantic import TypeAdapter, ValidationError

from recipes.base import limits, wire
from recipes.base.wire import Arrays
from recipes.base.worker_start import Started, start

_T = TypeVar("_T")

_MOST_SAID = 65536
# Seconds.
_LATE = 10.0


class WorkerError(Exception):
    """A worker died, ran over a limit, or was refused by the system; the message says which and has no subject."""


class WorkerDiedError(WorkerError):
    """It crashed, or was ended since a call took too long; the next call starts another."""


class WorkerBugError(Exception):
    """What was called raised what nobody foresaw: a fault of ours, whatever it looked at. The traceback is a note."""


@dataclass
class _Unread:
    """A call until its answer is read: when that must be there, and then what it is, or why there is none."""

    deadline: float
    answer: tuple[dict[str, Any], Arrays] | None = None
    failure: WorkerError | None = None


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
        self._started: Started | None = None
        self._finalizer: weakref.finalize | None = None
        self._unread: _Unread | None = None
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
        if self._unread is not None and self._unread.failure is None:
            self._unread.failure = WorkerDiedError("was ended before it answered")
        self._unread = None
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
        return self.ask(function, *arguments, returns=returns, raises=raises)()

    def ask(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        returns: Any = None,
        raises: tuple[type[Exception], ...] = (),
    ) -> Callable[[], Any]:
        """As `call`, without waiting: what it gives waits, answers and raises. Its time begins now.

        What is asked next waits for that answer first; a worker that is closed before it is read has none.
        """
        with self._lock:
            self._settle()
            unread = self._asked((function, arguments))

        def wait() -> Any:
            with self._lock:
                if unread is self._unread:
                    self._read(unread)
            return _told(unread, returns, raises)

        return wait

    def settle(self) -> None:
        """Wait for what was asked, if anything was; its answer stays for whoever asked."""
        with self._lock:
            self._settle()

    def _settle(self) -> None:
        if self._unread is not None:
            self._read(self._unread)

    def _asked(self, call: tuple[Callable[..., Any], tuple[Any, ...]]) -> _Unread:
        started = self._alive()
        request = wire.request(call, started.asked)
        unread = _Unread(time.monotonic() + limits.seconds() if self._limited else inf)
        with self._watched(unread):
            wire.write(started.requests, request, unread.deadline)
            self._unread = unread
        return unread

    def _read(self, unread: _Unread) -> None:
        if self._started is None or not self.alive:
            # Of another process, of which this one is a fork.
            self.close()
            return
        # What is there, but for what finds no room in the pipe, is not late where whoever waits comes late.
        deadline = max(unread.deadline, time.monotonic() + min(_LATE, limits.seconds()))
        with self._watched(unread):
            unread.answer = wire.answer(self._started.answers, self._started.room, _most(), deadline)
            self._unread = None

    @contextmanager
    def _watched(self, unread: _Unread) -> Iterator[None]:
        """What fails on the way is kept for whoever waits; whatever it is, that process is not asked again."""
        try:
            yield
        except BaseException as error:
            failure = None
            try:
                failure = unread.failure = self._failure(error)
            finally:
                # The rest of an answer would be taken for the next one's, after Ctrl-C too.
                self.close()
            if failure is None:
                raise
            failure.__cause__ = error

    def _failure(self, error: BaseException) -> WorkerError | None:
        """What an error between the two ends says of the worker; None for one of whoever waits, such as Ctrl-C."""
        match error:
            case EOFError() | BrokenPipeError():
                return WorkerDiedError(self._death())
            case TimeoutError():
                return WorkerDiedError(
                    f"took more than {limits.seconds():g} s and was ended; --timeout S gives it more"
                )
            case wire.TooMuchError():
                return WorkerError(f"answers with more than {_most() / 1e9:.2g} GB; {_more_memory()}")
            case ValueError() | TypeError() | RecursionError():
                return WorkerError("answered what nobody can read")
        return None

    def _alive(self) -> Started:
        if self._started is None or not self.alive:
            # In a fork of the process that started one, another: two would read from one pipe.
            self._started = start(self._needs, limits.memory() if self._limited else None)
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


def _told(read: _Unread, returns: Any, raises: tuple[type[Exception], ...]) -> Any:
    """What a call gives, or raises, once its answer is there."""
    if read.failure is not None:
        raise read.failure
    assert read.answer is not None
    header, arrays = read.answer
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
