"""The normal form gives the same and has one spelling of each thing."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.exporters.lowering.rewritten import randomised, rewritten


def test_what_depends_on_constants_alone_is_one(kind: torch.dtype) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(1, 2, 6 * 9))

        def forward(self, x: Tensor) -> Tensor:
            kernels = self.weight.reshape(2, 6, 1, 3, 3)
            return F.conv2d(x, kernels[0], padding=1, groups=6) * F.conv2d(x, kernels[1], None, 1, 1, 1, 6)

    done = rewritten(randomised(Mixed(), kind), torch.randn(2, 6, 5, 7, dtype=kind))
    assert [type(layer) for layer in done.layers()] == [nn.Conv2d, nn.Conv2d]
    # The weights that nothing reads any more are gone.
    assert {tuple(tensor.shape) for tensor in done.graph.state_dict().values()} == {(6, 1, 3, 3)}


def test_a_constant_is_not_spread_out(kind: torch.dtype) -> None:
    class Spread(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.randn(1, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.gain.expand(1000, 3)

    done = rewritten(randomised(Spread(), kind), torch.randn(1000, 3, dtype=kind))
    assert [tensor.numel() for tensor in done.graph.state_dict().values()] == [3]


def test_functions_become_layers_and_layers_that_do_nothing_go(kind: torch.dtype) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel, self.bias = nn.Parameter(torch.randn(4, 3, 5)), nn.Parameter(torch.randn(4))
            self.nothing, self.dropout = nn.Identity(), nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.dropout(F.conv1d(self.nothing(x), self.kernel, self.bias, stride=2, padding=3))
            return F.avg_pool1d(x, 3, padding=1, count_include_pad=False)

    done = rewritten(randomised(Model(), kind), torch.randn(2, 3, 17, dtype=kind))
    assert [type(layer) for layer in done.layers()] == [nn.Conv1d, nn.AvgPool1d]
    assert all(node.op != "call_function" for node in done.graph.graph.nodes)


def test_a_kernel_that_is_computed_stays_a_function(kind: torch.dtype) -> None:
    class Dynamic(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.conv1d(x, x[:1, :, :3])

    assert rewritten(Dynamic(), torch.randn(2, 3, 17, dtype=kind)).layers() == []


def test_every_spelling_of_an_order_of_axes_is_a_permutation(kind: torch.dtype) -> None:
    class Axes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.transpose(-1, 0).permute(1, -1, 0).permute((2, 0, 1)).permute(dims=(0, 2, 1))
            x = torch.transpose(x, dim0=0, dim1=-2).unsqueeze(-1).unsqueeze(dim=1)
            return torch.unsqueeze(x[:, None, :, None], 0)[None, :, :]

    done = rewritten(Axes(), torch.randn(2, 3, 5, dtype=kind))
    functions = {node.target for node in done.graph.graph.nodes if node.op == "call_function"}
    assert functions == {torch.permute, torch.unsqueeze}
    assert all(node.op != "call_method" for node in done.graph.graph.nodes)


def test_a_slice_is_no_new_axis(kind: torch.dtype) -> None:
    class Sliced(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, None, 1:] + x[:, None, -1:]

    rewritten(Sliced(), torch.randn(2, 3, 5, dtype=kind))


def test_a_maximum_of_neighbours_is_a_layer_too(kind: torch.dtype) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.max_pool2d(x, 2) + F.max_pool1d(x.flatten(2), 3, stride=1, padding=1, dilation=1).mean()

    done = rewritten(Model(), torch.randn(2, 3, 8, 9, dtype=kind))
    assert [type(layer) for layer in done.layers()] == [nn.MaxPool2d, nn.MaxPool1d]


def test_a_divisor_that_is_given_by_its_place_is_kept(kind: torch.dtype) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.avg_pool2d(x, 2, 2, 0, False, True, 3)

    (pool,) = rewritten(Model(), torch.randn(2, 3, 8, 9, dtype=kind)).layers()
    assert isinstance(pool, nn.AvgPool2d)
    assert pool.divisor_override == 3
