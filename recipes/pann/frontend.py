"""The matrices of the log-mel front end, as torchlibrosa and librosa make them, which PANN was trained with."""

import numpy as np
from numpy.typing import NDArray

from recipes.base import spectral
from recipes.pann.spec import LogMel


def dft_kernels(front_end: LogMel) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Real and imaginary convolution kernels of the windowed DFT, each (n_fft // 2 + 1, 1, n_fft)."""
    window = spectral.window("hann", front_end.n_fft, periodic=True)
    kernels = spectral.dft_kernels(window, front_end.n_fft, range(front_end.n_fft // 2 + 1))
    real, imaginary = np.split(kernels, 2)
    return real, imaginary


def mel_matrix(front_end: LogMel, sample_rate: int) -> NDArray[np.float32]:
    """(n_fft // 2 + 1, n_mels): the bank of librosa.filters.mel, transposed."""
    numbers = front_end.n_mels, front_end.n_fft, sample_rate, front_end.fmin, front_end.fmax
    return np.ascontiguousarray(spectral.mel_bank(*numbers, scale="slaney", norm="slaney").T)
