"""The other side of `recipes.base.worker`: what runs in the worker, light enough to start in a tenth of a second."""

import contextlib
import faulthandler
import fcntl
import gc
import json
import mmap
import os
import pickle
import resource
import select
import signal
import struct
import sys
import traceback
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from recipes.base import shared_memory
from recipes.base.shared_memory import Half

# The length of what follows it.
HEAD = struct.Struct("<Q")
# Of a call: where its arrays lie in the shared memory, as JSON, and the rest of it, as a pickle.
CALL = struct.Struct("<QQ")
# Most of what is said goes through in one go.
LARGEST_PIPE = 1 << 20


def main(pipes: Sequence[int], shared: int | None, memory: int | None) -> None:
    """Answers calls until there are no more; never returns.

    The pipes' ends are where calls come from, where answers go, where it speaks, and what it lives as long as. `shared`
    is what `shared_memory.made` gave. `memory` is in bytes, beyond what is taken by now; None limits nothing.
    """
    asked, answered, saying, living = pipes
    room = shared_memory.mapped(shared)
    half = Half(room, shared_memory.HALF)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with(living)
    _limit(memory)
    # What nobody reads is dropped.
    os.set_blocking(saying, False)
    while True:
        try:
            listed, size = CALL.unpack(_read(asked, CALL.size))
            places = json.loads(bytes(_read(asked, listed)))
            request = _read(asked, size)
        except EOFError:
            os._exit(0)
        with contextlib.suppress(BrokenPipeError):
            _answer(answered, request, _lying(room, places), half)


def after_fork(saying: int, mask: Collection[int]) -> None:
    """Leaves behind what belongs to the process that was forked: its handlers, streams, threads and garbage."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for end, stream in ((nothing, 0), (nothing, 1), (saying, 2)):
        os.dup2(end, stream)
    sys.stderr = os.fdopen(os.dup(2), "w", errors="backslashreplace")
    # It would write to the other's stream.
    faulthandler.disable()
    # What a finaliser would remove is still in use over there; and pages that nobody touches are not copied.
    gc.freeze()
    if "torch" in sys.modules:
        # The threads of its pool were not forked, and it would wait for them.
        sys.modules["torch"].set_num_threads(1)


def widen(end: int, size: int) -> None:
    """A larger pipe, where the system has that."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, size)


def _end_with(living: int) -> None:
    """Dies when nobody holds the other end of the pipe any longer, even amid native code that lets no Python run.

    Linux sends SIGIO when the last writer is gone, and a process that does not ask for it dies of that: pipe_release in
    https://github.com/torvalds/linux/blob/v6.12/fs/pipe.c. Elsewhere it ends after the call that it is in.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(living, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(living, fcntl.F_SETFL, fcntl.fcntl(living, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(living, 0)
    if poll.poll(0):
        os._exit(0)


def _limit(memory: int | None) -> None:
    # A core dump would be a file beside the user's own.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory is None:
        return
    taken = 0
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        taken = int(file.read().split()[5]) * resource.getpagesize()
    # Not the address space: files that are mapped and what is only reserved cost nothing.
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = taken + memory
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))


def _read(end: int, size: int) -> bytearray:
    content = bytearray(size)
    rest = memoryview(content)
    while rest:
        count = os.readv(end, [rest])
        if not count:
            raise EOFError
        rest = rest[count:]
    return content


def _lying(room: mmap.mmap | None, places: list[list[int]]) -> list[memoryview]:
    return [memoryview(room)[start:end] for start, end in places] if room is not None else []


def _answer(end: int, request: bytearray, lying: list[memoryview], half: Half) -> None:
    buffers: list[Any] = []
    try:
        function, arguments = pickle.loads(request, buffers=lying)
        value = function(*arguments)
        header, buffers = _encoded(value, half)
    except BaseException as error:
        # A MemoryError may hold what took the memory.
        text = "".join(traceback.format_exception(error))
        header = json.dumps({"error": [_kind(error), _message(error), text[-20_000:]]}).encode()
    for part in (HEAD.pack(len(header)) + header, *buffers):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(end, rest) :]


def _kind(error: BaseException) -> str:
    """Of what the system lacks, or does not let it have, the kind in general."""
    return next((kind.__name__ for kind in (MemoryError, OSError) if isinstance(error, kind)), type(error).__name__)


def _message(error: BaseException) -> str:
    """Its first line."""
    text = str(error).strip()
    return text.splitlines()[0] if text else ""


def _encoded(value: Any, half: Half) -> tuple[bytes, list[Any]]:
    """The header, and the bytes of arrays that find no room; what has no bytes of its own goes into the header."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, Mapping) and _are_arrays(value, numpy):
        half.clear()
        described, following = [], []
        for name, array in value.items():
            flat = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8).data if array.size else memoryview(b"")
            place = half.put(flat)
            described.append([name, array.dtype.str, list(array.shape), place])
            if place is None:
                following.append(flat)
        return json.dumps({"arrays": described}).encode(), following
    from pydantic_core import to_jsonable_python

    return json.dumps({"value": to_jsonable_python(value, inf_nan_mode="constants")}).encode(), []


def _are_arrays(value: Mapping[Any, Any], numpy: Any) -> bool:
    return bool(value) and all(isinstance(array, numpy.ndarray) for array in value.values())
