"""A matrix of bands is multiplied where it weighs, whatever its bands are."""

import pytest
import torch

from exporters.lowering.bands import BandProduct, parts
from tests.exporters.lowering.rewritten import same


def banded(bands: int, groups: int, places: int, kind: torch.dtype) -> torch.Tensor:
    """Each weighs two groups or three, from low to high."""
    matrix = torch.zeros(bands, groups, places, dtype=kind)
    for band in range(bands):
        low = band * (groups - 1) // bands
        matrix[band, low : low + 2] = torch.rand(2, places, dtype=kind)[: groups - low]
    return matrix.flatten(1)


@pytest.mark.parametrize("empty", [[], [0, 1], [3], [10, 11], [0, 5, 6, 11], list(range(12))], ids=str)
def test_bands_without_weights(kind: torch.dtype, empty: list[int]) -> None:
    matrix = banded(12, 9, 3, kind)
    matrix[empty] = 0
    x = torch.randn(2, 9, 3 * 5, dtype=kind)
    same(BandProduct(matrix, 9, matrix)(x), matrix @ x.reshape(2, 27, 5))


def test_in_any_order(kind: torch.dtype) -> None:
    matrix = banded(12, 9, 3, kind)[torch.randperm(12)]
    x = torch.randn(2, 9, 3 * 5, dtype=kind)
    same(BandProduct(matrix, 9, matrix)(x), matrix @ x.reshape(2, 27, 5))


def test_the_parts_cover_all_bands_and_less_than_all_weights(kind: torch.dtype) -> None:
    used = banded(120, 30, 4, kind).reshape(120, 30, 4).any(dim=2)
    found = parts(used)
    assert [band for bands, _, _ in found for band in range(bands.start, bands.stop)] == list(range(120))
    for bands, first, last in found:
        assert not used[bands, :first].any()
        assert not used[bands, last:].any()
    assert sum((bands.stop - bands.start) * (last - first) for bands, first, last in found) < 120 * 30 / 2
