"""Reflections are computed at the edges alone, for every kernel, stride and length; where that is no gain they stay."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from exporters.lowering import edges
from exporters.lowering.edges import recompute_edges
from exporters.lowering.images import as_images
from tests.exporters.lowering.rewritten import Rewritten, randomised, rewritten, same


def images(graph: GraphModule) -> Iterator[str]:
    """`as_images`, whose places are no matter here."""
    list(as_images(graph))
    yield from ()


def cut(model: nn.Module, x: Tensor, *others: Tensor) -> Rewritten:
    return rewritten(model, x, images, recompute_edges, others=others)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains of a few thousand numbers, so that tests are quick."""
    monkeypatch.setattr(edges, "_LEAST", 100)


def reflections(done: Rewritten) -> list[int]:
    """The lengths that are reflected."""
    return [node.meta["shape"][3] for node in done.graph.graph.nodes if edges.reflection(node) is not None]


class Residual(nn.Module):
    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad1d(kernel // 2 * dilation)
        self.conv = nn.Conv1d(channels, channels, kernel, dilation=dilation, groups=channels)
        self.shortcut = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + F.leaky_relu(self.conv(self.pad(x)), 0.2)


def strided(channels: int, kernel: int, stride: int, pad: int) -> list[nn.Module]:
    return [nn.ReflectionPad1d(pad), nn.Conv1d(channels, 2 * channels, kernel, stride), nn.ReLU()]


CASES = {
    "one": [*strided(2, 3, 1, 1), nn.Conv1d(4, 2, 1)],
    "even kernels": [*strided(2, 4, 2, 2), *strided(4, 6, 3, 1)],
    "strides": [*strided(1, 5, 4, 3), *strided(2, 7, 3, 5), *strided(4, 3, 1, 0)],
    "more reflected than read": [*strided(2, 2, 1, 5), *strided(4, 3, 2, 4)],
    "residuals": [*strided(2, 3, 2, 1), Residual(4, 5, 3), Residual(4, 3, 1), *strided(4, 5, 2, 2)],
    "zeros too": [nn.Conv1d(1, 3, 5, padding=4), *strided(3, 3, 2, 1), nn.Conv1d(6, 2, 4, 2, padding=1)],
    "less than every place is read": [*strided(2, 1, 3, 1), nn.Conv1d(4, 4, 2, dilation=3)],
}


@pytest.mark.parametrize("length", [2400, 2401, 2413, 2519])
@pytest.mark.parametrize("case", CASES)
def test_every_length_and_stride(kind: torch.dtype, case: str, length: int) -> None:
    model = randomised(nn.Sequential(*CASES[case]), kind)
    channels = 1 if case in ("strides", "zeros too") else 2
    done = cut(model, torch.randn(2, channels, length, dtype=kind))
    assert done.places
    assert all(size < length / 8 for size in reflections(done))
    for batch in (1, 3):
        x = torch.randn(batch, channels, length, dtype=kind)
        same(done.graph(x), model(x))
    # One place alone, wherever it is: nothing may hide behind the greatest.
    x = torch.zeros(3, channels, length, dtype=kind)
    x[0, 0, 0] = x[1, 0, length // 2] = x[2, 0, -1] = 1
    same(done.graph(x), model(x))


def test_where_there_is_room_the_whole_is_cut_into_more_rows(kind: torch.dtype) -> None:
    model = randomised(nn.Sequential(*CASES["residuals"]), kind)
    rows = []
    for length in (3000, 9000):
        place, *_ = cut(model, torch.randn(1, 2, length, dtype=kind)).places
        rows.append(int(place.split()[-2]))
    assert 2 <= rows[0] < rows[1]


def test_a_chain_ends_where_too_much_would_be_computed_twice(kind: torch.dtype) -> None:
    layers = [*strided(2, 3, 4, 1), *strided(4, 3, 4, 1), Residual(8, 15, 3)]
    done = cut(randomised(nn.Sequential(*layers), kind), torch.randn(2, 2, 1600, dtype=kind))
    assert [place.split(": ")[0] for place in done.places] == ["0 to 5"]
    assert reflections(done)[-1] == 100 + 2 * 21


def test_nothing_is_taken_out_where_little_is_reflected(kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges, "_LEAST", 2 * 602 + 1)
    model = randomised(nn.Sequential(*CASES["one"]), kind)
    assert cut(model, torch.randn(1, 2, 600, dtype=kind)).places == []


def test_an_input_of_any_length_keeps_its_reflections(kind: torch.dtype) -> None:
    model = randomised(nn.Sequential(*CASES["residuals"]), kind)
    assert cut(model, torch.randn(2, 2, 2400, dtype=kind)).places
    assert cut(model, *(torch.randn(2, 2, length, dtype=kind) for length in (2400, 2600))).places == []


@pytest.mark.parametrize("what", ["read by others", "one side more", "over the other axis", "all places", "an average"])
def test_what_is_no_chain_keeps_its_reflections(kind: torch.dtype, what: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(2, 3, (1, 3)), nn.Conv2d(3, 3, (1, 3))
            self.high = nn.Conv2d(2, 3, (3, 3), padding=(1, 0))

        def forward(self, x: Tensor) -> Tensor:
            if what == "read by others":
                padded = F.pad(x, (1, 1, 0, 0), mode="reflect")
                return self.one(padded) + padded[:, :1, :, 1:-1]
            if what == "one side more":
                return self.one(F.pad(x, (2, 1, 0, 0), mode="reflect"))
            if what == "over the other axis":
                return self.high(F.pad(x, (1, 1, 0, 0), mode="reflect"))
            if what == "all places":
                return self.two(F.pad(self.one(x), (1, 1, 0, 0), mode="reflect").softmax(dim=3))
            return self.one(F.avg_pool2d(F.pad(x, (2, 2, 0, 0), mode="reflect"), (1, 3)))

    model = randomised(Model(), kind)
    assert cut(model, torch.randn(2, 2, 1, 600, dtype=kind)).places == []


def test_a_sum_with_a_single_place_ends_a_chain(kind: torch.dtype) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.all = nn.Conv2d(2, 3, (1, 3)), nn.Conv2d(3, 3, (1, 600))

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(F.pad(x, (1, 1, 0, 0), mode="reflect"))
            return y + self.all(y)

    done = cut(randomised(Model(), kind), torch.randn(2, 2, 1, 600, dtype=kind))
    assert [place.split(": ")[0] for place in done.places] == ["pad to one"]


def test_a_kernel_changed_by_a_thousandth_is_told(kind: torch.dtype) -> None:
    """The comparison of all other tests sees it."""
    model = randomised(nn.Sequential(*CASES["residuals"]), kind)
    x = torch.randn(2, 2, 2400, dtype=kind)
    done, expected = cut(model, x), model(x)
    next(iter(done.graph.parameters()))[0] *= 1.001
    with pytest.raises(AssertionError):
        same(done.graph(x), expected)
