"""Sound from files and from callers, held to what a model takes."""

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from recipes.base.errors import UserError


def read(path: Path, sample_rate: int) -> NDArray[np.float32]:
    """A sound file as (samples,) float32, full scale 1: channels averaged, resampled to `sample_rate` Hz.

    WAV, FLAC and whatever else libsndfile knows, in any sample format. Raises UserError for a file that is missing,
    no sound, empty, or has samples that are NaN or infinite.
    """
    try:
        with path.open("rb") as file:
            channels, rate = soundfile.read(file, dtype="float64", always_2d=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; give the path of a WAV or FLAC file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give the path of a WAV or FLAC file") from None
    except (soundfile.SoundFileError, TypeError):  # A TypeError is what `*.raw`, which has no header, gets.
        raise UserError(f"{path}: is no sound file that can be read; convert it to WAV or FLAC") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except MemoryError:
        raise UserError(f"{path}: has more samples than fit into memory; cut it into pieces") from None
    if not len(channels):
        raise UserError(f"{path}: holds no samples; give a file with sound in it")
    if not np.isfinite(channels).all():
        raise UserError(f"{path}: holds samples that are NaN or infinite; write the file again without them")
    mono = channels.mean(axis=1)
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
    return mono.astype(np.float32)


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
    if most_samples is not None and samples > most_samples:
        raise UserError(
            f"{origin}: is too long: {_length(samples, sample_rate)}; the model takes at most "
            f"{_length(most_samples, sample_rate)}, so cut it into pieces"
        )
    if not np.isfinite(batch).all():
        raise UserError(f"{origin}: holds samples that are NaN or infinite; remove them")
    return batch


def _length(samples: int, sample_rate: int) -> str:
    return f"{samples} samples ({samples / sample_rate:.4g} s at {sample_rate} Hz)"
