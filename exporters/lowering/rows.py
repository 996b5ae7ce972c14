"""The factorised DFT's rows by a reshape, in place of a convolution with identity kernels.

A matrix of P columns that holds the samples one after the other is, turned, the P rows. It takes a length that P
divides: what lies behind the last frame is cut off, and (frames - 1) hops and a frame's taps, filled up to P, are left.
tract 0.23 computes a convolution with a stride place by place, and is faster so; ONNX Runtime is as fast with the
convolution, or faster.
"""

from copy import deepcopy
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from exporters.lowering.fourier import FactorisedBands

_Module = TypeVar("_Module", bound=nn.Module)


class ReshapedRows(nn.Module):
    """As `Rows` of frames that have so many taps and are a hop apart, without the places that no frame reads."""

    def __init__(self, rows: int, taps: int, hop: int) -> None:
        super().__init__()
        self.rows, self.taps, self.hop = rows, taps, hop

    def forward(self, x: Tensor) -> Tensor:
        missing = -self.taps % self.rows
        between = (x.shape[-1] - self.taps) // self.hop * self.hop
        if missing:
            x = F.pad(x, (0, missing))
        rows = x[:, 0, : between + self.taps + missing].reshape(x.shape[0], -1, self.rows)
        return rows.permute(0, 2, 1)[:, :, None]


def reshape_rows(module: _Module) -> tuple[_Module, tuple[str, ...]]:
    """A module whose DFTs lay out their rows so, and which; the given one where it has none.

    The module that is given is not changed.
    """
    found = tuple(name for name, layer in module.named_modules() if isinstance(layer, FactorisedBands))
    if not found:
        return module, found
    changed = deepcopy(module)
    for name in found:
        layer = changed.get_submodule(name)
        assert isinstance(layer, FactorisedBands)
        layer.layout = ReshapedRows(layer.rows, layer.taps, layer.hop)
    return changed, found
