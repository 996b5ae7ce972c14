"""Whether a program needs nothing of the system is read from its head."""

import struct
from pathlib import Path

import pytest

from validators.c_program import check_static


def elf(machine: int = 62, segments: tuple[int, ...] = (1, 6), count: int | None = None) -> bytes:
    """The head of an ELF file with segments of these types."""
    head = b"\x7fELF\2\1\1" + b"\0" * 9
    head += struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, len(segments) if count is None else count, 0, 0, 0
    )
    return head + b"".join(struct.pack("<I", kind) + b"\0" * 52 for kind in segments)


@pytest.mark.parametrize(
    ("content", "machine", "said"),
    [
        (elf(), "x86_64", ""),
        (elf(183), "aarch64", ""),
        (b"\0asm\1\0\0\0more", "wasm32", ""),
        (elf(), "aarch64", "is for the machine 62, expected 183"),
        (elf(segments=(1, 3)), "x86_64", "is not static"),
        (elf(count=500), "x86_64", "is cut off"),
        (b"#!/bin/sh", "x86_64", "is no ELF file"),
        (b"", "x86_64", "is no ELF file"),
        (elf(), "wasm32", "is no WebAssembly module"),
    ],
)
def test_a_program_is_what_it_was_built_for(content: bytes, machine: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "tag").write_bytes(content)
    check = check_static(tmp_path / "tag", machine)
    assert check.status == ("failed" if said else "passed")
    assert said in check.message
