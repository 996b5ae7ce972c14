"""Average pooling with PyTorch's divisor, on the axes PyTorch pools."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exporters.coreml.pads import PadError

POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def assert_close(conversion, function, x):
    results = conversion(x)
    expected = function(x)
    assert len(results) == len(expected)
    for result, reference in zip(results, expected, strict=True):
        assert result.shape == tuple(reference.shape)
        np.testing.assert_allclose(result, reference.numpy(), rtol=1e-6, atol=1e-6)


def framewise(x):
    """The pooling of the frame head of PANN MobileNetV1: over time, three segments, the padding counted."""
    return (F.max_pool1d(x, 3, 1, 1) + F.avg_pool1d(x, 3, 1, 1),)


def test_the_frame_head_pads_time_and_counts_the_padding(convert, frontend):
    x = torch.randn(2, 5, 7) + 3  # far from zero, so that a wrong divisor or axis shows at the borders
    conversion = convert(framewise, x, frontend)
    (pool,) = [op for op in conversion.operations if op.op_type == "avg_pool"]
    assert pool.pad.val.tolist() == [1, 1]
    assert not pool.exclude_padding_from_average.val
    (decision,) = conversion.decisions
    assert (decision.mode, decision.amounts, decision.why) == ("average", ((0, 0), (0, 0), (1, 1)), "padding counted")
    assert_close(conversion, framewise, x)


def test_the_frame_head_at_a_flexible_length(convert, frontend):
    def function(x):
        # torch.export fixes the length that it pools with max_pool1d, so here it pools a row of an image.
        return (F.max_pool2d(x.unsqueeze(2), (1, 3), 1, (0, 1)).squeeze(2) + F.avg_pool1d(x, 3, 1, 1),)

    conversion = convert(function, torch.randn(1, 4, 7), frontend, flexible={2: (2, 30)})
    for segments in (2, 7, 30):
        x = torch.randn(1, 4, segments) + 3
        assert_close(conversion, function, x)
        np.testing.assert_array_equal(function(x)[0], framewise(x)[0])


def test_the_wrong_divisor_and_the_wrong_axis_are_visible(convert, frontend):
    """The two mistakes a converter makes here differ from the truth by far more than rounding."""
    x = torch.randn(2, 5, 7) + 3
    (result,) = convert(framewise, x, frontend)(x)
    maximum = F.max_pool1d(x, 3, 1, 1)
    uncounted = maximum + F.avg_pool1d(x, 3, 1, 1, count_include_pad=False)
    over_channels = maximum + F.avg_pool1d(x.transpose(1, 2), 3, 1, 1).transpose(1, 2)
    for wrong in (uncounted, over_channels):
        assert np.abs(result - wrong.numpy()).max() > 0.5


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_every_pooling_divides_like_pytorch(convert, frontend, axes):
    cases = [
        (kernel, stride, padding, ceil_mode, counted)
        for (kernel, stride, padding), ceil_mode, counted in product(
            [(3, 1, 1), (3, 2, 1), (2, 3, 1), (2, 4, 0), (4, 3, 0)], (False, True), (False, True)
        )
    ]

    def function(x):
        return tuple(POOLS[axes](x, *case) for case in cases)

    x = torch.randn(2, 3, *(8, 7, 6)[:axes]) + 3
    conversion = convert(function, x, frontend)
    assert not any(op.ceil_mode.val for op in conversion.operations if op.op_type == "avg_pool")
    assert_close(conversion, function, x)
    assert "pad + avg_pool" in {decision.handler for decision in conversion.decisions}


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 12), st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 3)), min_size=1))
def test_ceil_mode_at_any_size(convert, size, pools):
    pools = [(k, s, p) for k, s, p in pools if p <= k // 2 and k <= size + 2 * p]
    assume(pools)

    def function(x):
        both = [(pool, counted) for pool in pools for counted in (False, True)]
        return tuple(F.avg_pool1d(x, *pool, ceil_mode=True, count_include_pad=c) for pool, c in both)

    x = torch.randn(1, 2, size) + 3
    assert_close(convert(function, x, "traced"), function, x)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_tensors_without_a_batch_axis(convert, frontend, axes):
    def function(x):
        return (POOLS[axes](x, 3, 2, 1, ceil_mode=True),)

    x = torch.randn(3, *(8, 7, 6)[:axes]) + 3
    assert_close(convert(function, x, frontend), function, x)


def test_one_kernel_per_axis(convert, frontend):
    def function(x):
        return (F.avg_pool2d(x, (3, 2), (2, 1), (1, 0)), F.avg_pool2d(x, (1, 4)), F.avg_pool2d(x, 2))

    x = torch.randn(1, 2, 9, 8)
    conversion = convert(function, x, frontend)
    assert [decision.why for decision in conversion.decisions] == ["padding counted", "no padding", "no padding"]
    assert_close(conversion, function, x)


def test_ceil_mode_over_a_flexible_axis(convert):
    """Uncounted padding agrees with Core ML's own ceil mode at every size. Exporting does not allow it at all."""

    def function(x):
        return (
            F.avg_pool1d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
            F.avg_pool1d(x, 4, 3, 0, ceil_mode=True),
            F.avg_pool1d(x, 3, 1, 1, ceil_mode=True),
        )

    conversion = convert(function, torch.randn(1, 2, 9), "traced", flexible={2: (5, 30)})
    for size in (5, 6, 7, 8, 29):
        assert_close(conversion, function, torch.randn(1, 2, size) + 3)


@pytest.mark.parametrize(
    "pool", [(3, 2, 1, True, True), (2, 4, 0, True, True)], ids=["counted padding", "stride over kernel"]
)
def test_ceil_mode_that_core_ml_cannot_do_is_refused(convert, pool):
    with pytest.raises(PadError, match=r"ceil_mode over a flexible axis.*fix the size"):
        convert(lambda x: F.avg_pool1d(x, *pool), torch.randn(1, 2, 9), "traced", flexible={2: (5, 30)})


def test_a_divisor_of_ones_own_is_refused(convert, frontend):
    with pytest.raises(PadError, match="divisor_override"):
        convert(lambda x: F.avg_pool2d(x, 2, divisor_override=3), torch.randn(1, 2, 4, 4), frontend)
