"""`.npy` and `.npz`: the header is read for what it says, and the numbers are bytes; nothing is ever unpickled."""

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.base import files
from recipes.base.errors import UserError
from validators.arrays import of_npy
from validators.compare import Sampled
from validators.dumps.dump import Dump, as_numbers

MOST_BYTES_UNPACKED = 2**30
# Of a file.
_MOST_BYTES = 2**30


def array(path: Path, content: bytes) -> Dump:
    """One array, by the name of the file."""
    return Dump({"": {path.stem: _sampled(of_npy(str(path), content))}})


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
                found[name] = of_npy(f"{path}: {name}", packed.read(member))
    except (UserError, MemoryError):
        raise
    except Exception as error:  # of zipfile, of each method of compression; what is encrypted is a RuntimeError
        raise UserError(f"{path}: is no .npz of plain arrays ({error}); write it with numpy.savez") from None
    return found


def _sampled(values: NDArray[np.generic]) -> Sampled:
    return Sampled.of(as_numbers(values))
