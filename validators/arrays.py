"""An array of the bytes and the shape that a stranger's file says it has; nothing is ever unpickled.

Format of `.npy`: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import warnings
from io import BytesIO
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recipes.base.errors import UserError

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# https://numpy.org/doc/stable/release/2.0.0-notes.html
_MOST_AXES, _BEYOND_MEMORY = 64, 2**63


def of_npy(where: str, content: bytes) -> NDArray[np.generic]:
    """The real numbers of a whole `.npy`, read-only. Raises UserError, which begins with `where`, for anything else."""
    stream = BytesIO(content)
    try:
        # Python's compiler warns of odd literals, and NumPy of what Python 2 wrote, which is read like any other.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except KeyError:
        raise UserError(f"{where}: has a header that plain arrays do not have; write it with numpy.save") from None
    # The header is a Python literal: whatever its tokenizer, its parser and NumPy's dtypes make of it.
    except Exception:
        raise UserError(f"{where}: is no NumPy array; write it with numpy.save") from None
    if dtype.hasobject:
        raise UserError(f"{where}: holds Python objects, which are not unpickled; write an array of float32")
    if dtype.kind not in "iuf":
        raise UserError(f"{where}: holds {dtype}, not real numbers; write an array of float32")
    if len(shape) > _MOST_AXES or not all(0 <= size < _BEYOND_MEMORY for size in shape):
        raise UserError(f"{where}: has a shape that no array has; write it with numpy.save")
    rest, needed = len(content) - stream.tell(), prod(shape) * dtype.itemsize
    if rest != needed:
        raise UserError(f"{where}: has {rest} bytes of numbers, and shape {list(shape)} needs {needed}; is it cut off?")
    values = np.frombuffer(content, dtype, offset=stream.tell())
    return shaped(where, values, shape, "F" if by_columns else "C", "write it with numpy.save")


def shaped(
    where: str, values: NDArray[np.generic], shape: tuple[int, ...], order: Literal["C", "F"], remedy: str
) -> NDArray[np.generic]:
    """As many values as the shape needs in that shape.

    Raises UserError for more axes than NumPy has, for truth values among the sizes and, where one axis is 0, for others
    that are beyond all memory.
    """
    try:
        return values.reshape(shape, order=order)
    except (TypeError, ValueError):
        raise UserError(f"{where}: has the shape {list(shape)}, which no array has; {remedy}") from None
