"""Norms are folded into convolutions, and only where that is the same."""

import pytest
import torch
from torch import Tensor, nn

from exporters.lowering.norms import fold_norms
from tests.exporters.lowering.rewritten import randomised, rewritten


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
def test_a_norm_behind_a_convolution(kind: torch.dtype, groups: int, bias: bool, affine: bool) -> None:
    conv = nn.Conv2d(3, 9, (3, 5), stride=2, padding=(1, 2), groups=groups, bias=bias)
    model = randomised(nn.Sequential(conv, nn.BatchNorm2d(9, eps=0.1, affine=affine), nn.ReLU()), kind)
    done = rewritten(model, torch.randn(2, 3, 11, 7, dtype=kind), fold_norms)
    assert done.places == ["1 into 0"]
    assert [type(layer) for layer in done.layers()] == [nn.Conv2d, nn.ReLU]


def test_a_norm_of_one_axis(kind: torch.dtype) -> None:
    model = randomised(nn.Sequential(nn.Conv1d(2, 5, 4), nn.AvgPool1d(3), nn.BatchNorm1d(5)), kind)
    done = rewritten(model, torch.randn(3, 2, 23, dtype=kind), fold_norms)
    assert done.places == ["2 into 0"]


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, stride=2),
        nn.AvgPool2d(3, stride=2, ceil_mode=True),
        nn.AvgPool2d(3, padding=1, count_include_pad=False),
    ],
)
def test_a_norm_behind_an_average(kind: torch.dtype, pool: nn.Module) -> None:
    model = randomised(nn.Sequential(nn.Conv2d(2, 5, 3, padding=1, bias=False), pool, nn.BatchNorm2d(5)), kind)
    done = rewritten(model, torch.randn(2, 2, 13, 9, dtype=kind), fold_norms)
    assert done.places == ["2 into 0"]
    assert len(done.layers()) == 2


@pytest.mark.parametrize(
    "pool",
    [nn.AvgPool2d(3, padding=1), nn.AvgPool2d(2, divisor_override=3), nn.MaxPool2d(2), nn.ReLU()],
    ids=["zeros are counted", "a divisor of its own", "maximum", "no average"],
)
def test_a_norm_behind_what_keeps_no_constant_or_is_not_linear_stays(kind: torch.dtype, pool: nn.Module) -> None:
    model = randomised(nn.Sequential(nn.Conv2d(2, 5, 3), pool, nn.BatchNorm2d(5)), kind)
    assert rewritten(model, torch.randn(2, 2, 13, 9, dtype=kind), fold_norms).places == []


def test_a_norm_that_does_not_read_the_convolution_alone_stays(kind: torch.dtype) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.norm(y) + y

    model = randomised(Both(), kind)
    assert rewritten(model, torch.randn(2, 2, 7, 9, dtype=kind), fold_norms).places == []


def test_a_convolution_that_is_used_twice_is_changed_in_one_place_alone(kind: torch.dtype) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.conv(self.conv(x)))

    done = rewritten(randomised(Twice(), kind), torch.randn(2, 2, 7, 9, dtype=kind), fold_norms)
    assert done.places == ["norm into conv"]
    first, second = done.layers()
    assert first is not second


def test_a_norm_of_the_batch_itself_stays(kind: torch.dtype) -> None:
    norm = nn.BatchNorm2d(5, track_running_stats=False)
    model = nn.Sequential(nn.Conv2d(2, 5, 3), norm).eval().to(kind).requires_grad_(False)
    assert rewritten(model, torch.randn(2, 2, 7, 9, dtype=kind), fold_norms).places == []
