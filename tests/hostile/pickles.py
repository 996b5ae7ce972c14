"""Checkpoints, byte by byte: the opcodes of a pickle, and the two containers that `torch.save` puts it into."""

import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PROTOCOL = b"\x80\x02"
FLOATS = struct.pack("<4f", 1, 2, 3, 4)
MAGIC = PROTOCOL + b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
VERSION = PROTOCOL + b"M\xe9\x03."


def value(plain: object) -> bytes:
    """The opcodes of a number, a text, or a tuple of such."""
    if plain is None:
        return b"N"
    if isinstance(plain, bool):
        return b"\x88" if plain else b"\x89"
    if isinstance(plain, int):
        if -(2**31) <= plain < 2**31:
            return b"J" + struct.pack("<i", plain)
        content = plain.to_bytes(plain.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(content)]) + content
    if isinstance(plain, float):
        return b"G" + struct.pack(">d", plain)
    if isinstance(plain, str):
        content = plain.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(content)) + content
    assert isinstance(plain, tuple)
    return b"(" + b"".join(map(value, plain)) + b"t"


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def called(name: bytes, *arguments: bytes) -> bytes:
    return name + b"(" + b"".join(arguments) + b"tR"


def storage(key: str = "0", count: object = 4, kind: str = "FloatStorage", module: str = "torch") -> bytes:
    return b"(" + value("storage") + named(module, kind) + value(key) + value("cpu") + value(count) + b"tQ"


REBUILD = named("torch._utils", "_rebuild_tensor_v2")
EMPTY = called(named("collections", "OrderedDict"))


def tensor(
    shape: object = (4,), strides: object = (1,), offset: object = 0, within: bytes | None = None, by: bytes = REBUILD
) -> bytes:
    return called(by, within or storage(), value(offset), value(shape), value(strides), b"\x89", EMPTY)


def mapping(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(value(key) + item for key, item in items.items()) + b"u"


def state(**items: bytes) -> bytes:
    """A whole pickle of a state dict."""
    return PROTOCOL + mapping(items) + b"."


def zipped(path: Path, pickle: bytes, data: Mapping[str, bytes] | None = None, method: int = 0) -> Path:
    """As torch.save lays it out."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/byteorder", b"little")
        for key, content in ({"0": FLOATS} if data is None else data).items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", b"3\n")
    return path


def legacy(
    path: Path,
    pickle: bytes,
    keys: Sequence[str] = ("0",),
    counts: Sequence[int] = (4,),
    content: bytes = FLOATS,
    little: bool = True,
) -> Path:
    """As torch.save laid it out before 1.6."""
    system = PROTOCOL + mapping({"protocol_version": value(1001), "little_endian": value(little)}) + b"."
    listed = PROTOCOL + b"](" + b"".join(map(value, keys)) + b"e."
    size = len(content) // max(1, len(counts))
    parts = [struct.pack("<q", count) + content[i * size : (i + 1) * size] for i, count in enumerate(counts)]
    path.write_bytes(MAGIC + VERSION + system + pickle + listed + b"".join(parts))
    return path
