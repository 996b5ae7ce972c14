"""A stride is the same behind a depthwise convolution as in it, for every size."""

import pytest
import torch
from torch import nn

from exporters.lowering.strides import strides_behind
from tests.exporters.lowering.rewritten import randomised, same


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        (3, 2, 1, 1),
        (4, 2, 1, 1),
        (5, 2, 2, 1),
        ((4, 3), (1, 2), (0, 1), 1),
        ((2, 5), (3, 4), (1, 0), 1),
        (3, 2, 2, (1, 2)),
    ],
    ids=str,
)
def test_every_size_gives_the_same(
    kind: torch.dtype,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    padding: int | tuple[int, int],
    dilation: int | tuple[int, int],
    bias: bool,
) -> None:
    conv = nn.Conv2d(6, 6, kernel, stride, padding, dilation, groups=6, bias=bias)  # type: ignore[arg-type]
    model = randomised(nn.Sequential(conv, nn.ReLU()), kind)
    done, places = strides_behind(model)
    assert places == ("0",)
    assert model[0].stride == conv.stride  # The given module is as it was.
    assert [layer.stride[1] for layer in done.modules() if isinstance(layer, nn.Conv2d)] == [1]
    for height, width in ((5, 6), (7, 7), (8, 9), (12, 31)):
        x = torch.randn(3, 6, height, width, dtype=kind)
        same(done(x), model(x))


def test_a_layer_in_a_layer_is_found() -> None:
    model = nn.ModuleDict({"block": nn.Sequential(nn.Conv2d(4, 4, 3, 2, groups=4))})
    assert strides_behind(model)[1] == ("block.0",)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, 2),
        nn.Conv2d(4, 8, 3, 2, groups=4),
        nn.Conv2d(4, 4, 3, 2, groups=2),
        nn.Conv2d(4, 4, 3, (2, 1), groups=4),
        nn.Conv2d(1, 1, 3, 2),
        nn.AvgPool2d(2),
    ],
    ids=["dense", "more outputs", "groups of two", "rows alone", "one channel", "no convolution"],
)
def test_another_module_is_given_back_as_it_is(layer: nn.Module) -> None:
    model = nn.Sequential(layer)
    assert strides_behind(model) == (model, ())
