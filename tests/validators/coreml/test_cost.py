"""Products by op type, against figures by hand and against PyTorch's own counter."""

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import get_new_symbol
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from validators.coreml import CoreMLModel
from validators.coreml.cost import macs
from validators.coreml.rules import programs
from validators.coreml.rules.sizes import shapes


def _array(*shape):
    return np.zeros(shape, np.float32)


def _count(model, inputs=None):
    (program,) = programs(model)
    return macs(program, inputs)


def test_each_op_by_hand(make_model):
    # Grouped, strided and padded: 3 x 4 places of 6 channels, each of 2 x 3 x 3 products.
    model = make_model(
        lambda x: mb.conv(x=x, weight=_array(6, 2, 3, 3), strides=[2, 2], pad_type="same", groups=2),
        {"x": _array(1, 4, 5, 7)},
    )
    assert _count(model).by_op == {"conv": 3 * 4 * 6 * 2 * 9}
    model = make_model(
        lambda x: mb.conv_transpose(x=x, weight=_array(4, 3, 5), strides=[2], groups=2), {"x": _array(1, 4, 7)}
    )
    assert _count(model).by_op == {"conv_transpose": 7 * 4 * 3 * 5}
    model = make_model(lambda x: mb.linear(x=x, weight=_array(5, 8)), {"x": _array(2, 3, 8)})
    assert _count(model).by_op == {"linear": 2 * 3 * 5 * 8}
    model = make_model(
        lambda x, y: mb.matmul(x=x, y=y, transpose_x=True, transpose_y=True),
        {"x": _array(3, 8, 2), "y": _array(1, 5, 8)},
    )
    assert _count(model).by_op == {"matmul": 3 * 2 * 5 * 8}
    model = make_model(
        lambda x, y: mb.einsum(values=[x, y], equation="nchw,nwhu->nchu"),
        {"x": _array(1, 2, 3, 4), "y": _array(1, 4, 3, 5)},
    )
    assert _count(model).by_op == {"einsum": 2 * 3 * 4 * 5}


@pytest.mark.parametrize(
    "span",
    [
        {"begin": [0, 1, 2], "end": [2, 3, -1]},
        {"begin": [0, 0, -4], "end": [0, 0, 0], "end_mask": [True, True, True]},
        {"begin": [0, 9, 6], "end": [0, 0, 1], "stride": [1, -2, -1], "begin_mask": [True, True, False],
         "end_mask": [True, True, False]},
        {"begin": [1, 0, 0], "end": [2, 5, 7], "squeeze_mask": [True, False, False], "stride": [1, 2, 3]},
    ],
)  # fmt: skip
def test_a_slice_of_a_free_length_has_the_size_that_the_executor_gives_it(make_model, span):
    free = mb.placeholder(shape=(2, 5, get_new_symbol()))
    model = make_model(
        lambda x: mb.slice_by_index(x=x, name="part", **span),
        {"x": free},
        inputs=[ct.TensorType("x", ct.Shape((2, 5, ct.RangeDim(7, 20, 7))))],
    )
    (program,) = programs(model)
    found = {value.name: shape for value, shape in shapes(program, {"x": (2, 5, 9)}).items()}
    assert found["part"] == CoreMLModel(model).predict({"x": _array(2, 5, 9)})["part"].shape


def test_types_are_summed_and_the_greatest_comes_first(make_model):
    def build(x):
        hidden = mb.linear(x=mb.linear(x=x, weight=_array(4, 8)), weight=_array(6, 4))
        return mb.matmul(x=_array(50, 1), y=hidden)

    found = _count(make_model(build, {"x": _array(1, 8)}))
    assert list(found.by_op.items()) == [("matmul", 300), ("linear", 56)]
    assert (found.total, found.unknown) == (356, ())


def test_what_sums_nothing_costs_nothing(make_model):
    found = _count(
        make_model(lambda x: mb.relu(x=mb.avg_pool(x=x, kernel_sizes=[2], pad_type="valid")), {"x": _array(1, 2, 6)})
    )
    assert (found.by_op, found.total, found.unknown) == ({}, 0, ())


def test_sizes_that_the_file_leaves_open_are_named_and_not_guessed(make_model):
    def build(x):
        places = mb.non_zero(x=x)
        return mb.matmul(x=mb.cast(x=places, dtype="fp32"), y=_array(2, 3), name="open")

    found = _count(make_model(build, {"x": _array(4, 5)}))
    assert (found.by_op, found.unknown) == ({}, ("open",))


def test_a_recurrent_layer_is_named_and_not_counted(make_model):
    def build(x):
        return mb.rnn(
            x=x, initial_h=_array(1, 2), weight_ih=_array(2, 3), weight_hh=_array(2, 2), output_sequence=True, name="r"
        )[0]

    assert len(_count(make_model(build, {"x": _array(5, 1, 3)})).unknown) == 1


class _Net(nn.Module):
    """Layers of every kind that is counted, behind a length that may be free, with a slice, a pad and a reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 6, 8, stride=4, bias=False)
        self.second = nn.Conv2d(1, 4, (3, 5), stride=(1, 2), padding=(1, 2))
        self.grouped = nn.Conv2d(4, 8, 3, padding=1, groups=4)
        self.last = nn.Linear(8, 5)
        self.register_buffer("mel", torch.rand(3, 6))

    def forward(self, x):
        bands = self.mel @ self.first(nn.functional.pad(x[:, 1:, None].transpose(1, 2), (4, 4), mode="reflect"))
        return self.last(self.grouped(self.second(bands[:, None])).mean(dim=(2, 3)))


@pytest.mark.parametrize("length", [64, 201])
def test_a_whole_network_costs_what_pytorch_counts(length):
    net = _Net().eval()
    traced = torch.jit.trace(net, torch.zeros(1, 64))
    model = ct.convert(
        traced,
        convert_to="mlprogram",
        inputs=[ct.TensorType("x", ct.Shape((1, ct.RangeDim(40, 400, 64))))],
        minimum_deployment_target=ct.target.iOS16,
        skip_model_load=True,
    )
    with FlopCounterMode(display=False) as counter:
        net.requires_grad_()(torch.zeros(1, length))
    found = _count(model, {"x": (1, length)})
    assert (found.total, found.unknown) == (counter.get_total_flops() // 2, ())
    if length == 64:
        assert _count(model) == found
