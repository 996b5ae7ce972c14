"""A convolution that is a windowed DFT becomes a factorised one, for any size, hop and window; nothing else does."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exporters.lowering.axes import carry_axes
from exporters.lowering.bins import drop_bins
from exporters.lowering.fourier import factorise_dft, windowed_dft
from tests.exporters.lowering.rewritten import randomised, rewritten, same


def kernels(size: int, taps: int, bins: range, shift: int = 0, sign: int = -1) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts, (bins, taps), with a window that is not symmetric, exact in float64."""
    window = 0.55 - 0.45 * np.cos(2 * np.pi * np.arange(taps) / taps) + np.linspace(0, 0.2, taps)
    turns = np.outer(bins, np.arange(taps) + shift) % size / size
    kernel = window * np.exp(sign * 2j * np.pi * turns)
    return torch.from_numpy(kernel.real.copy()), torch.from_numpy(kernel.imag.copy())


class TwoConvolutions(nn.Module):
    """(batch, samples) -> (batch, frames, bands)."""

    def __init__(self, real: Tensor, imaginary: Tensor, hop: int, bands: Tensor) -> None:
        super().__init__()
        self.real = nn.Conv1d(1, *real.shape, hop, bias=False)
        self.imaginary = nn.Conv1d(1, *real.shape, hop, bias=False)
        self.real.weight.data = real[:, None].clone()
        self.imaginary.weight.data = imaginary[:, None].clone()
        self.bands = nn.Parameter(bands.T.clone())

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        power = self.real(x) ** 2 + self.imaginary(x).square()
        return power.transpose(1, 2) @ self.bands


class OneConvolution(nn.Module):
    """(batch, 1, samples) -> (batch, bands, frames)."""

    def __init__(self, real: Tensor, imaginary: Tensor, hop: int, bands: Tensor) -> None:
        super().__init__()
        self.register_buffer("kernels", torch.cat([real, imaginary])[:, None])
        self.register_buffer("bands", bands)
        self.hop = hop

    def forward(self, x: Tensor) -> Tensor:
        spectrum = F.conv1d(x[:, None], self.kernels, stride=self.hop)
        squares = spectrum * spectrum
        half = self.bands.shape[1]
        return self.bands @ (squares[:, :half] + squares[:, half:])


def bands(bins: int, used: slice = slice(None)) -> Tensor:
    matrix = torch.zeros(5, bins, dtype=torch.float64)
    matrix[:, used] = torch.rand(5, bins, dtype=torch.float64)[:, used]
    return matrix


CASES = {
    "PANN": (1024, 1024, 320, range(513), slice(1, 448), "1024 = 16 x 64"),
    "EfficientAT": (1024, 800, 320, range(1, 481), slice(None), "1024 = 16 x 64"),
    "Whisper": (400, 400, 160, range(201), slice(1, 200), "400 = 10 x 40"),
    "odd columns": (60, 60, 20, range(31), slice(None), "60 = 4 x 15"),
    "taps beyond the size": (32, 45, 8, range(17), slice(None), "32 = 4 x 8"),
    "taps that the rows do not divide": (64, 50, 16, range(3, 30), slice(2, 20), "64 = 4 x 16"),
    "a hop that has two alone in common": (256, 256, 90, range(129), slice(None), "256 = 2 x 128"),
}


