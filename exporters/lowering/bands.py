"""A matrix of bands over a spectrum, multiplied only where it has weights.

A band weighs a short run of the spectrum, and the bands of a scale such as mel go upwards in order, so that neighbours
weigh the same places. The bands are cut into runs, and each run is multiplied with the places alone that it weighs:
the same sums, without terms that are zero times a finite number.
"""

from math import inf

import torch
from torch import Tensor, nn

from exporters.lowering.graph import same_kind

# What reading a number costs a matrix product, and what moving it aside costs before, in products of ONNX Runtime's.
_READ = 20
_MOVE = 20


class BandProduct(nn.Module):
    """(batch, groups, places * frames) -> (batch, bands, frames) for a matrix (bands, groups * places)."""

    def __init__(self, matrix: Tensor, groups: int, like: Tensor) -> None:
        super().__init__()
        grouped = matrix.reshape(len(matrix), groups, -1)
        self.parts = parts(grouped.any(dim=2))
        weights = [grouped[bands, first:last].flatten(1) for bands, first, last in self.parts]
        self.weights = nn.ParameterList([same_kind(weight, like) for weight in weights])

    def forward(self, x: Tensor) -> Tensor:
        pairs = zip(self.weights, self.parts, strict=True)
        found = [_product(weight, x, first, last) for weight, (_, first, last) in pairs]
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)


def _product(weight: Tensor, x: Tensor, first: int, last: int) -> Tensor:
    if last - first < x.shape[1]:
        x = x[:, first:last]
    return weight @ x.reshape(x.shape[0], weight.shape[1], -1)


def parts(used: Tensor) -> list[tuple[slice, int, int]]:
    """Runs of bands, each with the groups from `first` to before `last` that it uses, at the least cost.

    `used` is (bands, groups).
    """
    bands, groups = used.shape
    # A band without weights goes with its neighbours; one group is the least that a product has.
    first = torch.where(used.any(dim=1), used.int().argmax(dim=1), groups - 1).tolist()
    last = torch.where(used.any(dim=1), groups - used.flip(1).int().argmax(dim=1), 1).tolist()
    best: list[tuple[float, int]] = [(0, 0)]
    for end in range(1, bands + 1):
        least, start = inf, 0
        low, high = groups, 0
        for begin in reversed(range(end)):
            low, high = min(low, first[begin]), max(high, last[begin])
            width = max(high - low, 1)
            moved = _MOVE if width < groups else 0
            cost = best[begin][0] + (end - begin + _READ + moved) * width
            if cost < least:
                least, start = cost, begin
        best.append((least, start))
    found: list[tuple[slice, int, int]] = []
    end = bands
    while end:
        start = best[end][1]
        low = min(first[start:end])
        found.append((slice(start, end), low, max(low + 1, *last[start:end])))
        end = start
    return found[::-1]
