"""What is computed of the numbers once: window, kernels and bank, and what removes a frame's mean."""

import numpy as np
from numpy.typing import NDArray

from recipes.base import spectral
from recipes.base.errors import UserError
from recipes.mel.spec import Numbers, Variant


def window(numbers: Numbers) -> NDArray[np.float64]:
    """(taps,), times what full scale 1 becomes."""
    return numbers.input_scale * spectral.window(numbers.window, numbers.taps, numbers.periodic).astype(np.float64)


def bank(variant: Variant) -> NDArray[np.float32]:
    """(n_mels, n_fft // 2 + 1). Raises UserError where no band has a bin."""
    numbers, rate = variant.front_end, variant.sample_rate
    sizes = numbers.n_mels, numbers.n_fft, rate, numbers.fmin, numbers.highest(rate)
    found = spectral.mel_bank(*sizes, numbers.mel_scale, numbers.norm)
    if not found.any():
        raise UserError(
            f"no mel band from {numbers.fmin:g} to {numbers.highest(rate):g} Hz has a bin of the DFT, which are "
            f"{rate / numbers.n_fft:g} Hz apart; choose a greater n_fft, or fewer and wider bands"
        )
    return found


def used_bins(bank: NDArray[np.float32]) -> range:
    """From the first to the last that some band weighs."""
    used = np.flatnonzero(bank.any(axis=0))
    return range(int(used[0]), int(used[-1]) + 1)


def empty_bands(bank: NDArray[np.float32]) -> list[int]:
    """Those that lie between two bins, and hear nothing."""
    return [int(band) for band in np.flatnonzero(~bank.any(axis=1))]


def frame_terms(numbers: Numbers, bins: range) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """What a frame's own mean and its own first sample add to the spectrum of the sound as a whole.

    Kernels (terms, 1, taps + 1), of which the first reads the sample before the frame, and weights (2 * bins, terms).
    None where there is nothing to add.

    In a frame x of n samples, with mean m, Kaldi takes z[j] = (x[j] - m) - p (x[j-1] - m), and x[-1] = x[0]. Sound
    emphasised as a whole has y[j] = x[j] - p x[j-1] with the true x[-1]. So z[j] = y[j] - (1 - p) m, and z[0] has
    p (x[-1] - x[0]) besides: the spectrum of z is that of y, less (1 - p) m times the window's own, plus that one
    sample's.
    """
    of_frame = numbers.pre_emphasis if numbers.pre_emphasis_start == "frame" else 0
    own = spectral.dft_kernels(window(numbers), numbers.n_fft, bins)[:, 0].astype(np.float64)
    reach = numbers.taps + 1
    kernels, weights = [], []
    if numbers.remove_dc:
        kernels.append(np.append(0, np.full(numbers.taps, 1 / numbers.taps)))
        weights.append((of_frame - 1) * own.sum(axis=1))
    # Windows that begin with zero do not hear it.
    if of_frame and window(numbers)[0]:
        kernels.append(np.append([1, -1], np.zeros(reach - 2)))
        weights.append(of_frame * own[:, 0])
    if not kernels:
        return None
    return np.stack(kernels)[:, None].astype(np.float32), np.stack(weights, axis=1).astype(np.float32)
