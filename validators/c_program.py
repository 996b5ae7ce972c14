"""Whether a program is one file that needs nothing of the system it runs on."""

import struct
from collections.abc import Iterator
from pathlib import Path

from recipes.base import files
from validators.results import Check, judged

# https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html and ch5.pheader.html
_MACHINES = {"x86_64": 62, "aarch64": 183}
_INTERPRETER = 3
_MOST_BYTES = 2**31


def check_static(path: Path, machine: str) -> Check:
    """One check of the file's form: `machine` is that of an ELF file, or "wasm32"."""
    return judged(path.name, "fp32", "file", _faults(files.content(path, _MOST_BYTES), machine))


def _faults(content: bytes, machine: str) -> Iterator[str]:
    if machine == "wasm32":
        # https://webassembly.github.io/spec/core/binary/modules.html#binary-module
        if content[:8] != b"\0asm\1\0\0\0":
            yield "is no WebAssembly module"
        return
    # 64 bits, little-endian.
    if content[:6] != b"\x7fELF\2\1" or len(content) < 64:
        yield "is no ELF file of 64 bits"
        return
    (found,) = struct.unpack_from("<H", content, 18)
    if found != _MACHINES[machine]:
        yield f"is for the machine {found}, expected {_MACHINES[machine]} ({machine})"
    (table,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    for number in range(count):
        place = table + number * size
        if place + 4 > len(content):
            yield "is cut off"
            return
        if struct.unpack_from("<I", content, place)[0] == _INTERPRETER:
            yield "is not static: it names a program that loads libraries for it"
