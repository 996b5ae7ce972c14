"""Pools against windows cut by NumPy, and against PyTorch where both define the same thing."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

SIZES = {1: (9,), 2: (8, 7), 3: (6, 5, 7)}


def reference(x, kernels, strides, pads, counts, reduce):
    """`reduce(elements inside x, window size)` for each window of each channel; windows start at -before."""
    result = np.zeros((*x.shape[:2], *counts))
    for place in itertools.product(*map(range, counts)):
        starts = [at * stride - before for at, stride, (before, _) in zip(place, strides, pads, strict=True)]
        window = x[
            (
                slice(None),
                slice(None),
                *(slice(max(0, start), start + size) for start, size in zip(starts, kernels, strict=True)),
            )
        ]
        result[(slice(None), slice(None), *place)] = reduce(window.reshape(*x.shape[:2], -1), int(np.prod(kernels)))
    return result


REDUCTIONS = {
    "max_pool": (lambda window, size: window.max(-1), {}),
    "l2_pool": (lambda window, size: np.sqrt(np.square(window).sum(-1)), {}),
    "avg_pool": (lambda window, size: window.sum(-1) / size, {"exclude_padding_from_average": False}),
    "avg_pool excluding": (lambda window, size: window.mean(-1), {"exclude_padding_from_average": True}),
}


def pads_of(pad_type, sizes, kernels, strides, pad):
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        return list(zip(pad[::2], pad[1::2], strict=True))
    totals = [
        max(0, (-(-size // stride) - 1) * stride + kernel - size)
        for size, kernel, stride in zip(sizes, kernels, strides, strict=True)
    ]
    pairs = [(total // 2, total - total // 2) for total in totals]
    return pairs if pad_type == "same" else [pair[::-1] for pair in pairs]


@pytest.mark.parametrize(
    ("name", "rank"), [(name, rank) for name in REDUCTIONS for rank in (1, 2, 3) if (name, rank) != ("l2_pool", 3)]
)
@pytest.mark.parametrize("pad_type", ["valid", "same", "same_lower", "custom"])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 1, (0, 1)), (3, 2, (1, 1)), (3, 1, (2, 2)), (4, 3, (1, 0))])
def test_pool(run_op, rng, name, rank, pad_type, kernel, stride, pad):
    x = rng.normal(size=(2, 3, *SIZES[rank])).astype(np.float32)
    kernels, strides, pad = [kernel] * rank, [stride] * rank, list(pad) * rank
    reduce, options = REDUCTIONS[name]
    result = run_op(
        name.split()[0],
        {"x": x},
        "iOS16",
        kernel_sizes=kernels,
        strides=strides,
        pad_type=pad_type,
        **({"pad": pad} if pad_type == "custom" else {}),
        **options,
    )
    pads = pads_of(pad_type, SIZES[rank], kernels, strides, pad)
    counts = [(size + sum(pair) - kernel) // stride + 1 for size, pair in zip(SIZES[rank], pads, strict=True)]
    np.testing.assert_allclose(result, reference(x, kernels, strides, pads, counts, reduce), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize(("size", "kernel", "stride", "pad"), [(7, 2, 2, 0), (8, 3, 2, 1), (6, 4, 3, 2), (9, 3, 4, 0)])
def test_ceil_mode(run_op, rng, name, size, kernel, stride, pad):
    x = rng.normal(size=(1, 2, size)).astype(np.float32)
    reduce, options = REDUCTIONS[name]
    result = run_op(
        name.split()[0],
        {"x": x},
        kernel_sizes=[kernel],
        strides=[stride],
        pad_type="custom",
        pad=[pad, pad],
        ceil_mode=True,
        **options,
    )
    count = F.max_pool1d(torch.from_numpy(x), kernel, stride, pad, ceil_mode=True).shape[-1]
    expected = reference(x, [kernel], [stride], [(pad, pad)], [count], reduce)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_the_hanging_window_counts_whole(run_op):
    x = np.ones((1, 1, 5), np.float32)
    options = {"kernel_sizes": [2], "strides": [2], "pad_type": "valid", "ceil_mode": True}
    np.testing.assert_allclose(run_op("avg_pool", {"x": x}, **options), [[[1.0, 1.0, 0.5]]])
    torch_counts_less = F.avg_pool1d(torch.from_numpy(x), 2, 2, ceil_mode=True)
    np.testing.assert_allclose(torch_counts_less, [[[1.0, 1.0, 1.0]]])


def test_max_pool_never_picks_padding(run_op):
    x = np.full((1, 1, 4, 4), -5.0, np.float32)
    result = run_op("max_pool", {"x": x}, kernel_sizes=[2, 2], pad_type="custom", pad=[2, 1, 0, 1])
    assert set(result[0, 0, 1:].ravel()) == {-5.0}
    assert result[0, 0, 0, 0] == -np.inf  # a window of padding alone


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=2
    ),
    st.sampled_from(["valid", "same", "same_lower", "custom"]),
    st.booleans(),
    st.sampled_from(["max_pool", "avg_pool", "l2_pool"]),
)
def test_pool_has_the_declared_shape(run_op, axes, pad_type, ceil_mode, name):
    sizes, kernels, strides, pads = (list(column) for column in zip(*axes, strict=True))
    ceil_mode = ceil_mode and pad_type in ("valid", "custom")
    if pad_type in ("valid", "custom"):
        amounts = pads if pad_type == "custom" else [0] * len(pads)
        assume(all(s + 2 * p >= k for s, p, k in zip(sizes, amounts, kernels, strict=True)))
    run_op(
        name,
        {"x": np.ones((1, 1, *sizes), np.float32)},
        "iOS16",
        kernel_sizes=kernels,
        strides=strides,
        pad_type=pad_type,
        pad=[amount for before in pads for amount in (before, before)],
        ceil_mode=ceil_mode,
    )  # run_op compares with the inferred type


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_float16(run_op, rng, name):
    x = rng.normal(size=(1, 4, 9, 9)).astype(np.float16)
    result = run_op(name, {"x": x}, kernel_sizes=[3, 3], strides=[2, 2], pad_type="valid")
    function = F.max_pool2d if name == "max_pool" else F.avg_pool2d
    np.testing.assert_array_equal(result, function(torch.from_numpy(x).float(), 3, 2).half())
