"""Sound out of files, by native code: `recipes.base.audio` has it done in a worker."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from recipes.base import files
from recipes.base.errors import UserError

# What a WAV can hold.
_MOST_BYTES = 2**32
# Below, a few bytes would be resampled to gigabytes.
_LEAST_RATE, _MOST_RATE = 1000, 768_000
# Full scale is 1, and of 32-bit integers that nobody scaled 2 ** 31; the square of more is soon beyond float32.
_GREATEST = 2.0**31
# Samples of all channels that are read at once.
_BLOCK = 2**18


def read(path: Path, sample_rate: int | None, most_samples: int) -> NDArray[np.float32]:
    """As `audio.read`, in this process; raises UserError as that does but for what a decoder does to its process.

    What it is, its size, its rate and its length are looked at before anything is decoded.
    """
    try:
        with files.opened(path, _MOST_BYTES) as file, soundfile.SoundFile(file) as sound:
            if not _LEAST_RATE <= sound.samplerate <= _MOST_RATE:
                raise UserError(
                    f"{path}: says that it has {sound.samplerate} samples a second; sound has {_LEAST_RATE} to "
                    f"{_MOST_RATE}, so correct its header"
                )
            rate = sample_rate or sound.samplerate
            # No more is read than the header says.
            refuse_length(path, sound.frames * rate // sound.samplerate, rate, most_samples)
            parts = list(_resampled(path, sound, rate))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; give the path of a WAV or FLAC file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give the path of a WAV or FLAC file") from None
    except soundfile.SoundFileError:
        raise UserError(f"{path}: is no sound file that can be read; convert it to WAV or FLAC") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except MemoryError:
        raise UserError(f"{path}: has more samples than fit into memory; cut it into pieces") from None
    if not any(map(len, parts)):
        raise UserError(f"{path}: holds no samples; give a file with sound in it")
    return np.concatenate(parts)


def _resampled(path: Path, sound: soundfile.SoundFile, rate: int) -> Iterator[NDArray[np.float32]]:
    """Block by block, so that a long file is never in memory as it stands, in float64 and with all its channels."""
    stream = None
    if sound.samplerate != rate:
        stream = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float64", quality="HQ")
    size = max(1, _BLOCK // sound.channels)
    while True:
        channels = sound.read(size, dtype="float64", always_2d=True)
        # NaN is no less than anything.
        if not (np.abs(channels) <= _GREATEST).all():
            raise UserError(
                f"{path}: holds samples that are NaN or infinite, or so great that they are no sound; full scale is 1, "
                "so write the file again"
            )
        block, last = channels.mean(axis=1), len(channels) < size
        if stream is not None:
            block = stream.resample_chunk(block, last=last)
        yield block.astype(np.float32)
        if last:
            return


def refuse_length(origin: Path | str, samples: int, sample_rate: int, most: int) -> None:
    """Raises UserError for more samples than that."""
    if samples > most:
        raise UserError(
            f"{origin}: is too long: {length(samples, sample_rate)}; the model takes at most "
            f"{length(most, sample_rate)}, so cut it into pieces"
        )


def length(samples: int, sample_rate: int) -> str:
    """A number of samples, in words."""
    return f"{samples} samples ({samples / sample_rate:.4g} s at {sample_rate} Hz)"
