"""Compressed weights: what the executor reads back from the saved file, against the arithmetic written in NumPy."""

import coremltools as ct
import coremltools.optimize as cto
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

from validators.coreml import CoreMLModel

ONES = np.ones((4, 8), np.float32)
RNG = np.random.default_rng(3)


def uint(bits):
    return types.nptype_from_builtin(types.string_to_builtin(f"uint{bits}"))


def test_affine_dequantize(execute):
    data = RNG.integers(0, 255, (4, 8), dtype=np.uint8)
    scale, point = RNG.uniform(0.1, 1, 4).astype(np.float32), RNG.integers(0, 255, 4, dtype=np.uint8)

    def build(x):
        weight = mb.constexpr_affine_dequantize(quantized_data=data, zero_point=point, scale=scale, axis=0)
        return mb.mul(x=x, y=weight)

    expected = (data.astype(np.float32) - point[:, None]) * scale[:, None]
    np.testing.assert_allclose(execute(build, {"x": ONES}, opset="iOS16"), expected, rtol=1e-6)


def test_cast(execute):
    half = RNG.standard_normal((4, 8)).astype(np.float16)
    result = execute(
        lambda x: mb.mul(x=x, y=mb.constexpr_cast(source_val=half, output_dtype="fp32")), {"x": ONES}, opset="iOS16"
    )
    np.testing.assert_array_equal(result, half.astype(np.float32))


def test_lut_to_dense_of_ios16(execute):
    palette, indices = np.array([-2, -1, 3, 5], np.float32), RNG.integers(0, 4, 32, dtype=np.uint8)
    packed = np.packbits((indices[:, None] >> [0, 1] & 1).astype(np.uint8).ravel(), bitorder="little")

    def build(x):
        weight = mb.constexpr_lut_to_dense(indices=packed, lut=palette, shape=np.array([4, 8], np.uint32))
        return mb.mul(x=x, y=weight)

    np.testing.assert_array_equal(execute(build, {"x": ONES}, opset="iOS16"), palette[indices].reshape(4, 8))


def test_sparse_to_dense_of_ios16(execute):
    dense = RNG.standard_normal((4, 8)).astype(np.float32) * (RNG.random((4, 8)) > 0.5)
    mask = np.packbits((dense != 0).ravel(), bitorder="little")

    def build(x):
        weight = mb.constexpr_sparse_to_dense(
            nonzero_data=dense[dense != 0], mask=mask, shape=np.array([4, 8], np.uint32)
        )
        return mb.mul(x=x, y=weight)

    np.testing.assert_array_equal(execute(build, {"x": ONES}, opset="iOS16"), dense)


@pytest.mark.parametrize("offset", [True, False])
def test_blockwise_shift_scale(execute, offset):
    data = RNG.integers(0, 15, (4, 8)).astype(uint(4))
    scale = RNG.uniform(0.1, 1, (2, 4)).astype(np.float32)
    shift = RNG.integers(0, 15, (2, 4)).astype(uint(4))

    def build(x):
        extra = {"offset": shift} if offset else {}
        return mb.mul(x=x, y=mb.constexpr_blockwise_shift_scale(data=data, scale=scale, **extra))

    spread = [np.kron(part.astype(np.float32), np.ones((2, 2), np.float32)) for part in (scale, shift)]
    expected = (data.astype(np.float32) - (spread[1] if offset else 0)) * spread[0]
    np.testing.assert_allclose(execute(build, {"x": ONES}, opset="iOS18"), expected, rtol=1e-6)


def test_a_palette_of_quantized_values(execute):
    """Joint compression of iOS 18: the palette itself is an int8 constant with a scale."""
    steps = np.array([-4, -1, 2, 7], np.int8).reshape(1, 1, 4, 1)
    indices = RNG.integers(0, 4, (4, 8)).astype(uint(2))

    def build(x):
        lut = mb.constexpr_blockwise_shift_scale(data=steps, scale=np.float32([[[[0.5]]]]))
        return mb.mul(x=x, y=mb.constexpr_lut_to_dense(indices=indices, lut=lut))

    expected = steps.ravel().astype(np.float32)[indices.astype(int)] * 0.5
    np.testing.assert_array_equal(execute(build, {"x": ONES}, opset="iOS18"), expected)


