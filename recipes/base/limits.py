"""How much time and memory a worker may take: generous for any published model, and an end for what has none."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import isfinite

from recipes.base.errors import UserError

MEMORY = "SOUNDPORT_MEMORY"

_SECONDS: ContextVar[float] = ContextVar("seconds", default=300.0)
# A worker that takes more than half of the machine is one that the system ends first, or that slows down all else.
_GIGABYTES, _PART = 8.0, 0.5


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Within it, a call of a worker may take so many seconds; None changes nothing. Raises UserError for no time."""
    if seconds is None:
        yield
        return
    if not (isfinite(seconds) and seconds > 0):
        raise UserError(f"--timeout {seconds:g}: give a number of seconds, more than 0")
    token = _SECONDS.set(seconds)
    try:
        yield
    finally:
        _SECONDS.reset(token)


def seconds() -> float:
    """What one call of a worker may take."""
    return _SECONDS.get()


def memory() -> int:
    """What a worker may take in bytes, beyond what it starts with: 8 GB, or half of the machine's memory if less.

    SOUNDPORT_MEMORY sets it. Raises UserError for a setting that is none.
    """
    given = os.environ.get(MEMORY, "")
    try:
        gigabytes = float(given) if given else min(_GIGABYTES, _PART * _installed() / 1e9)
    except ValueError:
        gigabytes = 0.0
    if not (isfinite(gigabytes) and gigabytes > 0):
        raise UserError(f"the environment variable {MEMORY} is {given!r}; give a number of gigabytes, more than 0")
    return int(gigabytes * 1e9)


def _installed() -> int:
    """The machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
