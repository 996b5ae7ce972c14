"""Memory that a worker and the process that started it share: arrays go there and back without a pipe between.

Nobody can make it smaller, so that a worker which a file has taken over cannot pull it away from under the reader
(https://man7.org/linux/man-pages/man2/memfd_create.2.html). Only Linux has that; elsewhere, and where an array finds no
room, all goes through the pipes.
"""

import fcntl
import mmap
import os

# Pages that nobody writes cost nothing. What is asked lies in the first half, what is answered in the second.
SIZE = 1 << 26
HALF = SIZE // 2
# The arrays' own alignment: https://numpy.org/doc/stable/reference/c-api/data_memory.html
_ALIGNED = 64


def made() -> int | None:
    """The descriptor of such a memory; None where the system has none."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        end = os.memfd_create("soundport", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return None
    try:
        os.ftruncate(end, SIZE)
        fcntl.fcntl(end, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except OSError:
        os.close(end)
        return None
    return end


class Half:
    """One half, into which bytes are put one after the other until it is full, and then from its beginning again."""

    def __init__(self, memory: mmap.mmap | None, start: int) -> None:
        self._memory, self._start = memory, start
        self._place = start

    def clear(self) -> None:
        """What lies there is needed no longer."""
        self._place = self._start

    def put(self, content: memoryview) -> int | None:
        """Where the bytes lie now; None where there is no room for them."""
        end = self._place + content.nbytes
        if self._memory is None or end > self._start + HALF:
            return None
        place = self._place
        self._memory[place:end] = content
        self._place = -(-end // _ALIGNED) * _ALIGNED
        return place


def mapped(end: int | None) -> mmap.mmap | None:
    """The memory of that descriptor, in this process."""
    return None if end is None else mmap.mmap(end, SIZE)
