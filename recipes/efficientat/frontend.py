"""The constants of the log-mel front end: for the model's graph, and for hosts that compute `melspec` themselves.

The mel bank is Kaldi's, as torchaudio's `compliance.kaldi.get_mel_banks` has it, which EfficientAT was trained with.
"""

from dataclasses import asdict
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from recipes.base import spectral
from recipes.base.recipe import HostFrontEnd
from recipes.efficientat.spec import LogMel, Variant

PROGRAM = "melspec.py"


def host_front_end(variant: Variant) -> HostFrontEnd:
    """The variant's front end as data; frequencies in Hz, lengths in samples, the mel bank (n_mels, n_fft // 2 + 1).

    Its numbers are what `front_end.json` holds, and the words that they need beside them.
    """
    return HostFrontEnd(
        arrays={
            "window.npy": window(variant.front_end),
            "mel.npy": mel_matrix(variant.front_end, variant.sample_rate),
        },
        numbers={
            "sample_rate": variant.sample_rate,
            **asdict(variant.front_end),
            "least_samples": least_samples(variant.front_end),
            "window": "symmetric Hann",
            "mel_scale": "kaldi, 1127 * ln(1 + f / 700)",
            "layout": "melspec: (batch, n_mels, frames); the network takes melspec[:, None]: (batch, 1, n_mels, time)",
        },
        program_file=PROGRAM,
        program=resources.files("recipes.efficientat").joinpath(PROGRAM).read_text(encoding="utf-8"),
    )


def least_samples(front_end: LogMel) -> int:
    """Half an n_fft is mirrored at each end about the end's own sample, after pre-emphasis has used one up."""
    return front_end.n_fft // 2 + 2


def window(front_end: LogMel) -> NDArray[np.float32]:
    """(win_length,) symmetric Hann, zero at both ends; in float32 as trained."""
    return spectral.window("hann", front_end.win_length, periodic=False, dtype=np.float32)


def dft_kernels(front_end: LogMel, bins: range) -> NDArray[np.float32]:
    """(2 * bins, 1, win_length) convolution kernels of the windowed DFT: real parts, then imaginary parts."""
    return spectral.dft_kernels(window(front_end), front_end.n_fft, bins)


def mel_matrix(front_end: LogMel, sample_rate: int) -> NDArray[np.float32]:
    """(n_mels, n_fft // 2 + 1): Kaldi's bank, whose last bin weighs nothing."""
    numbers = front_end.n_mels, front_end.n_fft, sample_rate, front_end.fmin, front_end.fmax
    return spectral.mel_bank(*numbers, scale="kaldi", norm="none")
