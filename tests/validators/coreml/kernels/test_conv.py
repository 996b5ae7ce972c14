"""Convolutions against PyTorch; `same` against the arithmetic of TensorFlow; shapes for any arguments."""

import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
KERNELS = {1: (3,), 2: (2, 3), 3: (2, 1, 3)}
SIZES = {1: (11,), 2: (8, 9), 3: (5, 6, 7)}
STRIDES = {1: (2,), 2: (2, 1), 3: (1, 2, 3)}


def draw(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def same_pads(size, kernel, stride):
    """(smaller, larger) share of the padding by which ceil(size / stride) windows fit."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def pad_last_first(pads):
    return [amount for pair in reversed(pads) for amount in pair]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("pad_type", ["valid", "same", "same_lower", "symmetric", "lopsided"])
@pytest.mark.parametrize(("groups", "dilated", "biased"), [(1, False, False), (2, False, True), (1, True, True)])
def test_conv(run_op, rng, rank, pad_type, groups, dilated, biased):
    x, weight = draw(rng, 2, 4, *SIZES[rank]), draw(rng, 6, 4 // groups, *KERNELS[rank])
    bias = draw(rng, 6) if biased else None
    dilations = (2,) * rank if dilated else (1,) * rank
    effective = [(k - 1) * d + 1 for k, d in zip(KERNELS[rank], dilations, strict=True)]
    pads = {
        "valid": [(0, 0)] * rank,
        "same": [same_pads(*axis) for axis in zip(SIZES[rank], effective, STRIDES[rank], strict=True)],
        "symmetric": [(1, 1), (0, 0), (2, 2)][:rank],
        "lopsided": [(1, 2), (0, 1), (3, 0)][:rank],
    }
    pads["same_lower"] = [pair[::-1] for pair in pads["same"]]
    options = (
        {"pad_type": pad_type}
        if pad_type in ("valid", "same", "same_lower")
        else {
            "pad_type": "custom",
            "pad": np.array(pads[pad_type], np.int32).ravel(),
        }
    )
    result = run_op(
        "conv",
        {"x": x},
        "iOS16",
        weight=weight,
        strides=STRIDES[rank],
        dilations=dilations,
        groups=groups,
        **({"bias": bias} if biased else {}),
        **options,
    )
    padded = F.pad(torch.from_numpy(x), pad_last_first(pads[pad_type]))
    expected = CONV[rank](
        padded,
        torch.from_numpy(weight),
        None if bias is None else torch.from_numpy(bias),
        STRIDES[rank],
        dilation=dilations,
        groups=groups,
    )
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_pad_counts_for_custom_only(run_op, rng):
    x, weight = draw(rng, 1, 2, 9), draw(rng, 3, 2, 3)
    padless = run_op("conv", {"x": x}, weight=weight, pad_type="valid")
    np.testing.assert_array_equal(run_op("conv", {"x": x}, weight=weight, pad_type="valid", pad=[2, 2]), padless)


def test_dynamic_weight(run_op, rng):
    x, weight = draw(rng, 1, 2, 5, 5), draw(rng, 3, 2, 3, 3)
    expected = F.conv2d(torch.from_numpy(x), torch.from_numpy(weight))
    np.testing.assert_allclose(run_op("conv", {"x": x, "weight": weight}), expected, rtol=1e-4, atol=1e-5)


def test_float16_is_rounded_once(run_op, rng):
    x, weight = draw(rng, 1, 64, 20).astype(np.float16), draw(rng, 8, 64, 3).astype(np.float16)
    exact = F.conv1d(torch.from_numpy(x).double(), torch.from_numpy(weight).double()).numpy()
    result = run_op("conv", {"x": x}, weight=weight)
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, exact, rtol=2**-11 * 1.01, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 3)),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["valid", "same", "same_lower", "custom"]),
)
def test_conv_has_the_declared_shape(run_op, axes, pad_type):
    sizes, kernels, strides, dilations, befores = (list(column) for column in zip(*axes, strict=True))
    effective = [(k - 1) * d + 1 for k, d in zip(kernels, dilations, strict=True)]
    padding = [3 + before if pad_type == "custom" else 0 for before in befores]
    if pad_type in ("valid", "custom"):
        assume(all(s + p >= k for s, p, k in zip(sizes, padding, effective, strict=True)))
    pad = [amount for before in befores for amount in (before, 3)]
    x = np.ones((1, 1, *sizes), np.float32)
    weight = np.ones((1, 1, *kernels), np.float32)
    result = run_op(
        "conv", {"x": x}, "iOS17", weight=weight, strides=strides, dilations=dilations, pad_type=pad_type, pad=pad
    )  # run_op compares with the inferred type
    if pad_type.startswith("same"):
        assert result.shape[2:] == tuple(-(-size // stride) for size, stride in zip(sizes, strides, strict=True))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("groups", "dilation"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("pads", [None, [(1, 1), (0, 0), (2, 2)], [(1, 0), (0, 2), (1, 2)]])
def test_conv_transpose(run_op, rng, rank, groups, dilation, pads):
    x, weight, bias = draw(rng, 2, 4, *SIZES[rank]), draw(rng, 4, 6 // groups, *KERNELS[rank]), draw(rng, 6)
    options = {"pad_type": "valid"}
    if pads is not None:
        options = {"pad_type": "custom", "pad": np.array(pads[:rank], np.int32).ravel()}
    result = run_op(
        "conv_transpose",
        {"x": x},
        weight=weight,
        bias=bias,
        strides=STRIDES[rank],
        dilations=(dilation,) * rank,
        groups=groups,
        **options,
    )
    whole = TRANSPOSE[rank](*map(torch.from_numpy, (x, weight, bias)), STRIDES[rank], dilation=dilation, groups=groups)
    window = F.pad(whole, [-amount for amount in pad_last_first(pads[:rank])]) if pads else whole
    np.testing.assert_allclose(result, window, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (2, 4), (3, 2), (2, 5)])
def test_conv_transpose_same_is_the_gradient_of_conv_same(run_op, rng, stride, kernel):
    x, weight = draw(rng, 1, 2, 5), draw(rng, 2, 3, kernel)
    result = run_op("conv_transpose", {"x": x}, weight=weight, strides=[stride], pad_type="same")
    source = torch.zeros(1, 3, 5 * stride, requires_grad=True)
    padded = F.pad(source, same_pads(5 * stride, kernel, stride))
    F.conv1d(padded, torch.from_numpy(weight), stride=stride).backward(torch.from_numpy(x))
    np.testing.assert_allclose(result, source.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("padding", "extra", "stride"), [(1, 1, 2), (0, 1, 2), (2, 2, 3), (1, 0, 2)])
def test_conv_transpose_output_shape_is_output_padding(run_op, rng, padding, extra, stride):
    x, weight, bias = draw(rng, 1, 2, 6), draw(rng, 2, 3, 4), draw(rng, 3)
    expected = F.conv_transpose1d(
        *map(torch.from_numpy, (x, weight, bias)), stride=stride, padding=padding, output_padding=extra
    )
    result = run_op(
        "conv_transpose",
        {"x": x},
        weight=weight,
        bias=bias,
        strides=[stride],
        pad_type="custom",
        pad=[padding, padding],
        output_shape=np.array(expected.shape, np.int32),
    )
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_conv_transpose_beyond_the_product_is_bias(run_op, rng):
    x, weight, bias = draw(rng, 1, 1, 2), draw(rng, 1, 1, 1), np.array([7.0], np.float32)
    result = run_op("conv_transpose", {"x": x}, weight=weight, bias=bias, strides=[4], pad_type="same")
    assert result.shape == (1, 1, 8)
    np.testing.assert_array_equal(result[0, 0, [1, 2, 3, 5, 6, 7]], 7.0)
    np.testing.assert_allclose(result[0, 0, [0, 4]], x[0, 0] * weight[0, 0] + 7)


def test_conv_quantized(run_op, rng):
    x = draw(rng, 1, 2, 6)
    weight = rng.integers(0, 256, (3, 2, 3)).astype(np.uint8)
    scale, offset = np.array([0.1, 0.2, 0.3], np.float32), np.array([-1.0, 0.0, 2.0], np.float32)
    result = run_op(
        "conv_quantized",
        {"x": x},
        weight=weight,
        quantization_type="linear",
        quant_scale=scale,
        quant_bias=offset,
    )
    real = weight * scale.reshape(3, 1, 1) + offset.reshape(3, 1, 1)
    np.testing.assert_allclose(result, F.conv1d(torch.from_numpy(x), torch.from_numpy(real)), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_fourier_transform_as_convolution_is_as_fast_as_pytorch(rng):
    from validators.coreml.registry import lookup

    x, weight = torch.from_numpy(draw(rng, 1, 1, 320_000)), torch.from_numpy(draw(rng, 513, 1, 1024))
    kernel = lookup("conv", "iOS15")
    one, none = torch.tensor([1]), torch.tensor([0, 0])
    arguments = {"strides": torch.tensor([320]), "pad": none, "dilations": one, "groups": torch.tensor(1)}

    def best(function):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    with torch.inference_mode():
        ours = best(lambda: kernel.run(x=x, weight=weight, pad_type="valid", **arguments))
        eager = best(lambda: F.conv1d(x, weight, stride=320))
    assert ours < 1.5 * eager
