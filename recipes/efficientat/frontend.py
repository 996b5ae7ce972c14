"""The constants of the log-mel front end: for the model's graph, and for hosts that compute `melspec` themselves.

The mel bank is Kaldi's
(https://github.com/kaldi-asr/kaldi/blob/master/src/feat/mel-computations.cc), as torchaudio's
`compliance.kaldi.get_mel_banks` has it, which EfficientAT was trained with.
"""

from dataclasses import asdict
from importlib import resources

import numpy as np
from numpy.typing import NDArray

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
    """(win_length,) symmetric Hann, zero at both ends; its phase in float32, as `torch.hann_window` has it."""
    phase = np.arange(front_end.win_length, dtype=np.float32) * np.float32(2 * np.pi / (front_end.win_length - 1))
    return np.float32(0.5) - np.float32(0.5) * np.cos(phase, dtype=np.float64).astype(np.float32)


def dft_kernels(front_end: LogMel, bins: range) -> NDArray[np.float32]:
    """(2 * bins, 1, win_length) convolution kernels of the windowed DFT: real parts, then imaginary parts.

    A frame has n_fft samples, but the window is zero outside its own length, and where a frame begins changes phases
    only, so that the power needs no other taps.
    """
    # Whole turns are taken off in integers, where it costs no precision.
    turns = np.outer(bins, np.arange(front_end.win_length)) % front_end.n_fft / front_end.n_fft
    kernel = np.exp(-2j * np.pi * turns) * window(front_end)
    return np.concatenate([kernel.real, kernel.imag])[:, None].astype(np.float32)


def mel_matrix(front_end: LogMel, sample_rate: int) -> NDArray[np.float32]:
    """(n_mels, n_fft // 2 + 1) triangles of height 1, straight in mel, centres equally spaced from fmin to fmax.

    The last bin, at half the sample rate, weighs nothing, as in Kaldi. Each step is rounded to float32 as in the
    authors' training: a rounded mel value is off by up to 1e-4, and `melspec` in float64's triangles by 3e-5.
    """
    single = np.float32
    hertz = np.arange(front_end.n_fft // 2) * sample_rate / front_end.n_fft
    mel = single(1127) * np.log(1 + (hertz / 700).astype(single), dtype=np.float64).astype(single)
    lowest, highest = (1127 * np.log(1 + bound / 700) for bound in (front_end.fmin, front_end.fmax))
    steps = np.arange(front_end.n_mels + 2, dtype=single)[:, None]
    edges = single(lowest) + steps * single((highest - lowest) / (front_end.n_mels + 1))
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.maximum(single(0), np.minimum((mel - lower) / (centre - lower), (upper - mel) / (upper - centre)))
    return np.pad(triangles, ((0, 0), (0, 1)))
