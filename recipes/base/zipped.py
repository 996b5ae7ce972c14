"""Zip archives of strangers: every entry stored as it is, whole, checksummed, and together no larger than the file.

Layout: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.12 and 4.3.16.
"""

import struct
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray

# The end of the central directory where no comment follows, and before it, as torch.save always writes it, the locator
# of its 64-bit twin and the twin itself: each with the number of entries and the directory's bytes.
_END = struct.Struct("<4s6xHI6x")
_LOCATOR = struct.Struct("<4s4xQ4x")
_END64 = struct.Struct("<4s28xQQ8x")
_MOST_DIRECTORY_BYTES = 16_000_000
# Bits of an entry's flags: encrypted, holding patches to another file, and encrypted another way.
_ENCRYPTED, _PATCHED, _STRONGLY_ENCRYPTED = 0x1, 0x20, 0x40
_CHUNK = 1 << 20

# All that `zipfile` raises for a file that is none or damaged.
_BAD = (zipfile.BadZipFile, ValueError, EOFError, KeyError, IndexError, RuntimeError, struct.error, OverflowError)


class ZipError(Exception):
    """This is no such archive, or a part of it is missing or wrong."""


class Entries:
    """The entries of an open archive, by name."""

    def __init__(self, packed: zipfile.ZipFile, size: int) -> None:
        self._packed = packed
        self._infos = {info.filename: info for info in packed.infolist()}
        # As they lie in the file; what they claim to unpack to may be anything.
        self.total_bytes = sum(info.compress_size for info in packed.infolist())
        if len(self._infos) != len(packed.infolist()):
            raise ZipError("two entries of the archive have one name")
        if self.total_bytes > size:
            raise ZipError("its entries have more bytes than the file")

    @property
    def names(self) -> Collection[str]:
        return self._infos.keys()

    def refuse_unusual(self) -> None:
        """Raises ZipError where an entry is compressed, encrypted, or a patch."""
        for info in self._infos.values():
            _refuse_unusual(info)

    def read(self, name: str, most_bytes: int) -> bytes:
        """A whole stored entry; raises ZipError for one that is longer."""
        if name in self._infos and self._infos[name].file_size > most_bytes:
            raise ZipError(f"{name!r} in it has {self._infos[name].file_size} bytes")
        with self._opened(name) as file:
            return file.read()

    def read_into(self, name: str, memory: NDArray[np.uint8]) -> None:
        """A stored entry that is exactly as long; raises ZipError for another length and another checksum."""
        with self._opened(name) as file:
            if self._infos[name].file_size != len(memory):
                raise ZipError(f"{name!r} in it has {self._infos[name].file_size} bytes, and its tensors {len(memory)}")
            for place in range(0, len(memory), _CHUNK):
                part = file.read(_CHUNK)
                memory[place : place + len(part)] = np.frombuffer(part, np.uint8)

    def verify(self, read: Collection[str]) -> None:
        """Raises ZipError where an entry other than those that were read has not its checksum."""
        for name in self._infos.keys() - set(read):
            with self._opened(name) as file:
                while file.read(_CHUNK):
                    pass

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        if name not in self._infos:
            raise ZipError(f"it has no {name!r}")
        _refuse_unusual(self._infos[name])
        try:
            with self._packed.open(self._infos[name]) as file:
                yield file
        # A ValueError comes of a name or a place that cannot be.
        except (zipfile.BadZipFile, ValueError) as error:
            if "CRC" in str(error):
                raise ZipError(f"{name!r} in it has not the checksum that was written with it") from None
            raise ZipError(f"{name!r} in it is no entry of the archive, or cut off") from None
        except EOFError:
            raise ZipError(f"{name!r} in it is cut off") from None


@contextmanager
def archive(file: BinaryIO) -> Iterator[Entries]:
    """The entries of an archive; raises ZipError for what is none."""
    size = file.seek(0, 2)
    _refuse_directory(file, size)
    try:
        packed = zipfile.ZipFile(file)
    except _BAD as error:
        raise ZipError(type(error).__name__) from None
    with packed:
        yield Entries(packed, size)


def _refuse_directory(file: BinaryIO, size: int) -> None:
    """Raises ZipError where the list of entries, which `zipfile` reads at once, is missing or too long."""
    file.seek(max(0, size - _END.size - _LOCATOR.size - _END64.size))
    tail = file.read()
    end = tail[-_END.size :]
    if len(end) < _END.size or not end.startswith(b"PK\x05\x06"):
        raise ZipError("its end is missing")
    _, count, directory = _END.unpack(end)
    locator = tail[-_END.size - _LOCATOR.size : -_END.size]
    if locator.startswith(b"PK\x06\x07"):
        if _LOCATOR.unpack(locator)[1] != size - len(tail) or not tail.startswith(b"PK\x06\x06"):
            raise ZipError("its end is damaged")
        _, count, directory = _END64.unpack_from(tail)
    if directory > _MOST_DIRECTORY_BYTES:
        raise ZipError(f"it lists {count} entries in {directory} bytes")


def _refuse_unusual(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & (_ENCRYPTED | _PATCHED | _STRONGLY_ENCRYPTED):
        raise ZipError(f"{info.filename!r} in it is encrypted, or patches another file")
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ZipError(f"{info.filename!r} in it is compressed, which torch.save does not do")
