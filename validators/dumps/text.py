"""Numbers in a text, with blanks, commas or line ends between them."""

import re
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.base.errors import UserError
from validators.dumps.dump import Dump, Flat

# Between blanks and commas.
_WORD = re.compile(rb"[^\s,]+")
# From here on float64 has no more than the even ones.
_MOST_WHOLE = 2.0**53


def read(path: Path, content: bytes) -> Dump:
    """All numbers of a file as one array of the file's name."""
    return Dump({"": {path.stem: Flat(numbers(path, content))}})


def numbers(path: Path, content: bytes, start: int = 0, end: int | None = None) -> NDArray[np.float64 | np.int64]:
    """The numbers from `start` to `end`, NaN and infinity among them. Raises UserError with the line of what is none.

    They are float64, but for whole ones alone that are too long for that.
    """
    end = len(content) if end is None else end
    values = array("d")
    for word in _WORD.finditer(content, start, end):
        try:
            # 1_0 is ten to Python, and to no tool that writes numbers.
            values.append(float(word[0].replace(b"_", b"?")))
        except ValueError:
            shown = word[0][:40].decode(errors="replace")
            raise UserError(f"{path}: line {line(content, word.start())}: {shown!r} is not a number") from None
    if not values:
        raise UserError(f"{path}: line {line(content, start)}: there is not one number; is the file cut off?")
    found = np.frombuffer(values, np.float64)
    long = np.isfinite(found) & (np.abs(found) >= _MOST_WHOLE)
    return _whole(content, start, end, found) if long.any() else found


def _whole(content: bytes, start: int, end: int, found: NDArray[np.float64]) -> NDArray[np.float64 | np.int64]:
    """With all digits, where all are whole and fit into 64 bits."""
    try:
        return np.fromiter((int(word[0]) for word in _WORD.finditer(content, start, end)), np.int64, len(found))
    except (ValueError, OverflowError):  # Python converts no more than 4,300 digits.
        return found


def line(content: bytes, position: int) -> int:
    """The number of the line that a byte is in."""
    return 1 + content.count(b"\n", 0, position)
