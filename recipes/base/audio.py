"""Sound from files and from callers, held to what a model takes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from recipes.base import files
from recipes.base.errors import UserError
from recipes.base.quiet import quiet_decoders

# An hour at 32 kHz and more: half a gigabyte in memory, and twice that while it is put together.
MOST_SAMPLES = 2**27
# What a WAV can hold.
_MOST_BYTES = 2**32
# Below, a few bytes would be resampled to gigabytes.
_LEAST_RATE, _MOST_RATE = 1000, 768_000
# Full scale is 1, and of 32-bit integers that nobody scaled 2 ** 31; the square of more is soon beyond float32.
_GREATEST = 2.0**31
# Samples of all channels that are read at once.
_BLOCK = 2**18


def read(path: Path, sample_rate: int, most_samples: int = MOST_SAMPLES) -> NDArray[np.float32]:
    """A sound file as (samples,) float32, full scale 1: channels averaged, resampled to `sample_rate` Hz.

    WAV, FLAC and whatever else libsndfile knows, in any sample format. Raises UserError for a file that is missing,
    no sound, empty, or longer than `most_samples` at `sample_rate`, and one with samples that are NaN, infinite or
    beyond any full scale.
    """
    try:
        with files.opened(path, _MOST_BYTES) as file, quiet_decoders(), soundfile.SoundFile(file) as sound:
            if not _LEAST_RATE <= sound.samplerate <= _MOST_RATE:
                raise UserError(
                    f"{path}: says that it has {sound.samplerate} samples a second; sound has {_LEAST_RATE} to "
                    f"{_MOST_RATE}, so correct its header"
                )
            # No more is read than the header says.
            _refuse_length(path, sound.frames * sample_rate // sound.samplerate, sample_rate, most_samples)
            parts = list(_resampled(path, sound, sample_rate))
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


def check(
    waveform: NDArray[np.float32],
    sample_rate: int,
    least_samples: int,
    most_samples: int | None = None,
    origin: str = "waveform",
) -> NDArray[np.float32]:
    """The waveform as (batch, samples), if the model takes it; `origin` is its name in messages.

    Takes (samples,) or (batch, samples) float32 at the model's sample rate, between least_samples and, where the
    format has such a bound, most_samples. Raises UserError.
    """
    if waveform.ndim not in (1, 2):
        raise UserError(f"{origin}: has shape {waveform.shape}; it must be (samples,) or (batch, samples)")
    if waveform.dtype != np.float32:
        raise UserError(
            f"{origin}: is {waveform.dtype}; it must be float32 with full scale at 1 (divide 16-bit samples by 32768)"
        )
    batch = np.atleast_2d(waveform)
    if not len(batch):
        raise UserError(f"{origin}: the batch is empty; give at least one waveform")
    samples = batch.shape[1]
    if samples < least_samples:
        raise UserError(
            f"{origin}: is too short: {_length(samples, sample_rate)}; the model needs at least "
            f"{_length(least_samples, sample_rate)}, so pad it with silence or give a longer one"
        )
    if most_samples is not None:
        _refuse_length(origin, samples, sample_rate, most_samples)
    if not np.isfinite(batch).all():
        raise UserError(f"{origin}: holds samples that are NaN or infinite; remove them")
    return batch


def _refuse_length(origin: Path | str, samples: int, sample_rate: int, most: int) -> None:
    if samples > most:
        raise UserError(
            f"{origin}: is too long: {_length(samples, sample_rate)}; the model takes at most "
            f"{_length(most, sample_rate)}, so cut it into pieces"
        )


def _length(samples: int, sample_rate: int) -> str:
    return f"{samples} samples ({samples / sample_rate:.4g} s at {sample_rate} Hz)"
