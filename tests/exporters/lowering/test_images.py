"""A chain of convolutions over one axis becomes one of images; a filter on its own stays."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exporters.lowering.images import as_images
from tests.exporters.lowering.rewritten import randomised, rewritten, same


class Chain(nn.Module):
    """Every layer that an image passes, and a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.ReflectionPad1d((2, 3)), nn.Conv1d(1, 6, 4, bias=False), nn.BatchNorm1d(6))
        self.pools = nn.Sequential(nn.AvgPool1d(3, 2, 1, ceil_mode=True), nn.MaxPool1d(3, 1, 1))
        self.second = nn.Conv1d(6, 6, 5, padding=4, dilation=2, groups=3)
        self.last = nn.Conv1d(6, 4, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pools(F.leaky_relu(self.first(x), 0.1))
        x = x + torch.sigmoid(self.second(x))
        return self.last(F.pad(2 * x, (1, 2), mode="reflect")).mean(dim=2)


def test_a_chain_gets_its_second_axis_once(kind: torch.dtype) -> None:
    model = randomised(Chain(), kind)
    done = rewritten(model, torch.randn(2, 1, 41, dtype=kind), as_images)
    assert done.places == ["first.1", "second", "last"]
    functions = [node.target for node in done.graph.graph.nodes if node.op == "call_function"]
    assert functions.count(torch.unsqueeze) == functions.count(torch.squeeze) == 1
    layers = [type(layer).__name__ for layer in done.layers()]
    assert not [name for name in layers if name.endswith("1d")]
    for batch, length in ((1, 40), (3, 53), (2, 64)):
        x = torch.randn(batch, 1, length, dtype=kind)
        same(done.graph(x), model(x))


@pytest.mark.parametrize(
    "what", ["alone", "filter, then spectrum", "side by side", "products", "through a transposition"]
)
def test_what_is_no_chain_stays(kind: torch.dtype, what: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.filter, self.spectrum = nn.Conv1d(1, 1, 2), nn.Conv1d(1, 8, 5, stride=2)
            self.product, self.last = nn.Conv1d(7, 4, 1), nn.Conv1d(4, 3, 1)
            self.wide, self.other = nn.Conv1d(7, 4, 3), nn.Conv1d(7, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            if what == "alone":
                return self.wide(x)
            if what == "filter, then spectrum":
                return self.spectrum(F.pad(self.filter(x[:, :1]), (2, 2), mode="reflect"))
            if what == "products":
                return self.last(torch.relu(self.product(x)))
            if what == "side by side":
                return self.wide(x) + self.other(x)
            return self.wide(self.other(x).transpose(1, 2)[:, :7])

    assert rewritten(randomised(Model(), kind), torch.randn(2, 7, 12, dtype=kind), as_images).places == []


def test_what_an_image_does_not_pass_has_its_row_back(kind: torch.dtype) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv1d(3, 4, 3), nn.Conv1d(4, 5, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(x)
            return self.two(torch.relu(y)) * y.softmax(dim=2).amax(dim=(1, 2), keepdim=True)

    done = rewritten(randomised(Model(), kind), torch.randn(2, 3, 12, dtype=kind), as_images)
    assert done.places == ["one", "two"]


def test_a_chain_that_pads_in_another_way_stays(kind: torch.dtype) -> None:
    one, two = nn.Conv1d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Conv1d(4, 5, 3, padding="same")
    model = randomised(nn.Sequential(one, nn.ReLU(), two), kind)
    assert rewritten(model, torch.randn(2, 3, 12, dtype=kind), as_images).places == []
