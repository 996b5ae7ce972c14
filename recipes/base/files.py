"""What is cheap to know of a file before anything of it is read: that it is one, and how large it is."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from recipes.base.errors import UserError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind(mode: int) -> str | None:
    """What something of this `st_mode` is, in words; None where it is a regular file."""
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


def special(path: Path) -> str | None:
    """What stands there, in words, where it is no file and no folder, so that opening it may wait, or never end."""
    found = kind(path.stat().st_mode)
    return None if found == "a folder" else found


@contextmanager
def opened(path: Path, most_bytes: int) -> Iterator[BinaryIO]:
    """A regular file of at most that many bytes, to be read.

    Raises UserError for a pipe, which would be waited for, a device, which may never end, and a file that is too large;
    OSError, as `open` does, for what is missing, a folder, or may not be read.
    """
    _refuse(path, path.stat(), most_bytes)
    # What stands there may be another thing by now: a pipe is not waited for, and is looked at once more.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        _refuse(path, os.fstat(file.fileno()), most_bytes)
        yield file


def content(path: Path, most_bytes: int) -> bytes:
    """All of such a file; raises what `opened` does."""
    with opened(path, most_bytes) as file:
        # Python takes memory for as many bytes as it is asked for, before it reads any.
        size = min(os.fstat(file.fileno()).st_size, most_bytes)
        found = file.read(size + 1)
    if len(found) > size:
        raise UserError(f"{path}: grows while it is read; try again when it is written")
    return found


def _refuse(path: Path, found: os.stat_result, most_bytes: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(21, "Is a directory", str(path))
    if what := kind(found.st_mode):
        raise UserError(f"{path}: is {what}, which is not read; give a file")
    if found.st_size > most_bytes:
        raise UserError(f"{path}: has {found.st_size} bytes; at most {most_bytes} are read of such a file")
