"""`.npy` and `.npz`: the header is read for what it says, and the numbers are bytes; nothing is ever unpickled.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import lzma
import struct
import zipfile
import zlib
from io import BytesIO
from math import prod
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

from recipes.base import files
from recipes.base.errors import UserError
from validators.compare import Sampled
from validators.dumps.dump import Dump, as_numbers

MOST_BYTES_UNPACKED = 2**30
# Of a file.
_MOST_BYTES = 2**30

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BAD_HEADER = (ValueError, SyntaxError, TokenError, EOFError, OverflowError, MemoryError, RecursionError)
# An encrypted entry is a RuntimeError, and an unknown method one that is not implemented.
_BAD_ARCHIVE = (
    OSError,
    EOFError,
    ValueError,
    IndexError,
    struct.error,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def array(path: Path, content: bytes) -> Dump:
    """One array, by the name of the file."""
    return Dump({"": {path.stem: _sampled(_array(str(path), content))}})


def archive(path: Path, content: bytes) -> Dump:
    """The arrays of an archive, by their names in it. Raises UserError for one that would unpack to too much."""
    found = arrays(path, content)
    if not found:
        raise UserError(f"{path}: holds no array; write it with numpy.savez")
    return Dump({"": {name: _sampled(values) for name, values in found.items()}})


def arrays_of(path: Path) -> dict[str, NDArray[np.generic]]:
    """What the archive at a path holds, as `arrays`; UserError where it cannot be read."""
    try:
        return arrays(path, files.content(path, _MOST_BYTES))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; give a WAV, FLAC or .npz file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def arrays(path: Path, content: bytes) -> dict[str, NDArray[np.generic]]:
    """The arrays of an archive as they are, by their names in it; read-only. Raises UserError, as `archive` does."""
    found: dict[str, NDArray[np.generic]] = {}
    try:
        with zipfile.ZipFile(BytesIO(content)) as packed:
            members = packed.infolist()
            if (total := sum(member.file_size for member in members)) > MOST_BYTES_UNPACKED:
                raise UserError(f"{path}: unpacks to {total} bytes; at most {MOST_BYTES_UNPACKED} are read")
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name in found:
                    raise UserError(f"{path}: holds {name!r} twice; write it with numpy.savez")
                # zipfile gives no more than the size that was summed up.
                found[name] = _array(f"{path}: {name}", packed.read(member))
    except _BAD_ARCHIVE as error:
        raise UserError(f"{path}: is no .npz of plain arrays ({error}); write it with numpy.savez") from None
    return found


def _sampled(values: NDArray[np.generic]) -> Sampled:
    return Sampled.of(as_numbers(values))


def _array(where: str, content: bytes) -> NDArray[np.generic]:
    stream = BytesIO(content)
    try:
        shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except KeyError:
        raise UserError(f"{where}: has a header that plain arrays do not have; write it with numpy.save") from None
    except _BAD_HEADER:
        raise UserError(f"{where}: is no NumPy array; write it with numpy.save") from None
    if dtype.hasobject:
        raise UserError(f"{where}: holds Python objects, which are not unpickled; write an array of float32")
    if not (np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating)):
        raise UserError(f"{where}: holds {dtype}, not real numbers; write an array of float32")
    rest, needed = len(content) - stream.tell(), prod(shape) * dtype.itemsize
    if rest != needed or min(shape, default=0) < 0:
        raise UserError(f"{where}: has {rest} bytes of numbers, and shape {list(shape)} needs {needed}; is it cut off?")
    values = np.frombuffer(content, dtype, offset=stream.tell())
    try:
        return values.reshape(shape, order="F" if by_columns else "C")
    except ValueError:  # Where one axis is 0, the others may be beyond all memory.
        raise UserError(f"{where}: has the shape {list(shape)}, which no array has; write it with numpy.save") from None
