"""The DFT's rows by a reshape are those by a convolution, for any length, and nothing else is touched."""

import pytest
import torch
from torch import nn

from exporters.lowering.rows import ReshapedRows, reshape_rows
from tests.exporters.lowering.rewritten import same
from tests.exporters.lowering.test_fixed import factorised
from tests.exporters.lowering.test_fourier import CASES


@pytest.mark.parametrize("case", CASES)
def test_any_length_gives_the_same(kind: torch.dtype, case: str) -> None:
    free, taps, hop = factorised(case, kind)
    done, places = reshape_rows(free)
    assert len(places) == 1
    assert [type(layer) for layer in done.modules()].count(ReshapedRows) == 1
    assert not any(isinstance(layer, ReshapedRows) for layer in free.modules())  # The given module is as it was.
    for batch, samples in ((1, taps), (2, taps + hop - 1), (3, taps + hop), (2, taps + 7 * hop + hop // 2)):
        x = torch.randn(batch, samples, dtype=kind)
        same(done(x), free(x))


def test_another_module_is_given_back_as_it_is() -> None:
    module = nn.Conv1d(1, 2, 3)
    assert reshape_rows(module) == (module, ())
