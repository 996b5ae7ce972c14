"""The form for tract is found in PANN's lowered graph, and gives the same answers."""

from typing import Any

import torch
from torch import nn

from exporters.lowering import lower
from exporters.onnx.tract import for_tract


def test_pann_has_the_same_answers(pann: Any, synthetic_pann: nn.Module) -> None:
    plain = lower(synthetic_pann, pann)
    module, done = for_tract(plain)
    assert [place.split()[0] for place in done] == ["stride"] * 4 + ["order", "rows"]
    with torch.no_grad():
        for batch, samples in ((1, 9_920), (2, 21_345)):
            x = torch.randn(batch, samples) / 10
            for found, expected in zip(module(x), plain(x), strict=True):
                torch.testing.assert_close(found, expected)


def test_a_network_without_either_is_given_back() -> None:
    class Plain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    module: Any = Plain()
    assert for_tract(module) == (module, ())
