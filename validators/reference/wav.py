"""Mono float32 WAV: the same bytes every time, and back bit for bit."""

import struct
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from recipes.base import files
from recipes.base.errors import UserError

_IEEE_FLOAT = 3
_BYTES = 4
_MOST_HEAD_BYTES = 4096


def write(path: Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """(samples,) as RIFF WAVE of 32-bit IEEE floats.

    libsndfile would add a PEAK chunk with the time of writing, so that no two files were the same. Layout: "Multimedia
    Programming Interface and Data Specifications 1.0" and its revision 3 (1994), which asks for `fact` here.
    """
    data = waveform.astype("<f4").tobytes()
    layout = struct.pack("<HHIIHHH", _IEEE_FLOAT, 1, sample_rate, sample_rate * _BYTES, _BYTES, 8 * _BYTES, 0)
    fact = struct.pack("<I", len(waveform))
    chunks = b"WAVE" + _chunk(b"fmt ", layout) + _chunk(b"fact", fact) + _chunk(b"data", data)
    path.write_bytes(_chunk(b"RIFF", chunks))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


def read(path: Path, sample_rate: int, samples: int) -> NDArray[np.float32]:
    """(samples,) of a mono float WAV of that rate and length. Raises UserError for any other file."""
    try:
        most = samples * _BYTES + _MOST_HEAD_BYTES
        with files.opened(path, most) as file, soundfile.SoundFile(file) as sound:
            if sound.frames != samples:
                raise UserError(f"{path}: has {sound.frames} samples, not {samples}; make the folder again")
            if (sound.channels, sound.samplerate, sound.subtype) != (1, sample_rate, "FLOAT"):
                raise UserError(
                    f"{path}: has {sound.channels} channels of {sound.subtype} at {sound.samplerate} Hz, not one of "
                    f"FLOAT at {sample_rate} Hz; make the folder again"
                )
            waveform = sound.read(dtype="float32")
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; make the folder again") from None
    except (OSError, soundfile.SoundFileError) as error:
        raise UserError(f"{path}: cannot be read as sound ({error}); make the folder again") from None
    if len(waveform) != samples:
        raise UserError(f"{path}: ends after {len(waveform)} of its {samples} samples; make the folder again")
    if not np.isfinite(waveform).all():
        raise UserError(f"{path}: holds samples that are NaN or infinite; make the folder again")
    return waveform