def test_a_vector_palette(execute):
    vectors = RNG.standard_normal((1, 1, 4, 2)).astype(np.float32)
    indices = RNG.integers(0, 4, (2, 8)).astype(uint(2))

    def build(x):
        return mb.mul(x=x, y=mb.constexpr_lut_to_dense(indices=indices, lut=vectors, vector_axis=0))

    expected = np.empty((4, 8), np.float32)
    for row in range(2):
        for column in range(8):
            expected[2 * row : 2 * row + 2, column] = vectors[0, 0, int(indices[row, column])]
    np.testing.assert_array_equal(execute(build, {"x": ONES}, opset="iOS18"), expected)


def test_sparse_palette_indices(execute):
    mask = (RNG.random((4, 8)) > 0.5).astype(uint(1))
    values = np.array([-2, -1, 3, 5], np.float32)
    indices = RNG.integers(0, 4, int(mask.astype(int).sum())).astype(uint(2))

    def build(x):
        kept, data = mb.constexpr_lut_to_sparse(
            indices_mask=mask, indices_nonzero_data=indices, lut=values.reshape(1, 1, 4, 1)
        )
        return mb.mul(x=x, y=mb.constexpr_sparse_to_dense(nonzero_data=data, mask=kept))

    expected = np.zeros((4, 8), np.float32)
    expected[mask.astype(bool)] = values[indices.astype(int)]
    np.testing.assert_array_equal(execute(build, {"x": ONES}, opset="iOS18"), expected)


def test_sparse_quantized_values(execute):
    mask = (RNG.random((4, 8)) > 0.5).astype(uint(1))
    steps = RNG.integers(-9, 9, int(mask.astype(int).sum())).astype(np.int8)

    def build(x):
        kept, data = mb.constexpr_sparse_blockwise_shift_scale(
            data_mask=mask, nonzero_data=steps, scale=np.float32([[0.25]])
        )
        return mb.mul(x=x, y=mb.constexpr_sparse_to_dense(nonzero_data=data, mask=kept))

    expected = np.zeros((4, 8), np.float32)
    expected[mask.astype(bool)] = steps * 0.25
    np.testing.assert_array_equal(execute(build, {"x": ONES}, opset="iOS18"), expected)


LINEAR = cto.coreml.OpLinearQuantizerConfig(weight_threshold=0)
PRUNED = cto.coreml.OpMagnitudePrunerConfig(target_sparsity=0.6, weight_threshold=0)
SCHEMES = {
    "linear int8": lambda model: cto.coreml.linear_quantize_weights(model, cto.coreml.OptimizationConfig(LINEAR)),
    "pruning": lambda model: cto.coreml.prune_weights(model, cto.coreml.OptimizationConfig(PRUNED)),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("opset", ["iOS16", "iOS18"])
def test_models_compressed_by_coremltools_decompress_alike(scheme, opset):
    """The compressed model and the one that coremltools decompresses again give the same answers."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(128, 10))
    x = torch.randn(1, 3, 6, 6)
    model = ct.convert(
        torch.jit.trace(net.eval(), x),
        inputs=[ct.TensorType(name="x", shape=x.shape)],
        minimum_deployment_target=ct.target[opset],
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    compressed = SCHEMES[scheme](model)
    assert any("constexpr" in op for op in _ops(compressed))
    plain = cto.coreml.decompress_weights(compressed)
    (packed,), (unpacked,) = (CoreMLModel(each).predict({"x": x.numpy()}).values() for each in (compressed, plain))
    np.testing.assert_allclose(packed, unpacked, atol=1e-5)


def _ops(model):
    function = model.get_spec().mlProgram.functions["main"]
    return {op.type for op in function.block_specializations[function.opset].operations}
