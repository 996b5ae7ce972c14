"""Windows are SciPy's and PyTorch's, banks librosa's bit for bit, kernels NumPy's FFT of a frame."""

import numpy as np
import pytest
import torch
from scipy.signal import get_window

from recipes.base.spectral import dft_kernels, mel_bank, window


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "rectangular"])
def test_windows_are_scipy_s(name: str, periodic: bool) -> None:
    theirs = get_window({"rectangular": "boxcar"}.get(name, name), 401, fftbins=periodic)
    np.testing.assert_allclose(window(name, 401, periodic), theirs, rtol=0, atol=1e-15)


def test_povey_is_hann_to_the_power_of_0_85() -> None:
    np.testing.assert_allclose(window("povey", 400, False), get_window("hann", 400, fftbins=False) ** 0.85, atol=1e-15)


@pytest.mark.parametrize("periodic", [True, False])
def test_in_float32_the_window_is_pytorch_s(periodic: bool) -> None:
    ours = window("hann", 800, periodic, np.float32)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, torch.hann_window(800, periodic=periodic).numpy(), rtol=0, atol=1.2e-7)


def test_a_window_of_one_sample_is_no_division_by_zero() -> None:
    assert window("hamming", 1, False) == pytest.approx(0.08)


@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(
    "sizes", [(128, 2048, 22050, 0, 11025), (80, 800, 16000, 55, 7600), (40, 551, 8000, 1200, 3000)], ids=str
)
def test_banks_are_librosa_s(sizes: tuple[int, int, int, float, float], scale: str, norm: str) -> None:
    import librosa

    n_mels, n_fft, rate, fmin, fmax = sizes
    theirs = librosa.filters.mel(
        sr=rate,
        n_fft=n_fft,
        n_mels=n_mels,
        fmin=fmin,
        fmax=fmax,
        htk=scale == "htk",
        norm=None if norm == "none" else norm,
    )
    ours = mel_bank(*sizes, scale, norm)
    np.testing.assert_array_equal(ours > 0, theirs > 0)
    np.testing.assert_allclose(ours, theirs, rtol=2e-7, atol=1e-12)


def test_triangles_of_kaldi_are_straight_in_mel_and_leave_the_last_bin_out() -> None:
    bank = mel_bank(23, 512, 16000, 20, 8000, "kaldi", "none")
    assert bank.shape == (23, 257)
    assert not bank[:, 256].any()
    mel = 1127 * np.log1p(np.arange(256) * 31.25 / 700)
    edges = np.linspace(1127 * np.log1p(20 / 700), 1127 * np.log1p(8000 / 700), 25)
    step = edges[1] - edges[0]
    np.testing.assert_allclose(bank[:, :256], np.maximum(0, 1 - np.abs(mel - edges[1:-1, None]) / step), atol=1e-4)


@pytest.mark.parametrize("n_fft", [64, 75])
def test_kernels_are_the_fft_of_a_frame(n_fft: int) -> None:
    frame, taper = np.random.RandomState(0).uniform(-1, 1, 50), window("hamming", 50, True)
    real, imaginary = np.split(dft_kernels(taper, n_fft, range(3, 30))[:, 0] @ frame, 2)
    spectrum = np.fft.rfft(frame * taper, n_fft)[3:30]
    np.testing.assert_allclose(real + 1j * imaginary, spectrum, atol=1e-5)
