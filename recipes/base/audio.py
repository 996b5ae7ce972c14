"""Sound from files and from callers, held to what a model takes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.base import decoding
from recipes.base.errors import UserError
from recipes.base.worker import Worker, WorkerError

# An hour at 32 kHz and more: half a gigabyte in memory, and twice that while it is put together.
MOST_SAMPLES = 2**27


def read(path: Path, sample_rate: int | None, most_samples: int = MOST_SAMPLES) -> NDArray[np.float32]:
    """A sound file as (samples,) float32, full scale 1: channels averaged, resampled to `sample_rate` Hz.

    Without a rate it keeps its own.

    WAV, FLAC and whatever else libsndfile knows, in any sample format. Raises UserError for a file that is missing,
    no sound, empty, or longer than `most_samples` at `sample_rate`, one with samples that are NaN, infinite or beyond
    any full scale, and one on which its decoder crashes, or takes more time or memory than it may.
    """
    with Worker((decoding.__name__,)) as worker:
        try:
            return worker.call(_samples, path, sample_rate, most_samples, raises=(UserError,))["samples"]
        except WorkerError as error:
            raise UserError(f"{path}: what decodes it {error}; convert it to WAV or FLAC") from error


def _samples(path: Path, sample_rate: int | None, most_samples: int) -> dict[str, NDArray[np.float32]]:
    return {"samples": decoding.read(path, sample_rate, most_samples)}


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
            f"{origin}: is too short: {decoding.length(samples, sample_rate)}; the model needs at least "
            f"{decoding.length(least_samples, sample_rate)}, so pad it with silence or give a longer one"
        )
    if most_samples is not None:
        decoding.refuse_length(origin, samples, sample_rate, most_samples)
    if not np.isfinite(batch).all():
        raise UserError(f"{origin}: holds samples that are NaN or infinite; remove them")
    return batch
