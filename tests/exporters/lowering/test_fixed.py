"""For a length that is known, the factorised DFT has no long axis and no wide kernel, and gives the same."""

import pytest
import torch
from torch import nn

from exporters.lowering.fixed import BlockedBands, at_length
from exporters.lowering.fourier import FactorisedBands, factorise_dft
from tests.exporters.lowering.rewritten import randomised, rewritten, same
from tests.exporters.lowering.test_fourier import CASES, OneConvolution, bands, kernels


def factorised(case: str, kind: torch.dtype) -> tuple[nn.Module, int, int]:
    size, taps, hop, bins, used, _ = CASES[case]
    model = randomised(OneConvolution(*kernels(size, taps, bins), hop, bands(len(bins), used)), kind)
    return rewritten(model, torch.randn(2, taps + 5 * hop + 1, dtype=kind), factorise_dft).graph, taps, hop


@pytest.mark.parametrize("case", CASES)
def test_any_known_length_gives_the_same(kind: torch.dtype, case: str) -> None:
    free, taps, hop = factorised(case, kind)
    for samples in (taps, taps + hop - 1, taps + hop, taps + 7 * hop + hop // 2):
        x = torch.randn(2, samples, dtype=kind)
        fixed = at_length(free, (1, samples))
        assert [type(layer) for layer in fixed.modules()].count(BlockedBands) == 1
        assert not any(isinstance(layer, FactorisedBands) for layer in fixed.modules())
        same(fixed(x), free(x))


def test_another_module_is_given_back_as_it_is() -> None:
    module = nn.Conv1d(1, 2, 3)
    assert at_length(module, (1, 1, 10)) is module
