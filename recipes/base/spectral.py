"""Windows, DFT kernels and mel banks: what every log-mel front end is made of, in the forms that libraries have them.

Computed in float64 and rounded once to float32, but for Kaldi's bank, whose own rounding is part of what networks were
trained with.
"""

import numpy as np
from numpy.typing import NDArray

from recipes.base.spec import MelNorm, MelScale, Window

# Slaney's mel scale is linear up to 1 kHz, at 15 mel, and logarithmic above, 27 mel for each factor of 6.4.
# Source: Slaney, "Auditory Toolbox", 1998 (Interval Research report 1998-010), function mfcc;
# librosa.hz_to_mel(htk=False) is the same.
_HZ_PER_MEL = 200.0 / 3.0
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def window(name: Window, length: int, periodic: bool, dtype: type[np.floating] = np.float64) -> NDArray[np.floating]:
    """(length,): as SciPy has those of these names; povey is the Hann window to the power of 0.85, which is Kaldi's.

    `periodic`: one period of a wave as long as the window, as spectra are taken; else the same at both ends. In float32
    the phase is rounded first, as in `torch.hann_window`, which moves the window by up to 1e-7.
    """
    phase = np.arange(length, dtype=dtype) * dtype(2 * np.pi / max(1, length if periodic else length - 1))
    cosine = np.cos(phase, dtype=np.float64).astype(dtype)
    if name == "hamming":
        return 0.54 - 0.46 * cosine
    if name == "blackman":
        return 0.42 - 0.5 * cosine + 0.08 * np.cos(2 * phase)
    hann = 0.5 - 0.5 * cosine
    if name == "povey":
        return hann**0.85
    return np.ones(length, dtype) if name == "rectangular" else hann


def dft_kernels(window: NDArray[np.floating], n_fft: int, bins: range) -> NDArray[np.float32]:
    """(2 * bins, 1, taps) convolution kernels of the windowed DFT: real parts, then imaginary parts, minus the sine.

    There are as many taps as the window has, which may be fewer than `n_fft`: where in a frame the window begins
    changes phases only, so that the power needs no other taps.
    """
    # Whole turns are taken off in integers, where it costs no precision.
    turns = np.outer(bins, np.arange(len(window))) % n_fft / n_fft
    kernel = np.exp(-2j * np.pi * turns) * window
    return np.concatenate([kernel.real, kernel.imag])[:, None].astype(np.float32)


def mel_bank(
    n_mels: int, n_fft: int, sample_rate: int, fmin: float, fmax: float, scale: MelScale, norm: MelNorm
) -> NDArray[np.float32]:
    """(n_mels, n_fft // 2 + 1) triangles, their centres equally spaced in mel from fmin to fmax, in Hz.

    `slaney` and `htk` are those of librosa.filters.mel, straight in Hz, and of torchaudio.functional.melscale_fbanks.
    `kaldi` is Kaldi's, straight in mel. The norm `slaney` makes each triangle's height two over its width in Hz, so
    that all have the same area; else the height is 1.
    """
    if scale == "kaldi":
        # In float32 as trained, so that the norm comes after.
        bank, edges = _kaldi(n_mels, n_fft, sample_rate, fmin, fmax)
    else:
        bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
        to_mel, to_hertz = (_htk, _from_htk) if scale == "htk" else (_slaney, _from_slaney)
        edges = to_hertz(np.linspace(to_mel(fmin), to_mel(fmax), n_mels + 2))
        lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        bank = np.maximum(0, np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)))
    if norm == "slaney":
        bank = bank * 2 / (edges[2:] - edges[:-2])[:, None]
    return bank.astype(np.float32)


def _kaldi(n_mels: int, n_fft: int, sample_rate: int, fmin: float, fmax: float) -> tuple[NDArray, NDArray]:
    """The bank and the edges of its triangles in Hz.

    The last bin, at half the sample rate, weighs nothing, as in Kaldi
    (https://github.com/kaldi-asr/kaldi/blob/master/src/feat/mel-computations.cc). Each step is rounded to float32, as
    torchaudio's `compliance.kaldi.get_mel_banks` does: a rounded mel value is off by up to 1e-4, and EfficientAT's
    `melspec` in float64's triangles by 3e-5.
    """
    single = np.float32
    hertz = np.arange((n_fft + 1) // 2) * sample_rate / n_fft
    mel = single(1127) * np.log(1 + (hertz / 700).astype(single), dtype=np.float64).astype(single)
    lowest, highest = (1127 * np.log(1 + bound / 700) for bound in (fmin, fmax))
    steps = np.arange(n_mels + 2, dtype=single)[:, None]
    edges = single(lowest) + steps * single((highest - lowest) / (n_mels + 1))
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.maximum(single(0), np.minimum((mel - lower) / (centre - lower), (upper - mel) / (upper - centre)))
    bank = np.pad(triangles, ((0, 0), (0, n_fft // 2 + 1 - triangles.shape[1])))
    return bank, 700 * np.expm1(edges[:, 0].astype(np.float64) / 1127)


def _htk(hertz: float) -> float:
    """Young et al., "The HTK Book"; the same as 1127 ln(1 + f / 700)."""
    return float(2595 * np.log10(1 + hertz / 700))


def _from_htk(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return 700 * (10 ** (mel / 2595) - 1)


def _slaney(hertz: float) -> float:
    return hertz / _HZ_PER_MEL if hertz < _KNEE_HZ else _KNEE_MEL + np.log(hertz / _KNEE_HZ) / _LOG_STEP


def _from_slaney(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, logarithmic)
