"""Mono float32 WAV: the same bytes every time, and back bit for bit."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.base import files
from recipes.base.errors import UserError

# RIFF WAVE of 32-bit IEEE floats: "Multimedia Programming Interface and Data Specifications 1.0" and its revision 3
# (1994), which asks for `fact` here. The chunks `fmt `, `fact` and the head of `data`, within that of `RIFF`.
_HEAD = struct.Struct("<4sI4s 4sIHHIIHHH 4sII 4sI")
_FORMAT = struct.Struct("<HHIIHH")
_FORMAT_PLACE = 20
_IEEE_FLOAT = 3
_KINDS = {1: "integers", _IEEE_FLOAT: "floats"}
_BYTES = 4
# What else somebody may have put into a file that is to be named for what it is.
_MOST_MORE_BYTES = 4096


def write(path: Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """(samples,) as WAV; libsndfile would add the time of writing, so that no two files were the same."""
    path.write_bytes(_head(len(waveform), sample_rate) + waveform.astype("<f4").tobytes())


def _head(samples: int, rate: int) -> bytes:
    size = samples * _BYTES
    layout = (_IEEE_FLOAT, 1, rate, rate * _BYTES, _BYTES, 8 * _BYTES, 0)
    whole = _HEAD.size - 8 + size
    return _HEAD.pack(b"RIFF", whole, b"WAVE", b"fmt ", 18, *layout, b"fact", 4, samples, b"data", size)


def read(path: Path, sample_rate: int, samples: int) -> NDArray[np.float32]:
    """(samples,) of a WAV that `write` made, of that rate and length. Raises UserError for any other file.

    No decoder is let near a file that may be a stranger's: the bytes are those that are known, or it is refused.
    """
    head = _head(samples, sample_rate)
    try:
        content = files.content(path, len(head) + samples * _BYTES + _MOST_MORE_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; make the folder again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read as sound ({error}); make the folder again") from None
    if len(content) < len(head) or content[:4] + content[8:16] != b"RIFFWAVEfmt ":
        raise UserError(f"{path}: cannot be read as sound, for it is no WAV; make the folder again")
    kind, channels, rate, _, _, bits = _FORMAT.unpack_from(content, _FORMAT_PLACE)
    if (kind, channels, rate, bits) != (_IEEE_FLOAT, 1, sample_rate, 8 * _BYTES):
        samples_of = f"{bits}-bit {_KINDS.get(kind, f'samples of format {kind}')}"
        raise UserError(
            f"{path}: has {channels} channels of {samples_of} at {rate} Hz, not one of 32-bit floats at "
            f"{sample_rate} Hz; make the folder again"
        )
    found = (len(content) - len(head)) // _BYTES
    if not content.startswith(head) or len(content) != len(head) + samples * _BYTES:
        raise UserError(f"{path}: has {found} samples, not {samples}, or another layout; make the folder again")
    waveform = np.frombuffer(content, "<f4", offset=len(head)).astype(np.float32)
    if not np.isfinite(waveform).all():
        raise UserError(f"{path}: holds samples that are NaN or infinite; make the folder again")
    return waveform
