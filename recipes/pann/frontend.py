"""The constant matrices of the log-mel front end, as torchlibrosa and librosa make them, which PANN was trained with.

Computed in float64 and rounded once to float32.
"""

import numpy as np
from numpy.typing import NDArray

from recipes.pann.spec import LogMel

# Slaney's mel scale is linear up to 1 kHz, at 15 mel, and logarithmic above, 27 mel for each factor of 6.4.
# Source: Slaney, "Auditory Toolbox", 1998 (Interval Research report 1998-010), function mfcc;
# librosa.hz_to_mel(htk=False) is the same.
_HZ_PER_MEL = 200.0 / 3.0
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def dft_kernels(front_end: LogMel) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Real and imaginary convolution kernels of the windowed DFT, each (n_fft // 2 + 1, 1, n_fft).

    The window is the periodic Hann; the imaginary part is minus the sine.
    """
    length = front_end.n_fft
    sample = np.arange(length)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * sample / length)
    # Whole turns are taken off in integers, where it costs no precision.
    turns = np.outer(np.arange(length // 2 + 1), sample) % length / length
    kernel = np.exp(-2j * np.pi * turns) * window
    return kernel.real[:, None].astype(np.float32), kernel.imag[:, None].astype(np.float32)


def mel_matrix(front_end: LogMel, sample_rate: int) -> NDArray[np.float32]:
    """(n_fft // 2 + 1, n_mels) triangles with centres equally spaced in mel from fmin to fmax, each of area 1 per Hz.

    The same as librosa.filters.mel(norm="slaney", htk=False), transposed: each triangle's height is two over its width.
    """
    bins = np.arange(front_end.n_fft // 2 + 1) * sample_rate / front_end.n_fft
    edges = _mel_to_hz(np.linspace(_hz_to_mel(front_end.fmin), _hz_to_mel(front_end.fmax), front_end.n_mels + 2))
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - lower) / (centre - lower)
    falling = (upper - bins[:, None]) / (upper - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * 2 / (upper - lower)).astype(np.float32)


def _hz_to_mel(hz: float) -> float:
    return hz / _HZ_PER_MEL if hz < _KNEE_HZ else _KNEE_MEL + np.log(hz / _KNEE_HZ) / _LOG_STEP


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, logarithmic)
