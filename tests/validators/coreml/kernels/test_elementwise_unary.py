"""Elementwise unary ops against NumPy, SciPy and coremltools' value inference."""

import numpy as np
import pytest
import scipy.special

UNIT = np.linspace(-0.95, 0.95, 12, dtype=np.float32).reshape(3, 4)
WIDE = np.linspace(-6.5, 6.5, 14, dtype=np.float32)
POSITIVE = np.geomspace(1e-3, 1e3, 12, dtype=np.float32)

FUNCTIONS = [
    ("abs", WIDE, np.abs),
    ("acos", UNIT, np.arccos),
    ("asin", UNIT, np.arcsin),
    ("atan", WIDE, np.arctan),
    ("atanh", UNIT, np.arctanh),
    ("ceil", WIDE, np.ceil),
    ("cos", WIDE, np.cos),
    ("cosh", WIDE, np.cosh),
    ("erf", WIDE, scipy.special.erf),
    ("exp", WIDE, np.exp),
    ("exp2", WIDE, np.exp2),
    ("floor", WIDE, np.floor),
    ("round", np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.49], np.float32), np.round),
    ("sign", np.array([-2.0, -0.0, 0.0, 3.0, np.inf, np.nan], np.float32), np.sign),
    ("sin", WIDE, np.sin),
    ("sinh", WIDE, np.sinh),
    ("sqrt", POSITIVE, np.sqrt),
    ("square", WIDE, np.square),
    ("tan", UNIT, np.tan),
    ("tanh", WIDE, np.tanh),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("name", "x", "function"), FUNCTIONS, ids=[case[0] for case in FUNCTIONS])
def test_function(run_op, name, x, function, dtype):
    x = x.astype(dtype)
    result = run_op(name, {"x": x})
    assert result.dtype == dtype
    expected = function(x.astype(np.float64))
    np.testing.assert_allclose(result, expected, rtol=5e-6 if dtype == np.float32 else 1e-3, atol=1e-7)


@pytest.mark.parametrize("name", ["abs", "sign", "square", "exp2"])
def test_integers_stay_integers(infer_op, name):
    result, expected = infer_op(name, x=np.array([-7, -1, 0, 1, 5], np.int32))
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, expected.astype(np.int32))


@pytest.mark.parametrize("name", ["sqrt", "tanh", "round", "cos"])
def test_scalars(infer_op, name):
    result, expected = infer_op(name, x=np.float32(2.5))
    assert result.shape == ()
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("opset", ["iOS15", "iOS17"])
@pytest.mark.parametrize("epsilon", [None, 0.5])
@pytest.mark.parametrize(
    ("name", "function", "default"),
    [
        ("inverse", lambda x, e: 1 / (x + e), 1e-4),
        ("log", lambda x, e: np.log(x + e), 1e-45),
        ("rsqrt", lambda x, e: 1 / np.sqrt(x + e), 1e-12),
    ],
)
def test_epsilon_is_added_first(run_op, name, function, default, epsilon, opset):
    options = {} if epsilon is None else {"epsilon": np.float32(epsilon)}
    x = np.append(POSITIVE, np.float32(1e-6))
    expected = function(x.astype(np.float64), default if epsilon is None else epsilon)
    np.testing.assert_allclose(run_op(name, {"x": x}, opset, **options), expected, rtol=1e-6)


def test_epsilons_vanish_in_float16(run_op):
    zero = np.zeros(1, np.float16)
    assert run_op("log", {"x": zero}) == -np.inf
    assert run_op("rsqrt", {"x": zero}) == np.inf
    assert run_op("inverse", {"x": zero}) == np.float16(1 / np.float64(np.float16(1e-4)))


def test_logical_not(run_op):
    np.testing.assert_array_equal(run_op("logical_not", {"x": np.array([True, False])}), [False, True])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_clip_and_threshold(infer_op, dtype):
    x = np.append(WIDE, [np.inf, -np.inf]).astype(dtype)
    for name, options in (("clip", {"alpha": dtype(-1.1), "beta": dtype(2.3)}), ("threshold", {"alpha": dtype(0.7)})):
        result, expected = infer_op(name, x=x, **options)
        np.testing.assert_array_equal(result, expected)
    result, expected = infer_op("threshold", x=np.array([-3, 4], np.int32), alpha=np.int32(1))
    np.testing.assert_array_equal(result, expected)


SMALL = np.array([-3.99, -1.5, -0.5, 0.0, 0.5, 1.5, 100.7], np.float32)
TARGETS = [("int32", np.int32), ("fp16", np.float16), ("fp32", np.float32), ("bool", np.bool_)]
NARROW = [("int8", np.int8), ("int16", np.int16), ("uint8", np.uint8), ("uint16", np.uint16)]


@pytest.mark.parametrize("source", [np.float32, np.float16, np.int32, np.bool_])
@pytest.mark.parametrize(("name", "target"), TARGETS)
def test_cast(infer_op, source, name, target):
    result, expected = infer_op("cast", x=SMALL.astype(source), dtype=name)
    assert result.dtype == target
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("source", [np.float32, np.int32, np.int8, np.uint16])
@pytest.mark.parametrize(("name", "target"), [*TARGETS, *NARROW])
def test_cast_knows_narrow_integers_from_ios17_on(infer_op, source, name, target):
    result, expected = infer_op("cast", "iOS17", x=np.array([0, 1, 5, 127], source), dtype=name)
    assert result.dtype == target
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("name", "target"), [("int32", np.int32), *NARROW])
def test_floats_out_of_range_saturate(run_op, name, target):
    limits = np.iinfo(target)
    result = run_op("cast", {"x": np.array([1e20, -1e20, np.inf, -np.inf, np.nan], np.float32)}, "iOS17", dtype=name)
    np.testing.assert_array_equal(result, np.array([limits.max, limits.min, limits.max, limits.min, 0], target))


def test_integers_out_of_range_wrap(run_op):
    result = run_op("cast", {"x": np.array([300, -1, 256], np.int32)}, "iOS17", dtype="uint8")
    np.testing.assert_array_equal(result, np.array([300, -1, 256]).astype(np.uint8))


def test_cast_to_float16_overflows_to_infinity(run_op):
    result = run_op("cast", {"x": np.array([65504.0, 65520.0, 1e-8], np.float32)}, dtype="fp16")
    np.testing.assert_array_equal(result, np.array([65504.0, np.inf, 0.0], np.float16))
