"""The dump that came with the 2020 article on PANN in Core ML: its model's answers to one recording, as plain lists."""

from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from recipes.base.errors import UserError
from recipes.pann.model import FRAMES_PER_SEGMENT

_Row = list[Annotated[float, Field(allow_inf_nan=False)]]
_Arrays = dict[str, NDArray[np.float32]]


def read(path: Path) -> _Arrays:
    """The three arrays of `[segment_clipwise, framewise, melspec]` by name, with a batch axis of 1.

    Shapes: (1, classes), (1, 32 * segments, classes), (1, frames, n_mels), where segments = frames // 32: it ends with
    the last whole segment, where the published model goes on to the last frame. Raises UserError for another layout.
    """
    layout = "[segment_clipwise: classes, framewise: 32 * segments x classes, melspec: frames x mel bins]"
    try:
        lists = TypeAdapter(tuple[_Row, list[_Row], list[_Row]]).validate_json(path.read_bytes())
        arrays = [np.array(nested, np.float64) for nested in lists]
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; give the article's JSON dump") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValidationError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path}: is not {layout} in finite numbers ({first})") from None
    clipwise, framewise, melspec = arrays
    segments = len(melspec) // FRAMES_PER_SEGMENT
    if melspec.ndim != 2 or not segments or framewise.shape != (FRAMES_PER_SEGMENT * segments, len(clipwise)):
        shapes = ", ".join(str(list(array.shape)) for array in arrays)
        raise UserError(f"{path}: is not {layout}: its shapes are {shapes}")
    names = ("segment_clipwise", "framewise", "melspec")
    return {name: array[None].astype(np.float32) for name, array in zip(names, arrays, strict=True)}


def common_rows(article: _Arrays, outputs: _Arrays) -> tuple[_Arrays, _Arrays]:
    """Both sides for comparison: the article's outputs alone, and `framewise` as far as both go."""
    rows = min(article["framewise"].shape[1], outputs["framewise"].shape[1])
    sides = (article, {name: outputs[name] for name in article})
    ours = [side | {"framewise": side["framewise"][:, :rows]} for side in sides]
    return ours[0], ours[1]
