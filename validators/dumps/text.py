"""Numbers in a text, with blanks, commas or line ends between them."""

import re
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.base.errors import UserError
from validators.dumps.dump import Dump, Flat

_WHOLE = re.compile(rb"[+-]?\d+")
# From here on float64 has no more than the even ones.
_MOST_WHOLE = 2.0**53


def read(path: Path, content: bytes) -> Dump:
    """All numbers of a file as one array of the file's name."""
    return Dump({"": {path.stem: Flat(numbers(path, content))}})


def numbers(path: Path, content: bytes, first_line: int = 1) -> NDArray[np.float64 | np.int64]:
    """The numbers, NaN and infinity among them. Raises UserError that names the line of what is none.

    They are float64, but for whole ones alone that are too long for that.
    """
    values = array("d")
    for line, part in enumerate(content.split(b"\n"), first_line):
        for word in part.replace(b",", b" ").split():
            try:
                # 1_0 is ten to Python, and to no tool that writes numbers.
                values.append(float(word.replace(b"_", b"?")))
            except ValueError:
                shown = word[:40].decode(errors="replace")
                raise UserError(f"{path}: line {line}: {shown!r} is not a number") from None
    if not values:
        raise UserError(f"{path}: line {first_line}: there is not one number; is the file cut off?")
    found = np.frombuffer(values, np.float64)
    long = np.isfinite(found) & (np.abs(found) >= _MOST_WHOLE)
    return _whole(content, found) if long.any() else found


def _whole(content: bytes, found: NDArray[np.float64]) -> NDArray[np.float64 | np.int64]:
    """With all digits, where all are whole and fit into 64 bits."""
    words = content.replace(b",", b" ").split()
    if not all(map(_WHOLE.fullmatch, words)):
        return found
    try:
        return np.array([int(word) for word in words], np.int64)
    except OverflowError:
        return found
