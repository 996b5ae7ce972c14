"""The power spectrum of a windowed DFT that is written as a convolution, computed as a factorised real FFT.

A frame x of K samples, the window w, N = P Q, W = exp(-2 pi i / N). With the sample n = P m + r and the bin
k = q + Q s, where W^(P Q m s) = 1:

    X[k] = sum_n w[n] x[n] W^(k n) = sum_r exp(-2 pi i r s / P) Z[r, q]
    Z[r, q] = sum_m w[P m + r] x[P m + r] W^(q (P m + r))

Where P divides the hop, the samples of a residue r are a row of their own, in which frames are hop / P apart: Z is a
grouped convolution of P rows with K / P taps, and no frame is ever stored. The sum over r is one matrix, the same for
all q. Sound is real, so that |X[N - k]| = |X[k]|: the q from 0 to Q / 2 give every bin's power, and of the s only
those are computed that hold a bin with a weight. The matrix of the bands takes its columns in the order (s, q).

For N = 1024, a hop of 320 and P = 16 a frame costs 97,000 products in place of 1,050,000. P is a divisor of hop and
N with the fewest, or nearly. Samples are laid out in rows by a convolution with P identity kernels at stride P, which
holds for any length. Where P does not divide K, zeros are added behind; the number of frames stays.

That the kernels are such a DFT is read off their numbers: N and the bins from the phase's step from tap to tap, w as
the mean magnitude, and each must be what they say to within float32's rounding. A shift of phase, the same for all
taps of a bin, changes no power and is ignored, as is the sign of the sine. What is computed then has the exact sines
in place of rounded ones. Only where something is added to the spectrum before it is squared do phase and sign matter:
that is then turned as the kernels are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd, inf, pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from exporters.lowering.bands import BandProduct
from exporters.lowering.graph import same_kind
from exporters.lowering.spectrum import Bands, find_bands

# Kernels are float32 of at most the window's height: twice the spacing of float32 there leaves room for sines that
# were themselves computed in it, and for nothing that training has changed.
_ROUNDING = 2.0**-22


@dataclass(frozen=True)
class WindowedDft:
    """Kernel j is `window` times exp(-2 pi i bins[j] n / size), float64, but for a phase.

    That is `phases[j]`, complex; before it the wave is `mirrored[j]` where its bin was beyond half of the size, and
    behind it all are where the kernels were of the other sign (`conjugated`).
    """

    size: int
    bins: Tensor
    window: Tensor
    phases: Tensor
    mirrored: Tensor
    conjugated: bool

    def turned(self, values: Tensor) -> Tensor:
        """(bins, ...) complex, given beside the kernels' results: as they are beside exp(-2 pi i bins[j] n / size)."""
        phases, mirrored = self.phases[:, None], self.mirrored[:, None]
        turned = phases.conj() * (values.conj() if self.conjugated else values)
        return torch.where(mirrored, turned.conj(), turned)


