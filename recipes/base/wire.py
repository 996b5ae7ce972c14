"""What goes between a worker and the process that started it, as that one writes and reads it.

Whatever is read has been near foreign bytes: it is JSON and raw numbers, held to what can be before it is believed.
"""

import json
import mmap
import os
import pickle
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import numpy as np

from recipes.base import shared_memory
from recipes.base.shared_memory import Half
from recipes.base.worker_process import CALL, HEAD

Arrays = dict[str, np.ndarray]

# Numbers and truth values; no objects, which would be pointers, no text, no records.
_KINDS = "biuf"


class TooMuchError(Exception):
    """An answer has more bytes than are taken."""


def request(call: tuple[Callable[..., Any], tuple[Any, ...]], half: Half) -> bytes:
    """A function and its arguments as the worker reads them; arrays lie in the shared memory while there is room."""
    places: list[tuple[int, int]] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        content = buffer.raw()
        place = half.put(content)
        if place is not None:
            places.append((place, place + content.nbytes))
        # Whether it has to go with the rest.
        return place is None

    half.clear()
    content = pickle.dumps(call, protocol=5, buffer_callback=keep)
    listed = json.dumps(places).encode()
    return CALL.pack(len(listed), len(content)) + listed + content


def write(end: int, content: bytes, deadline: float) -> None:
    """All of it; TimeoutError after the deadline, BrokenPipeError where nobody reads any more."""
    rest = memoryview(content)
    while rest:
        try:
            rest = rest[os.write(end, rest) :]
        except BlockingIOError:
            _ready(end, select.POLLOUT, deadline)


def answer(end: int, room: mmap.mmap | None, most: int, deadline: float) -> tuple[dict[str, Any], Arrays]:
    """A whole answer of at most so many bytes: what it says, and its arrays, out of `room` or as they follow.

    It says a `value`, or an `error`: name, message and traceback of the exception. Raises EOFError where it ends,
    TimeoutError, TooMuchError, and for what is no answer ValueError, TypeError or RecursionError.
    """
    (size,) = HEAD.unpack(_read(end, HEAD.size, deadline))
    if size > most:
        raise TooMuchError
    header = json.loads(bytes(_read(end, size, deadline)))
    if not isinstance(header, dict):
        raise TypeError(header)
    if "error" in header and [type(part) for part in header["error"]] != [str] * 3:
        raise TypeError(header)
    described = [_checked(*entry) for entry in header.get("arrays", [])]
    if sum(array.nbytes for array in described) > most:
        raise TooMuchError
    return header, {array.name: _array(end, room, array, deadline) for array in described}


@dataclass(frozen=True)
class _Described:
    """An array of an answer: where it lies in the shared memory, or None where it follows."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    place: int | None

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * prod(self.shape)


def _checked(name: object, dtype: object, shape: object, place: object) -> _Described:
    """What a header says of an array, if it can be so. Raises ValueError or TypeError."""
    if not isinstance(name, str) or not isinstance(dtype, str) or not isinstance(shape, list):
        raise TypeError(name)
    found = np.dtype(dtype)
    if found.kind not in _KINDS or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(name)
    if place is not None and not (isinstance(place, int) and place >= 0):
        raise ValueError(name)
    return _Described(name, found, tuple(shape), place)


def _array(end: int, room: mmap.mmap | None, described: _Described, deadline: float) -> np.ndarray:
    """A copy, which nobody else can change any more."""
    array = np.empty(described.shape, described.dtype)
    if not array.size:
        return array
    content = array.reshape(-1).view(np.uint8).data
    if described.place is None:
        _fill(end, content, deadline)
        return array
    if room is None or described.place + array.nbytes > shared_memory.SIZE:
        raise ValueError(described.name)
    content[:] = memoryview(room)[described.place : described.place + array.nbytes]
    return array


def _ready(end: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(end, event)
    # A command that was stopped for a while, and goes on, takes what has come meanwhile.
    if not poll.poll(None if deadline == inf else max(0, deadline - time.monotonic()) * 1000):
        raise TimeoutError


def _read(end: int, size: int, deadline: float) -> bytearray:
    content = bytearray(size)
    _fill(end, memoryview(content), deadline)
    return content


def _fill(end: int, rest: memoryview, deadline: float) -> None:
    while rest:
        _ready(end, select.POLLIN, deadline)
        count = os.readv(end, [rest])
        if not count:
            raise EOFError
        rest = rest[count:]
