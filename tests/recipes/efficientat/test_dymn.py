"""The dynamic convolutions against the authors' form: one convolution with groups * batch groups."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.published import grouped, with_grouped
from recipes.efficientat.dymn import DynamicConv, DynamicDepthwise, DynamicPointwise
from recipes.efficientat.network import Network

CONTEXT = 24


def randomised(conv: DynamicConv) -> DynamicConv:
    torch.nn.init.normal_(conv.weight)
    torch.nn.init.normal_(conv.residuals[0].weight)
    return conv.requires_grad_(False)


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_pointwise(batch: int) -> None:
    torch.manual_seed(batch)
    conv = randomised(DynamicPointwise(CONTEXT, 16, 40))
    x, context = torch.randn(batch, 16, 8, 13), torch.randn(batch, CONTEXT)
    torch.testing.assert_close(conv(x, context), grouped(conv, x, context, 1, 1), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("time", [1, 12, 13])
def test_depthwise(batch: int, stride: int, kernel: int, time: int) -> None:
    torch.manual_seed(batch)
    conv = randomised(DynamicDepthwise(CONTEXT, 16, kernel, stride))
    x, context = torch.randn(batch, 16, 8, time), torch.randn(batch, CONTEXT)
    torch.testing.assert_close(conv(x, context), grouped(conv, x, context, stride, 16), atol=1e-4, rtol=1e-5)


def test_kernels_differ_from_clip_to_clip() -> None:
    """Where they did not, a mistake in whose kernel is whose would go unseen."""
    torch.manual_seed(0)
    conv = randomised(DynamicPointwise(CONTEXT, 16, 40))
    x, context = torch.randn(1, 16, 8, 13).repeat(2, 1, 1, 1), torch.randn(2, CONTEXT)
    first, second = conv(x, context)
    assert (first - second).abs().max() > 1


def test_network(model: Callable[..., Network], clips: Tensor) -> None:
    network = model("dymn04_as")
    clips = clips[:3, :41237]
    chosen, faithful = network(clips), with_grouped(network)(clips)
    for output, values in faithful.items():
        torch.testing.assert_close(chosen[output], values, atol=1e-5, rtol=0)
