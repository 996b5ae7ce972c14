"""Only the bins of a spectrum that some band weighs.

A bin whose column in the matrix of the bands is zero changes no band, whatever its kernels are. Kernels and column are
left out, and the remaining real and imaginary kernels make one convolution. Powers are finite wherever the sound is,
so that nothing is lost with 0 times them. Where the kernels are a DFT with factors, `factorise_dft` has done more.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from exporters.lowering.graph import same_kind
from exporters.lowering.spectrum import Bands, find_bands


class UsedBands(nn.Module):
    """(batch, 1, samples) -> (batch, bands, frames), as `Bands` has it, of its used bins alone."""

    def __init__(self, bands: Bands) -> None:
        super().__init__()
        used = bands.used()
        self.hop = bands.hop
        self.kernels = same_kind(torch.cat([bands.real[used], bands.imaginary[used]])[:, None], bands.real)
        self.matrix = same_kind(bands.matrix[:, used], bands.matrix)
        self.root = bands.root
        self.added = None
        if bands.added is not None:
            real, imaginary, _ = bands.added
            self.added = same_kind(torch.cat([real[used], imaginary[used]]), bands.real)

    def forward(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        spectrum = F.conv1d(x, self.kernels, stride=self.hop)
        if self.added is not None and values is not None:
            spectrum = spectrum + self.added @ values
        squares = spectrum * spectrum
        # Slices, since opsets below 18 have no split into equal parts.
        bins = self.matrix.shape[1]
        power = squares[:, :bins] + squares[:, bins:]
        return self.matrix @ (torch.sqrt(power) if self.root else power)


def drop_bins(graph: GraphModule) -> Iterator[str]:
    """Leave out what no band weighs; yields where, and how many bins of how many are left."""
    for bands in find_bands(graph):
        count, used = len(bands.real), len(bands.used())
        if 0 < used < count:
            bands.replace(UsedBands(bands), "used_bins")
            yield f"{bands.place}: {used} of {count}"
