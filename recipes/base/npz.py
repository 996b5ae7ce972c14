"""Arrays by name as NumPy's `.npz`, whatever they are called: `numpy.savez` takes them beside its own arguments."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from recipes.base.errors import UserError

# Of a name in an archive (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.4.10).
_MOST_BYTES = 2**16 - 1
_DRIVE = re.compile("[A-Za-z]:/")


def write(place: Path | IO[bytes], arrays: Mapping[str, np.ndarray[Any, Any]], *, compressed: bool = False) -> None:
    """Each array as `NAME.npy` in a new archive, as https://numpy.org/doc/stable/reference/generated/numpy.savez.html
    says; the same arrays give the same bytes.

    A model is a stranger's, and so are the names of what it gives. One that leads out of the folder in which the
    archive is unpacked is refused with UserError before anything is written: NumPy's readers give names back as they
    stand there, so that under another one it would not be found again. `/a/b` and `a:0`, as exporters call tensors,
    stay what they are: whatever unpacks archives takes the first slash away.
    """
    for name in arrays:
        if fault := _fault(f"{name}.npy"):
            raise UserError(
                f"the output {name!r} cannot be written to an .npz: its name {fault}; rename it in the model"
            )
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(place, "w", method) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def _fault(entry: str) -> str:
    """What keeps an archive from an entry of this name, or those who unpack it on any system; empty where nothing."""
    if "\0" in entry:
        return "holds a NUL"
    if "\\" in entry:
        return "holds a backslash, which is a separator on Windows"
    if ".." in entry.split("/") or _DRIVE.match(entry):
        return "is a path that leads out of a folder"
    try:
        size = len(entry.encode())
    except UnicodeEncodeError:
        return "is no Unicode"
    return f"has {size} bytes, and at most {_MOST_BYTES} have room" if size > _MOST_BYTES else ""
