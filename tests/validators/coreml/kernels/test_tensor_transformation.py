"""Transformations against NumPy, PyTorch and coremltools' value inference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32]
DTYPES = [np.float32, np.float16, np.int32, np.bool_]


def count(*shape, dtype=np.float32):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("axes", [[0], [-1], [0, 2], [1, -1], [2, 0, -2]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_expand_dims(infer_op, axes, dtype):
    result, expected = infer_op("expand_dims", x=count(2, 3, dtype=dtype), axes=axes)
    assert result.shape == expected.shape
    np.testing.assert_array_equal(result, expected)


def test_expand_dims_of_a_scalar(infer_op):
    result, _ = infer_op("expand_dims", x=np.float32(3.0), axes=[0])
    np.testing.assert_array_equal(result, [3.0])


@pytest.mark.parametrize(
    ("axes", "shape"), [(None, (2, 3)), ([0], (2, 1, 3, 1)), ([-1, 2], (1, 2, 3)), ([1, 0], (2, 1, 3, 1))]
)
def test_squeeze_leaves_other_sizes(run_op, axes, shape):
    x = count(1, 2, 1, 3, 1)
    assert run_op("squeeze", {"x": x}, **({} if axes is None else {"axes": axes})).shape == shape


@pytest.mark.parametrize("perm", [[0, 1, 2], [2, 0, 1], [-1, -3, -2]])
def test_transpose(infer_op, perm):
    result, expected = infer_op("transpose", x=count(2, 3, 4), perm=perm)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("opset", ["iOS15", "iOS17"])
@pytest.mark.parametrize("shape", [[6, 4], [-1], [0, -1, 2], [2, 0, 0], [4, 3, 2], [1, 2, -1, 1]])
def test_reshape(infer_op, shape, opset):
    result, expected = infer_op("reshape", opset, x=count(2, 3, 4), shape=shape)
    assert result.shape == expected.shape
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("sizes", "shape", "expected"),
    [((2, 50), [1, 0, -1, 0], (1, 1, 2, 50)), ((2, 3, 4), [-1, 0], (6, 4)), ((6,), [0, 2, 3], (1, 2, 3))],
)
def test_reshape_aligns_zeros_to_the_right_from_ios17_on(run_op, sizes, shape, expected):
    assert run_op("reshape", {"x": count(*sizes)}, "iOS17", shape=shape).shape == expected


def test_reshape_refuses_a_zero_in_another_rank_before_ios17(run_op):
    with pytest.raises(ValueError, match="has a 0"):
        run_op("reshape", {"x": count(2, 3), "shape": np.array([0, 3, 1], np.int32)})


def test_reshape_to_a_shape_known_at_run_time(run_op):
    x = count(2, 3, 4)
    result = run_op("reshape", {"x": x, "shape": np.array([4, -1], np.int32)})
    np.testing.assert_array_equal(result, x.reshape(4, 6))


@pytest.mark.parametrize("opset", ["iOS16", "iOS17"])
def test_reshape_like(run_op, opset):
    x = count(6, 10)
    references = (np.zeros((2, 3, 4), np.float32), np.zeros((1, 5, 2), np.float32))
    result = run_op(
        "reshape_like", {"x": x}, opset, ref_tensors=references, begins=(0, 1), ends=(2, 0), end_masks=(False, True)
    )
    np.testing.assert_array_equal(result, x.reshape(2, 3, 5, 2))


@pytest.mark.parametrize("axes", [None, [0], [-1, 1], [0, 1, 2]])
def test_reverse(infer_op, axes):
    result, expected = infer_op("reverse", x=count(2, 3, 4), **({} if axes is None else {"axes": axes}))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("seq_axis", "batch_axis"), [(1, 0), (0, 1), (2, 0), (-1, -2)])
def test_reverse_sequence(run_op, rng, seq_axis, batch_axis):
    x = count(4, 3, 5)
    lengths = rng.integers(0, x.shape[seq_axis] + 1, x.shape[batch_axis]).astype(np.int32)
    expected = x.copy()
    for place, length in enumerate(lengths):
        moved = np.moveaxis(expected, (batch_axis, seq_axis), (0, 1))  # a view
        moved[place, :length] = moved[place, :length][::-1].copy()
    result = run_op("reverse_sequence", {"x": x}, lengths=lengths, seq_axis=seq_axis, batch_axis=batch_axis)
    np.testing.assert_array_equal(result, expected)


def index_arguments(picks):
    names = ("begin", "end", "stride", "begin_mask", "end_mask", "squeeze_mask")
    return dict(zip(names, (np.array(column) for column in zip(*picks, strict=True)), strict=True))


def numpy_index(picks):
    return tuple(
        (begin if not begin_mask else 0 if stride > 0 else -1)
        if squeeze
        else slice(None if begin_mask else begin, None if end_mask else end, stride)
        for begin, end, stride, begin_mask, end_mask, squeeze in picks
    )


@st.composite
def axis_slices(draw):
    """An axis size and (begin, end, stride, masks) for it: what NumPy and coremltools read in the same way."""
    size = draw(st.integers(2, 6))
    begin, end = draw(st.integers(-size, size - 1)), draw(st.integers(-size, size))
    stride = draw(st.sampled_from([1, 2, 3, -1, -2]))
    begin_mask, end_mask, squeeze = (draw(st.integers(0, 3)) == 0 for _ in range(3))
    return size, (begin, end, stride, begin_mask, end_mask, squeeze)


@settings(max_examples=150, deadline=None)
@given(st.lists(axis_slices(), min_size=1, max_size=4))
def test_slice_by_index_is_numpy_slicing(run_op, axes):
    sizes, picks = zip(*axes, strict=True)
    x = count(*sizes)
    expected = x[numpy_index(picks)]
    assume(expected.size > 0 and expected.ndim > 0)
    np.testing.assert_array_equal(run_op("slice_by_index", {"x": x}, **index_arguments(picks)), expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(axis_slices(), min_size=1, max_size=3))
def test_slice_update_writes_where_slice_by_index_reads(run_op, axes):
    sizes, picks = zip(*axes, strict=True)
    x = count(*sizes)
    assume(x[numpy_index(picks)].size > 0 and x[numpy_index(picks)].ndim > 0)
    window = run_op("slice_by_index", {"x": x}, "iOS18", **index_arguments(picks))
    update = -1 - count(*window.shape)
    result = run_op("slice_update", {"x": x, "update": update}, "iOS18", **index_arguments(picks))
    np.testing.assert_array_equal(run_op("slice_by_index", {"x": result}, "iOS18", **index_arguments(picks)), update)
    assert (result >= 0).sum() == x.size - update.size  # nothing else has changed
    np.testing.assert_array_equal(result[result >= 0], x[result >= 0])


def test_slice_by_index_with_bounds_known_at_run_time(run_op):
    x = count(3, 4)
    bounds = {"begin": np.array([1, 0], np.int32), "end": np.array([3, 2], np.int32)}
    np.testing.assert_array_equal(run_op("slice_by_index", {"x": x, **bounds}), x[1:3, 0:2])


def test_a_negative_end_does_not_reach_before_the_start(run_op):
    x = count(4)
    bounds = {"begin": [-1], "end": [-9], "stride": [-1]}
    np.testing.assert_array_equal(run_op("slice_by_index", {"x": x}, **bounds), [3, 2, 1])
    np.testing.assert_array_equal(run_op("slice_by_index", {"x": x}, **bounds, end_mask=[True]), [3, 2, 1, 0])


def test_an_axis_of_one_comes_out_whole(run_op):
    np.testing.assert_array_equal(run_op("slice_by_index", {"x": count(1, 3)}, begin=[-1, 0], end=[0, 2]), [[0, 1]])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_slices_of_narrow_integers(infer_op, dtype):
    result, expected = infer_op(
        "slice_by_index", "iOS17", x=count(3, 4, dtype=dtype), begin=[0, 1], end=[3, 4], stride=[2, 1]
    )
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("begin", "size"), [([0, 1], [2, 3]), ([1, 0], [-1, 2]), ([-2, -3], [1, 2])])
def test_slice_by_size(infer_op, begin, size):
    result, expected = infer_op("slice_by_size", x=count(3, 4), begin=np.array(begin), size=np.array(size))
    np.testing.assert_array_equal(result, expected)


def test_slice_by_size_from_a_place_known_at_run_time(run_op):
    x = count(3, 4)
    result = run_op("slice_by_size", {"x": x, "begin": np.array([1, 2], np.int32)}, size=[2, 1])
    np.testing.assert_array_equal(result, x[1:3, 2:3])


@pytest.mark.parametrize(("axis", "size", "stride"), [(0, 2, 1), (1, 3, 2), (-1, 2, 2), (-2, 4, 1)])
def test_sliding_windows(run_op, axis, size, stride):
    x = count(4, 5, 6)
    expected = np.lib.stride_tricks.sliding_window_view(x, size, axis % 3)
    expected = np.moveaxis(expected, -1, axis % 3 + 1).take(range(0, x.shape[axis] - size + 1, stride), axis % 3)
    np.testing.assert_array_equal(run_op("sliding_windows", {"x": x}, axis=axis, size=size, stride=stride), expected)


def test_depth_to_space_puts_the_block_first(run_op):
    x = count(2, 8, 2, 3)
    result = run_op("depth_to_space", {"x": x}, block_size=2)
    for row in range(2):
        for column in range(2):
            np.testing.assert_array_equal(result[:, :, row::2, column::2], x[:, 2 * (2 * row + column) :][:, :2])
    np.testing.assert_array_equal(run_op("space_to_depth", {"x": result}, block_size=2), x)


def test_pixel_shuffle(run_op):
    x = count(2, 18, 2, 3)
    expected = F.pixel_shuffle(torch.from_numpy(x), 3).numpy()
    np.testing.assert_array_equal(run_op("pixel_shuffle", {"x": x}, upscale_factor=3), expected)
    back = run_op("pixel_unshuffle", {"x": expected}, "iOS16", downscale_factor=np.uint32(3))
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("paddings", [[[0, 0], [0, 0]], [[1, 1], [0, 3]], [[2, 0], [1, 2]]])
def test_space_to_batch(run_op, paddings):
    x = count(2, 3, 4, 3) + 1
    block = (2, 3)
    result = run_op("space_to_batch", {"x": x}, block_shape=block, paddings=np.array(paddings))
    padded = np.pad(x, [(0, 0), (0, 0), *paddings])
    for row in range(2):
        for column in range(3):
            batch = 2 * (3 * row + column)
            np.testing.assert_array_equal(result[batch : batch + 2], padded[:, :, row::2, column::3])
    back = run_op("batch_to_space", {"x": result}, block_shape=block, crops=np.array(paddings))
    np.testing.assert_array_equal(back, x)