@dataclass(frozen=True)
class Factors:
    """`size` is N, `rows` P, and `columns` counts the q; `sums` are the s that are needed, `bins` (s, q) their bins.

    From low frequencies to high, so that a band's bins are of a few neighbouring s.
    """

    size: int
    rows: int
    columns: int
    sums: Tensor
    bins: Tensor

    def products(self, taps: int) -> int:
        """Multiplications a frame, before the matrix of the bands."""
        first = self.rows * -(-taps // self.rows) * 2 * self.columns
        return first + 2 * len(self.sums) * 2 * self.rows * self.columns


class Rows(nn.Module):
    """(batch, 1, samples) -> (batch, rows, 1, samples / rows), whose row r has the samples P m + r, of any length."""

    def __init__(self, rows: int, taps: int, like: Tensor) -> None:
        super().__init__()
        self.missing = -taps % rows
        self.kernels = same_kind(torch.eye(rows)[:, None, None], like)

    def forward(self, x: Tensor) -> Tensor:
        if self.missing:
            x = F.pad(x, (0, self.missing))
        return F.conv2d(x[:, :, None], self.kernels, stride=(1, len(self.kernels)))


class FactorisedBands(nn.Module):
    """(batch, 1, samples) -> (batch, bands, frames), as `Bands` has it, for a windowed DFT.

    Convolutions are of an image one row high: ONNX Runtime has better ones for it than for one axis alone.
    """

    def __init__(self, dft: WindowedDft, factors: Factors, bands: Bands) -> None:
        super().__init__()
        self.rows, self.hop, self.taps = factors.rows, bands.hop, len(dft.window)
        self.layout: nn.Module = Rows(self.rows, self.taps, bands.real)
        self.columns = same_kind(_column_kernels(dft, factors), bands.real)
        self.sums = same_kind(_sums(factors), bands.real)
        self.bands = BandProduct(_reordered(bands.matrix, dft, factors), len(factors.sums), bands.matrix)
        self.root = bands.root
        self.added = None
        if bands.added is not None:
            self.added = same_kind(_added(bands, dft, factors), bands.real)

    def forward(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        columns = F.conv2d(self.layout(x), self.columns, stride=(1, self.hop // self.rows), groups=self.rows)
        # (batch, rows * parts, columns * frames): what lies side by side in memory stays so. All sizes but the frames'
        # are numbers, so that no graph computes any and compilers know what they get.
        spectrum = self.sums @ columns.reshape(columns.shape[0], 2 * self.rows, -1)
        if self.added is not None and values is not None:
            spectrum = spectrum + (self.added @ values).reshape(spectrum.shape[0], len(self.sums), -1)
        squares = spectrum * spectrum
        power = squares.reshape(squares.shape[0], len(self.sums) // 2, 2, -1).sum(dim=2)
        return self.bands(torch.sqrt(power) if self.root else power)


def factorise_dft(graph: GraphModule) -> Iterator[str]:
    """Replace each windowed DFT that a factorisation makes cheaper; yields where, and by which factors."""
    for bands in find_bands(graph):
        dft = windowed_dft(bands.real, bands.imaginary)
        if dft is None or (factors := best_factors(dft, bands)) is None:
            continue
        bands.replace(FactorisedBands(dft, factors, bands), "factorised_dft")
        yield f"{bands.place}: {dft.size} = {factors.rows} x {dft.size // factors.rows}"


def windowed_dft(real: Tensor, imaginary: Tensor) -> WindowedDft | None:
    """What DFT the kernels (bins, taps) are, None if they are none."""
    kernels = torch.complex(real.double(), imaginary.double())
    bins, taps = kernels.shape
    if bins < 2 or taps < 2 or not kernels.isfinite().all():
        return None
    steps = (kernels[:, 1:] * kernels[:, :-1].conj()).sum(dim=1).angle() / (-2 * pi)
    conjugated = bool(steps.sum() < 0)
    if conjugated:
        kernels, steps = kernels.conj(), -steps
    # Half a turn is as far backwards as forwards.
    steps = torch.where(steps < -0.25, steps + 1, steps)
    spacing = float(steps.max() - steps.min()) / (bins - 1)
    if spacing <= 0 or 1 / spacing > 2**20:
        return None
    size = round(1 / spacing)
    places = (steps * size).round().long()
    waves = _waves(places, torch.arange(taps), size)
    window = kernels * waves.conj()
    phases = window.sum(dim=1, keepdim=True)
    phases = phases / phases.abs().clamp(min=torch.finfo(torch.float64).tiny)
    mean = (window * phases.conj()).real.mean(dim=0)
    difference = torch.view_as_real(kernels - mean * waves * phases).abs().max()
    # What is beyond half of the size has the powers of what is before; both together are no bins of one spectrum.
    mirrored = places % size > -places % size
    places = torch.minimum(places % size, -places % size)
    if len(places.unique()) < bins or not difference <= _ROUNDING * mean.abs().max():
        return None
    return WindowedDft(size, places, mean, phases[:, 0], mirrored, conjugated)


def _waves(bins: Tensor, samples: Tensor, size: int) -> Tensor:
    """exp(-2 pi i k n / size), (bins, samples), complex128; whole turns are taken off in integers."""
    turns = (torch.outer(bins, samples) % size).double() / size
    return torch.polar(torch.ones_like(turns), -2 * pi * turns)


def best_factors(dft: WindowedDft, bands: Bands) -> Factors | None:
    """Few rows among those with the fewest products, give or take a tenth; None where the convolution has no more."""
    common = gcd(dft.size, bands.hop)
    used = dft.bins[bands.used()]
    taps = len(dft.window)
    candidates = [_factors(dft.size, rows, used) for rows in range(2, common + 1) if common % rows == 0]
    fewest = min((factors.products(taps) for factors in candidates), default=inf)
    if fewest >= 2 * taps * len(used):
        return None
    # Fewer rows make larger matrices, which runtimes multiply faster.
    return next(factors for factors in candidates if factors.products(taps) <= 1.1 * fewest)


def _factors(size: int, rows: int, used: Tensor) -> Factors:
    columns = size // rows // 2 + 1
    bins = torch.arange(rows)[:, None] * (size // rows) + torch.arange(columns)
    bins = torch.minimum(bins, size - bins)
    needed = torch.isin(bins, used).any(dim=1).nonzero()[:, 0]
    upwards = needed[bins[needed].sum(dim=1).argsort()]
    return Factors(size, rows, columns, upwards, bins[upwards])


def _column_kernels(dft: WindowedDft, factors: Factors) -> Tensor:
    """(rows * 2 * columns, 1, 1, taps / rows): the window and W^(q n) for all n of a row."""
    rows, columns = factors.rows, factors.columns
    window = F.pad(dft.window, (0, -len(dft.window) % rows))
    kernels = window * _waves(torch.arange(columns), torch.arange(len(window)), dft.size)
    by_row = kernels.reshape(columns, -1, rows).permute(2, 0, 1)
    return torch.stack([by_row.real, by_row.imag], dim=1).reshape(rows * 2 * columns, 1, 1, -1)


def _sums(factors: Factors) -> Tensor:
    """(s * 2, rows * 2): real and imaginary parts of exp(-2 pi i r s / P), of each s from those of each row r."""
    waves = _waves(factors.sums, torch.arange(factors.rows), factors.rows)
    real = torch.stack([waves.real, -waves.imag], dim=2).flatten(1)
    imaginary = torch.stack([waves.imag, waves.real], dim=2).flatten(1)
    return torch.stack([real, imaginary], dim=1).flatten(0, 1)


def _added(bands: Bands, dft: WindowedDft, factors: Factors) -> Tensor:
    """(s * 2 * q, terms): what is added to each bin, in the order of the sums; zeros for a bin that no kernel has."""
    assert bands.added is not None
    real, imaginary, _ = bands.added
    turned = dft.turned(torch.complex(real.double(), imaginary.double()))
    whole = torch.zeros(dft.size // 2 + 1, turned.shape[1], dtype=turned.dtype)
    whole[dft.bins] = turned
    # A sum gives the bin k = q + Q s itself, which beyond half of the size is the conjugate of one before.
    places = factors.sums[:, None] * (dft.size // factors.rows) + torch.arange(factors.columns)
    found = whole[factors.bins]
    found = torch.where((places > dft.size - places)[:, :, None], found.conj(), found)
    return torch.stack([found.real, found.imag], dim=1).flatten(0, 2)


def _reordered(matrix: Tensor, dft: WindowedDft, factors: Factors) -> Tensor:
    """(bands, s * q): each bin's column where its power is first computed, zeros where it comes again."""
    order = factors.bins.flatten().tolist()
    new = torch.zeros(len(matrix), len(order), dtype=matrix.dtype)
    for column, place in enumerate(dft.bins.tolist()):
        # A weight without a place would be an error here.
        if matrix[:, column].any():
            new[:, order.index(place)] = matrix[:, column]
    return new
