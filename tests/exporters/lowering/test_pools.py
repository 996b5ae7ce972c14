"""A convolution and the average behind it become one convolution, for every size."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exporters.lowering.pools import merge_pools
from tests.exporters.lowering.rewritten import randomised, rewritten, same


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("pool", [2, 3, (2, 3)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, 1), (1, 1, 0), (5, 2, 2), ((3, 5), (1, 2), (1, 0))], ids=str
)
def test_every_size_gives_the_same(
    kind: torch.dtype,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    pool: int | tuple[int, int],
    groups: int,
) -> None:
    conv = nn.Conv2d(4, 8, kernel, stride, padding, groups=groups, bias=groups == 1)  # type: ignore[arg-type]
    model = randomised(nn.Sequential(conv, nn.AvgPool2d(pool)), kind)
    done = rewritten(model, torch.randn(2, 4, 17, 19, dtype=kind), merge_pools)
    assert done.places == ["1 into 0"]
    assert len(done.layers()) == 1
    for height, width in ((16, 16), (17, 16), (18, 20), (21, 22)):
        x = torch.randn(1, 4, height, width, dtype=kind)
        same(done.graph(x), model(x))


def test_three_taps_and_a_pooling_by_two_are_four_taps_at_stride_two(kind: torch.dtype) -> None:
    model = randomised(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.AvgPool2d(2)), kind)
    (conv,) = rewritten(model, torch.randn(1, 1, 9, 8, dtype=kind), merge_pools).layers()
    assert isinstance(conv, nn.Conv2d)
    assert (conv.kernel_size, conv.stride, conv.padding) == ((4, 4), (2, 2), (1, 1))


def test_one_axis_and_a_function(kind: torch.dtype) -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(3, 5, 4, padding=2)

        def forward(self, x: Tensor) -> Tensor:
            return F.avg_pool1d(self.conv(x), 3)

    done = rewritten(randomised(Pooled(), kind), torch.randn(2, 3, 31, dtype=kind), merge_pools)
    assert len(done.places) == 1
    assert [type(layer) for layer in done.layers()] == [nn.Conv1d]


@pytest.mark.parametrize(
    ("conv", "pool"),
    [
        (nn.Conv2d(2, 3, 3), nn.AvgPool2d(3, stride=2)),
        (nn.Conv2d(2, 3, 3), nn.AvgPool2d(2, padding=1)),
        (nn.Conv2d(2, 3, 3), nn.AvgPool2d(2, ceil_mode=True)),
        (nn.Conv2d(2, 3, 3), nn.AvgPool2d(2, divisor_override=3)),
        (nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)),
        (nn.Conv2d(2, 3, 3, dilation=2), nn.AvgPool2d(2)),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), nn.AvgPool2d(2)),
        (nn.Conv2d(2, 3, 1, stride=2), nn.AvgPool2d(2)),
    ],
    ids=["overlap", "padding", "ceil", "divisor", "maximum", "dilation", "reflection", "costs more"],
)
def test_others_stay(kind: torch.dtype, conv: nn.Module, pool: nn.Module) -> None:
    model = randomised(nn.Sequential(conv, pool), kind)
    assert rewritten(model, torch.randn(2, 2, 17, 15, dtype=kind), merge_pools).places == []
