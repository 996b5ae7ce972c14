"""Permutations are carried through what treats axes alike, and only where less is moved in the end."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exporters.lowering.axes import carry_axes
from tests.exporters.lowering.rewritten import Rewritten, randomised, rewritten


def permutations(done: Rewritten) -> int:
    return sum(node.target is torch.permute for node in done.graph.graph.nodes)


class Turned(nn.Module):
    """(batch, mel, time) -> (batch, channels, time): a network of (batch, 1, time, mel), averaged over mel."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.transpose(1, 2)[:, None]).mean(dim=3)


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(1, 3, (3, 5), (2, 1), (0, 2)),),
        (
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 8, (1, 3), groups=4, dilation=(1, 2)),
        ),
        (nn.Conv2d(1, 4, 3), nn.AvgPool2d((2, 3)), nn.Hardswish(), nn.MaxPool2d((3, 2), padding=1)),
        (nn.ConstantPad2d(0, 0.0), nn.Conv2d(1, 3, 3)),
    ],
    ids=["convolution", "norm and groups", "pools", "a layer that is not known"],
)
def test_a_network_of_time_and_mel_is_turned_over(kind: torch.dtype, layers: tuple[nn.Module, ...]) -> None:
    done = rewritten(randomised(Turned(*layers), kind), torch.randn(2, 13, 17, dtype=kind), carry_axes)
    known = not isinstance(layers[0], nn.ConstantPad2d)
    assert permutations(done) == (0 if known else 1)
    turned = [f"layers.{place}" for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    assert done.places == (turned if known else [])


def test_a_norm_of_the_mel_bands_and_the_way_there_and_back(kind: torch.dtype) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mel = nn.Parameter(torch.randn(21, 8))
            self.norm, self.conv = nn.BatchNorm2d(8), nn.Conv2d(1, 3, (3, 5), padding=(1, 2))

        def forward(self, power: Tensor) -> Tensor:
            melspec = 10 * torch.log10(torch.clamp(power.abs().transpose(1, 2) @ self.mel.abs(), min=1e-3))
            x = self.norm(melspec[:, None].transpose(1, 3)).transpose(1, 3)
            return self.conv(x).sum(3) + (melspec / 2).sum(dim=2, keepdim=True).transpose(1, 2)

    done = rewritten(randomised(Model(), kind), torch.randn(2, 21, 15, dtype=kind), carry_axes)
    assert done.places == ["conv"]
    # It puts the norm's last axis, of size 1, in front of the mel bands: nothing moves.
    assert permutations(done) == 1


def test_branches_in_the_same_order_stay_in_it(kind: torch.dtype) -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, (1, 5), padding=(0, 2))

        def forward(self, x: Tensor) -> Tensor:
            x = x.permute(0, 1, 3, 2)
            return F.relu(x + self.conv(x)).permute((0, 1, -1, 2))

    done = rewritten(randomised(Residual(), kind), torch.randn(2, 3, 7, 9, dtype=kind), carry_axes)
    assert done.places == ["conv"]
    assert permutations(done) == 0


@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize("dims", [(1,), (2, 3), (-1,), (0, 2)], ids=str)
def test_a_reduction_counts_its_axes_anew(kind: torch.dtype, dims: tuple[int, ...], keepdim: bool) -> None:
    class Reduced(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.permute(0, 3, 1, 2).mean(dim=dims, keepdim=keepdim)

    rewritten(Reduced(), torch.randn(2, 3, 5, 7, dtype=kind), carry_axes)


def test_a_size_is_read_before_the_axes_are_moved(kind: torch.dtype) -> None:
    class Sized(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.permute(0, 3, 1, 2)
            return x.amax(dim=(1, 2, 3)) * (100 * x.shape[1] + 10 * x.shape[2] + x.shape[-1])

    done = rewritten(Sized(), torch.randn(2, 3, 5, 7, dtype=kind), carry_axes)
    assert permutations(done) == 0


def test_nothing_is_carried_where_that_moves_more(kind: torch.dtype) -> None:
    class Grown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.transpose(2, 3))

    done = rewritten(randomised(Grown(), kind), torch.randn(2, 1, 9, 8, dtype=kind), carry_axes)
    assert done.places == []
    assert permutations(done) == 1


@pytest.mark.parametrize("what", ["other orders", "a constant with axes", "norm of a moved axis", "reflection"])
def test_what_an_order_cannot_pass_keeps_its_order(kind: torch.dtype, what: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.constant = nn.Parameter(torch.randn(5, 1))
            self.norm = nn.BatchNorm2d(5)
            self.conv = nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect")

        def forward(self, x: Tensor) -> Tensor:
            if what == "other orders":
                x = x.permute(0, 1, 3, 2) + x.permute(0, 3, 1, 2)
            elif what == "a constant with axes":
                x = x.permute(0, 1, 3, 2) * self.constant
            elif what == "norm of a moved axis":
                x = self.norm(x.permute(0, 3, 2, 1))
            else:
                x = self.conv(x.permute(0, 1, 3, 2))
            return x.amax(dim=3)

    sizes = (2, 5, 5, 5) if what == "other orders" else (2, 3, 3, 5)
    assert rewritten(randomised(Model(), kind), torch.randn(sizes, dtype=kind), carry_axes).places == []


def test_linear_layers_become_convolutions_where_channels_come_first(kind: torch.dtype) -> None:
    """Fewer numbers are moved behind them."""

    class Head(nn.Module):
        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(12, 12), nn.Linear(12, outputs, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.second(torch.relu(self.first(x.transpose(1, 2))))
            return found.sigmoid() + self.second(self.first(x.amax(dim=2)))[:, None]

    x = torch.randn(2, 12, 17, dtype=kind)
    done = rewritten(randomised(Head(5), kind), x, carry_axes)
    assert done.places == ["first_2", "second_2"]
    # Where they are called on one place alone, too, so that no weights are there twice.
    assert [type(layer) for layer in done.layers()] == [nn.Conv1d] * 4
    assert sum(weight.ndim > 1 for weight in done.graph.parameters()) == 2
    assert rewritten(randomised(Head(31), kind), x, carry_axes).places == []


def test_sizes_that_vary_are_known_behind_what_was_carried(kind: torch.dtype) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv1d(3, 8, 3), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.linear(self.conv(x).transpose(1, 2))).transpose(1, 2)

    model = randomised(Model(), kind)
    done = rewritten(model, torch.randn(2, 3, 17, dtype=kind), carry_axes, others=(torch.randn(2, 3, 40, dtype=kind),))
    assert done.places == ["linear"]


@pytest.mark.parametrize("what", ["negative", "all", "longer than one", "two new axes", "a named operand", "no axes"])
def test_what_is_spelled_otherwise_gives_the_same(kind: torch.dtype, what: str) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            turned = x.permute(0, 2, 1)
            if what == "negative":
                return torch.squeeze(turned[:, :, None].sum(3, keepdim=True), -1)
            if what == "all":
                return torch.squeeze(turned)
            if what == "longer than one":
                return torch.squeeze(turned, 1)
            if what == "two new axes":
                return turned[:, None, None]
            if what == "a named operand":
                return torch.matmul(turned, other=x)
            return turned.mean(dim=())

    rewritten(Model(), torch.randn(2, 5, 7, dtype=kind), carry_axes)