@pytest.mark.parametrize("form", [TwoConvolutions, OneConvolution])
@pytest.mark.parametrize("case", CASES)
def test_any_size_hop_and_length(kind: torch.dtype, case: str, form: type[nn.Module]) -> None:
    size, taps, hop, bins, used, factors = CASES[case]
    real, imaginary = kernels(size, taps, bins)
    model = randomised(form(real, imaginary, hop, bands(len(bins), used)), kind)
    done = rewritten(model, torch.randn(2, taps + 5 * hop + 1, dtype=kind), carry_axes, factorise_dft)
    assert [place.split(": ")[1] for place in done.places if "=" in place] == [factors]
    for batch, samples in ((1, taps), (3, taps + hop - 1), (2, taps + hop), (1, taps + 7 * hop + hop // 2)):
        x = torch.randn(batch, samples, dtype=kind)
        same(done.graph(x), model(x))


@pytest.mark.parametrize(("shift", "sign"), [(0, 1), (7, -1), (-512, 1)])
def test_phase_and_sign_of_the_sine_are_no_matter_to_the_power(kind: torch.dtype, shift: int, sign: int) -> None:
    model = randomised(OneConvolution(*kernels(64, 64, range(33), shift, sign), 16, bands(33)), kind)
    done = rewritten(model, torch.randn(2, 200, dtype=kind), factorise_dft)
    assert len(done.places) == 1


def test_bins_beyond_half_of_the_size_have_the_powers_of_those_before(kind: torch.dtype) -> None:
    model = randomised(OneConvolution(*kernels(64, 64, range(33, 64)), 16, bands(31)), kind)
    assert len(rewritten(model, torch.randn(2, 200, dtype=kind), factorise_dft).places) == 1
    both = randomised(OneConvolution(*kernels(64, 64, range(64)), 16, bands(64)), kind)
    assert rewritten(both, torch.randn(2, 200, dtype=kind), factorise_dft).places == []


def test_kernels_that_read_two_sounds_are_no_dft(kind: torch.dtype) -> None:
    class Two(TwoConvolutions):
        def forward(self, x: Tensor) -> Tensor:
            x = x[:, None]
            power = self.real(input=x) ** 2 + self.imaginary(input=2 * x).square()
            return power.transpose(1, 2) @ self.bands

    model = randomised(Two(*kernels(64, 64, range(33)), 16, bands(33)), kind)
    assert rewritten(model, torch.randn(2, 200, dtype=kind), carry_axes, factorise_dft).places == []


def test_the_dft_is_read_off_its_kernels() -> None:
    real, imaginary = kernels(60, 45, range(2, 20))
    dft = windowed_dft(real.float(), imaginary.float())
    assert dft is not None
    assert dft.size == 60
    assert dft.bins.tolist() == list(range(2, 20))
    torch.testing.assert_close(dft.window, real[0].hypot(imaginary[0]), rtol=0, atol=1e-7)


def _changed(real: Tensor, imaginary: Tensor, change: str) -> tuple[Tensor, Tensor]:
    if change == "one tap":
        real[5, 17] += 1e-6
    elif change == "one bin's window":
        real[5], imaginary[5] = 1.001 * real[5], 1.001 * imaginary[5]
    elif change == "a bin twice":
        real[5], imaginary[5] = real[6], imaginary[6]
    elif change == "bins that are not in order":
        real[[5, 6]], imaginary[[5, 6]] = real[[6, 5]], imaginary[[6, 5]]
    elif change == "not a number":
        real[5, 5] = torch.nan
    elif change == "learned":
        real, imaginary = torch.randn_like(real), torch.randn_like(imaginary)
    elif change == "zeros":
        real, imaginary = torch.zeros_like(real), torch.zeros_like(imaginary)
    return real, imaginary


@pytest.mark.parametrize("change", ["one tap", "one bin's window", "a bin twice", "not a number", "learned", "zeros"])
def test_kernels_that_training_has_changed_are_no_dft(change: str) -> None:
    torch.manual_seed(0)
    assert windowed_dft(*kernels(64, 64, range(33))) is not None
    assert windowed_dft(*_changed(*kernels(64, 64, range(33)), change)) is None


def test_bins_may_come_in_any_order(kind: torch.dtype) -> None:
    real, imaginary = _changed(*kernels(64, 64, range(33)), "bins that are not in order")
    model = randomised(OneConvolution(real, imaginary, 16, bands(33)), kind)
    assert len(rewritten(model, torch.randn(2, 200, dtype=kind), factorise_dft).places) == 1


def test_a_learned_spectrum_is_left_but_for_bins_that_no_band_weighs(kind: torch.dtype) -> None:
    model = OneConvolution(torch.randn(33, 64), torch.randn(33, 64), 16, bands(33, slice(3, 20)))
    done = rewritten(randomised(model, kind), torch.randn(2, 200, dtype=kind), factorise_dft, drop_bins)
    assert done.places == ["kernels_conv: 17 of 33"]


@pytest.mark.parametrize("form", [TwoConvolutions, OneConvolution])
def test_where_hop_and_size_have_nothing_in_common_bins_alone_are_dropped(
    kind: torch.dtype, form: type[nn.Module]
) -> None:
    model = randomised(form(*kernels(64, 64, range(33)), 15, bands(33, slice(3, 20))), kind)
    done = rewritten(model, torch.randn(2, 201, dtype=kind), carry_axes, factorise_dft, drop_bins)
    assert [place.split(": ")[1] for place in done.places] == ["17 of 33"]


def test_a_spectrum_whose_bins_are_all_used_and_have_no_factors_stays(kind: torch.dtype) -> None:
    model = randomised(OneConvolution(*kernels(64, 64, range(33)), 15, bands(33)), kind)
    assert rewritten(model, torch.randn(2, 201, dtype=kind), factorise_dft, drop_bins).places == []


def test_a_power_that_others_read_too_stays(kind: torch.dtype) -> None:
    class Both(OneConvolution):
        def forward(self, x: Tensor) -> Tensor:
            spectrum = F.conv1d(x[:, None], self.kernels, stride=self.hop)
            power = spectrum[:, :33] ** 2 + spectrum[:, 33:] ** 2
            return (self.bands @ power).sum(dim=1) + power.sum(dim=1)

    model = randomised(Both(*kernels(64, 64, range(33)), 16, bands(33)), kind)
    assert rewritten(model, torch.randn(2, 200, dtype=kind), factorise_dft, drop_bins).places == []


@pytest.mark.parametrize("change", ["bias", "padding", "dilation", "other input", "other hop", "cube"])
def test_what_is_no_power_of_a_correlation_stays(kind: torch.dtype, change: str) -> None:
    class Other(TwoConvolutions):
        def forward(self, x: Tensor) -> Tensor:
            x = x[:, None]
            real = self.real(x)
            imaginary = self.imaginary(2 * x if change == "other input" else x)[..., : real.shape[2]]
            power = real ** (3 if change == "cube" else 2) + imaginary**2
            return self.bands.T @ power

    model = Other(*kernels(64, 64, range(33)), 16, bands(33))
    if change == "bias":
        model.real.bias = nn.Parameter(torch.ones(33))
    elif change in ("padding", "dilation", "other hop"):
        for conv in (model.real, model.imaginary):
            conv.padding = (3,) if change == "padding" else (0,)
            conv.dilation = (2,) if change == "dilation" else (1,)
        model.imaginary.stride = (8,) if change == "other hop" else (16,)
    done = rewritten(randomised(model, kind), torch.randn(2, 200, dtype=kind), factorise_dft, drop_bins)
    assert done.places == []
