"""Where one index is read, the others are not computed; what needs all of them has all."""

from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exporters.lowering.graph import shape
from exporters.lowering.positions import drop_positions
from tests.exporters.lowering.rewritten import Rewritten, randomised, rewritten, same


class Encoder(nn.Module):
    """A layer of a transformer of nine places, before or after its norms, in the spellings that there are."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first
        self.project, self.out = nn.Linear(12, 36), nn.Linear(12, 12)
        self.up, self.down = nn.Linear(12, 20), nn.Linear(20, 12)
        self.norm1, self.norm2 = nn.LayerNorm(12), nn.LayerNorm(12)

    def attention(self, x: Tensor) -> Tensor:
        heads = self.project(x).reshape(-1, 9, 9, 4).transpose(1, 2)
        query, key, value = heads[:, :3], heads[:, 3:6], heads[:, 6:]
        weights = torch.softmax(query / sqrt(4) @ key.transpose(-1, -2), dim=-1)
        return self.out((weights @ value).permute(0, 2, 1, 3).reshape((-1, 9, 12)))

    def mlp(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.mlp(x))


class Read(nn.Module):
    def __init__(self, index: int, *layers: nn.Module) -> None:
        super().__init__()
        self.index, self.layers, self.fc = index, nn.Sequential(*layers), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layers(x)[:, self.index])


def counts(done: Rewritten) -> dict[str, int]:
    """How many places each linear layer gives."""
    found = [node for node in done.graph.graph.nodes if node.op == "call_module"]
    return {str(node.target): shape(node)[1] for node in found if len(shape(node)) == 3}


@pytest.mark.parametrize("index", [0, 4, 8])
@pytest.mark.parametrize("first", [True, False])
def test_the_last_layer_computes_one_place(kind: torch.dtype, first: bool, index: int) -> None:
    model = randomised(Read(index, Encoder(first), Encoder(first), nn.LayerNorm(12)), kind)
    done = rewritten(model, torch.randn(2, 9, 12, dtype=kind), drop_positions)
    assert len(done.places) == 1
    assert done.places[0].endswith("layers.2: 1 of 9")
    whole = {name for name, count in counts(done).items() if count == 9}
    last = {"layers.1.project", "layers.1.norm1"} if first else {"layers.1.project"}
    assert whole == {name for name in counts(done) if name.startswith("layers.0")} | last
    for batch in (1, 4):
        x = torch.randn(batch, 9, 12, dtype=kind)
        same(done.graph(x), model(x))


def test_a_constant_that_differs_from_place_to_place_is_narrowed_too(kind: torch.dtype) -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.where, self.gain = nn.Parameter(torch.randn(9, 12)), nn.Parameter(torch.randn(12))
            self.norm = nn.LayerNorm(12)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x * self.gain + self.where)

    model = randomised(Read(3, Embedded()), kind)
    assert rewritten(model, torch.randn(2, 9, 12, dtype=kind), drop_positions).places == [
        "layers.0.norm to layers.0.norm: 1 of 9"
    ]


def test_two_readers_of_different_places_need_both(kind: torch.dtype) -> None:
    class Two(Read):
        def forward(self, x: Tensor) -> Tensor:
            x = self.layers(x)
            return self.fc(x[:, 0]) + self.fc(x[:, 1])

    assert (
        rewritten(randomised(Two(0, nn.LayerNorm(12)), kind), torch.randn(2, 9, 12, dtype=kind), drop_positions).places
        == []
    )


@pytest.mark.parametrize(
    "what", ["a norm over places", "softmax over places", "values", "a convolution", "a reshape across", "a slice"]
)
def test_what_needs_all_places_has_all(kind: torch.dtype, what: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.conv = nn.LayerNorm((9, 12)), nn.Conv1d(9, 9, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            if what == "a norm over places":
                x = self.norm(x)
            elif what == "softmax over places":
                x = F.softmax(x, dim=1)
            elif what == "values":
                x = x[:, :, :9] @ x
            elif what == "a convolution":
                x = self.conv(x)
            elif what == "a reshape across":
                x = x.reshape(-1, 12, 9)
            else:
                return F.relu(x)[:, 0:2]
            return x[:, 0]

    assert rewritten(randomised(Model(), kind), torch.randn(2, 9, 12, dtype=kind), drop_positions).places == []
