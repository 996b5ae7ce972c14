"""Arrays by name as NumPy's `.npz`, whatever they are called: `numpy.savez` takes them beside its own arguments."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np


def write(place: Path | IO[bytes], arrays: Mapping[str, np.ndarray[Any, Any]], *, compressed: bool = False) -> None:
    """Each array as `NAME.npy` in a new archive, as https://numpy.org/doc/stable/reference/generated/numpy.savez.html
    says; the same arrays give the same bytes.
    """
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(place, "w", method) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
