"""Magnitudes in place of powers, and a spectrum to which something is added before: factorised too."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exporters.lowering.bins import drop_bins
from exporters.lowering.fourier import factorise_dft
from tests.exporters.lowering.rewritten import randomised, rewritten, same
from tests.exporters.lowering.test_fourier import bands, kernels


class Corrected(nn.Module):
    """(batch, samples) -> (batch, bands, frames): magnitudes of a spectrum that each frame's own terms change.

    `form` leaves one of both out, or is none of what is looked for.
    """

    def __init__(self, real: Tensor, imaginary: Tensor, hop: int, matrix: Tensor, form: str) -> None:
        super().__init__()
        self.register_buffer("kernels", torch.cat([real, imaginary])[:, None])
        self.register_buffer("matrix", matrix)
        self.register_buffer("weights", torch.randn(2 * len(real), 2))
        self.register_buffer("terms", torch.randn(2, 1, real.shape[1]))
        self.hop, self.form = hop, form

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        spectrum = F.conv1d(x, self.kernels, stride=self.hop)
        if self.form != "plain":
            values = F.conv1d(x, self.terms, stride=self.hop)
            spectrum = spectrum + self.weights @ values
        squares = spectrum * spectrum
        if self.form == "beside the squares":
            squares = squares + (self.weights @ values).abs()
        half = self.matrix.shape[1]
        power = squares[:, :half] + squares[:, half:]
        found = self.matrix @ (power if self.form == "powers" else torch.sqrt(power))
        return found + spectrum[:, :1] if self.form == "read elsewhere" else found


CASES = {
    "all bins": (64, 64, range(33), 0, -1),
    "an odd size": (60, 45, range(2, 28), 0, -1),
    "with a phase of their own": (64, 50, range(33), -17, -1),
    "with the other sign": (64, 64, range(33), 5, 1),
    "beyond half of the size": (64, 64, range(33, 64), 3, -1),
    "an odd size, beyond half of it, with the other sign": (45, 45, range(23, 44), 3, 1),
}


@pytest.mark.parametrize("form", ["plain", "powers", "both"])
@pytest.mark.parametrize("case", CASES)
def test_magnitudes_and_what_is_added_are_factorised(kind: torch.dtype, case: str, form: str) -> None:
    size, taps, bins, shift, sign = CASES[case]
    model = Corrected(*kernels(size, taps, bins, shift, sign), 15 if size % 2 else 20, bands(len(bins)), form)
    model = randomised(model, kind)
    done = rewritten(model, torch.randn(2, 401, dtype=kind), factorise_dft)
    assert len(done.places) == 1
    for samples in (taps, 333):
        x = torch.randn(3, samples, dtype=kind)
        same(done.graph(x), model(x))


@pytest.mark.parametrize("form", ["plain", "powers", "both"])
def test_bins_without_a_weight_are_left_out_with_what_is_added_to_them(kind: torch.dtype, form: str) -> None:
    matrix = bands(33, slice(3, 20))
    model = randomised(Corrected(*kernels(64, 64, range(33)), 15, matrix, form), kind)
    done = rewritten(model, torch.randn(2, 201, dtype=kind), factorise_dft, drop_bins)
    assert [place.split(": ")[1] for place in done.places] == ["17 of 33"]


@pytest.mark.parametrize("form", ["read elsewhere", "beside the squares"])
def test_what_is_added_elsewhere_or_reads_the_spectrum_stays(kind: torch.dtype, form: str) -> None:
    model = randomised(Corrected(*kernels(64, 64, range(33)), 16, bands(33), form), kind)
    assert rewritten(model, torch.randn(2, 200, dtype=kind), factorise_dft, drop_bins).places == []
