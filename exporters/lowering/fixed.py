"""The form that a known length allows, where a format fixes it: nothing long, no wide kernel.

A phone's GPU takes no convolution of more than 16,384 places, and the Neural Engine no kernel wider than 15
(https://github.com/apple/coremltools/issues/283, https://github.com/apple/coremltools/issues/324): the factorised DFT
has both, since convolutions lay out its samples. Where the number of samples is a number, they are laid out by
a reshape: block b, phase h and row r of sample hop b + P h + r become channel (r, h) at place b. A frame is then a few
blocks, its kernel that many places wide, and the sum over the rows a product at each place, of the frames' axis and
the columns'.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exporters.lowering.fourier import FactorisedBands
from exporters.lowering.graph import same_kind

_Module = TypeVar("_Module", bound=nn.Module)


class BlockedBands(nn.Module):
    """As the factorised DFT that it is made of, (batch, 1, samples) -> (batch, bands, frames), of so many samples."""

    def __init__(self, free: FactorisedBands, samples: int) -> None:
        super().__init__()
        taps = free.columns.shape[-1]
        self.rows, self.phases = free.rows, free.hop // free.rows
        wide = -(-taps // self.phases)
        self.frames = (samples - free.taps) // free.hop + 1
        self.blocks = self.frames - 1 + wide
        self.surplus = self.blocks * free.hop - samples
        kernels = F.pad(free.columns, (0, wide * self.phases - taps))
        kernels = kernels.reshape(len(kernels), 1, wide, self.phases).permute(0, 3, 1, 2)
        self.columns = same_kind(kernels, free.columns)
        self.image = (2 * self.rows, len(kernels) // (2 * self.rows), self.frames)
        # Real parts, then imaginary parts, which slices then take apart: five axes are the most that Core ML has.
        self.sums = same_kind(torch.cat([free.sums[0::2], free.sums[1::2]])[:, :, None, None], free.sums)
        self.bands, self.root = free.bands, free.root
        self.added = None
        if free.added is not None:
            added = free.added.reshape(len(free.sums), -1, free.added.shape[1])
            self.added = same_kind(torch.cat([added[0::2], added[1::2]]).flatten(0, 1), free.added)

    def forward(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        blocks = F.pad(x, (0, self.surplus)).reshape(-1, self.blocks, self.phases, self.rows)
        channels = blocks.permute(0, 3, 2, 1).reshape(-1, self.rows * self.phases, 1, self.blocks)
        columns = F.conv2d(channels, self.columns, groups=self.rows)
        spectrum = F.conv2d(columns.reshape(-1, *self.image), self.sums)
        if self.added is not None and values is not None:
            spectrum = spectrum + (self.added @ values).reshape(-1, len(self.sums), *self.image[1:])
        squares = spectrum * spectrum
        half = len(self.sums) // 2
        power = squares[:, :half] + squares[:, half:]
        found: Tensor = self.bands(torch.sqrt(power) if self.root else power)
        return found


def at_length(module: _Module, *shapes: tuple[int, ...]) -> _Module:
    """A lowered module for inputs of these shapes alone, and batches of them; the same one where nothing is to gain.

    The module that is given is not changed.
    """
    free = {name: layer for name, layer in module.named_modules() if isinstance(layer, FactorisedBands)}
    if not free:
        return module
    fixed, samples = deepcopy(module), _samples(module, free, shapes)
    for name, layer in free.items():
        fixed.set_submodule(name, BlockedBands(layer, samples[name]))
    return fixed


def _samples(
    module: nn.Module, layers: dict[str, FactorisedBands], shapes: Sequence[tuple[int, ...]]
) -> dict[str, int]:
    """How many samples each of these layers is fed."""
    found: dict[str, int] = {}

    def note(name: str, fed: Tensor) -> None:
        found[name] = fed.shape[-1]

    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: note(name, inputs[0]))
        for name, layer in layers.items()
    ]
    try:
        with torch.no_grad():
            kind = next(iter(layers.values())).columns.dtype
            module(*(torch.zeros(shape, dtype=kind) for shape in shapes))
    finally:
        for hook in hooks:
            hook.remove()
    return found
