"""Tensor operations against NumPy, PyTorch and coremltools' value inference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from validators.coreml.registry import lookup

DTYPES = [np.float32, np.float16, np.int32, np.bool_]


def draw(rng, *shape, dtype=np.float32):
    return (rng.normal(size=shape) * 5).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("lower", "upper"), [(-1, -1), (0, -1), (-1, 0), (0, 0), (1, 2), (2, 0)])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (2, 5, 3)])
def test_band_part(infer_op, rng, shape, lower, upper, dtype):
    result, expected = infer_op("band_part", x=draw(rng, *shape, dtype=dtype), lower=lower, upper=upper)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_cumsum(run_op, rng, axis, exclusive, reverse, dtype):
    x = rng.integers(-9, 10, (3, 4)).astype(dtype)
    ahead = np.flip(x, axis) if reverse else x
    sums = np.cumsum(ahead, axis) - (ahead if exclusive else 0)
    expected = np.flip(sums, axis) if reverse else sums
    result = run_op("cumsum", {"x": x}, axis=axis, exclusive=exclusive, reverse=reverse)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("value", [None, np.float16(1.5), np.float32(-2.0), np.int32(7), np.bool_(True)])
def test_fill(run_op, value):
    options = {} if value is None else {"value": value}
    result = run_op("fill", {"shape": np.array([2, 1, 3], np.int32)}, **options)
    np.testing.assert_array_equal(result, np.full((2, 1, 3), 0.0 if value is None else value))
    result = run_op("fill_like", {"ref_tensor": np.zeros((2, 3), np.int32)}, "iOS16", **options)
    np.testing.assert_array_equal(result, np.full((2, 3), 0.0 if value is None else value))


@pytest.mark.parametrize(
    ("start", "end", "step"), [(0, 5, 1), (1, 10, 3), (5, -4, -2), (0.0, 1.0, 0.1), (0.0, 0.6, 0.2), (2.5, 2.6, 1.0)]
)
def test_range_1d(infer_op, start, end, step):
    dtype = np.int32 if isinstance(start, int) else np.float32
    result, expected = infer_op("range_1d", start=dtype(start), end=dtype(end), step=dtype(step))
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [-1, 0, 1, -3])
def test_one_hot(run_op, axis, dtype):
    indices = np.array([[0, 3, 1], [2, 5, -1]], np.int32)
    on, off = dtype(1), dtype(0)
    result = run_op("one_hot", {"indices": indices}, one_hot_vector_size=4, axis=axis, on_value=on, off_value=off)
    assert result.dtype == dtype
    hot = (indices[..., None] == np.arange(4)).astype(dtype)
    np.testing.assert_array_equal(result, np.moveaxis(hot, -1, axis))


@pytest.mark.parametrize("dtype", DTYPES)
def test_non_zero(infer_op, rng, dtype):
    result, expected = infer_op("non_zero", x=rng.integers(0, 2, (3, 4, 2)).astype(dtype))
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, expected)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(2, 5), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5),
    st.integers(0, 3),
    st.sampled_from(["constant", "reflect", "replicate"]),
)
def test_pad_is_numpy_pad(infer_op, axes, whole, mode):
    sizes = [size for size, _, _ in axes]
    limits = [size - 1 if mode == "reflect" else size if mode == "replicate" else 4 for size in sizes]
    pairs = [(min(before, limit), min(after, limit)) for (_, before, after), limit in zip(axes, limits, strict=True)][
        min(whole, len(axes) - 1) :
    ]  # the first dimensions stay whole
    x = np.arange(np.prod(sizes), dtype=np.float32).reshape(sizes)
    result, expected = infer_op("pad", x=x, pad=np.array(pairs).ravel(), mode=mode, constant_val=np.float32(-1.5))
    assert result.shape == expected.shape
    np.testing.assert_array_equal(result, expected)


def test_pad_pairs_go_first_dimension_first(run_op):
    x = np.ones((2, 3), np.float32)
    expected = F.pad(torch.from_numpy(x), (3, 4, 1, 2))
    np.testing.assert_array_equal(run_op("pad", {"x": x}, pad=[1, 2, 3, 4]), expected)


def test_pad_amounts_known_at_run_time(run_op):
    x = np.ones((2, 3), np.float32)
    result = run_op("pad", {"x": x, "pad": np.array([0, 1, 2, 0], np.int32)})
    np.testing.assert_array_equal(result, np.pad(x, [(0, 1), (2, 0)]))


def test_reflect_refuses_more_than_there_is(run_op):
    with pytest.raises(ValueError, match="reflect takes at most 2"):
        run_op("pad", {"x": np.ones((1, 3), np.float32)}, pad=[0, 3], mode="reflect")


@pytest.mark.parametrize("dtype", DTYPES)
def test_tile(infer_op, rng, dtype):
    result, expected = infer_op("tile", x=draw(rng, 2, 3, dtype=dtype), reps=[3, 2])
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_joins(infer_op, rng, axis, dtype):
    values = tuple(draw(rng, 2, 3, 4, dtype=dtype) for _ in range(3))
    for name in ("concat", "stack"):
        result, expected = infer_op(name, values=values, axis=axis)
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_interleaves(rng, axis):
    values = tuple(torch.from_numpy(draw(rng, 2, 3, 4)) for _ in range(3))
    result = lookup("concat", "iOS15").run(values=values, axis=torch.tensor(axis), interleave=torch.tensor(True))
    for place, value in enumerate(values):
        every_third = np.take(result.numpy(), range(place, result.shape[axis], 3), axis)
        np.testing.assert_array_equal(every_third, value)


def test_joins_of_scalars(infer_op):
    for name in ("concat", "stack"):
        result, expected = infer_op(name, values=(np.int32(3), np.int32(5)), axis=0)
        np.testing.assert_array_equal(result, expected)


def test_identity_and_shape(run_op, rng):
    x = draw(rng, 2, 3)
    np.testing.assert_array_equal(run_op("identity", {"x": x}), x)
    np.testing.assert_array_equal(run_op("shape", {"x": x}), [2, 3])


@pytest.mark.parametrize(("axis", "expected"), [(1, (2, 12)), (0, (1, 24)), (-1, (6, 4)), (3, (24, 1)), (-3, (1, 24))])
def test_flatten2d(run_op, rng, axis, expected):
    x = draw(rng, 2, 3, 4)
    np.testing.assert_array_equal(run_op("flatten2d", {"x": x}, axis=axis), x.reshape(expected))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("ascending", [True, False])
def test_argsort_keeps_the_order_of_equals(run_op, rng, axis, ascending):
    x = rng.integers(0, 3, (6, 7)).astype(np.float32)
    expected = np.argsort(x if ascending else -x, axis=axis, kind="stable")
    result = run_op("argsort", {"x": x}, axis=axis, ascending=ascending)
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("opset", ["iOS15", "iOS16", "iOS17"])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
def test_topk(run_op, rng, axis, ascending, opset, dtype):
    x = rng.integers(-5, 5, (4, 5)).astype(dtype)
    places = np.argsort(x if ascending else -x, axis=axis, kind="stable").take(range(3), axis)
    values, indices = run_op("topk", {"x": x}, opset, k=3, axis=axis, ascending=ascending)
    assert values.dtype == dtype
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_array_equal(values, np.take_along_axis(x, places, axis))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
def test_topk_of_narrow_integers(run_op, dtype):
    x = np.array([[3, 1, 2], [0, 9, 9]], dtype)
    values, indices = run_op("topk", {"x": x}, "iOS17", k=np.int8(2), output_indices_dtype="uint16")
    assert (values.dtype, indices.dtype) == (dtype, np.uint16)
    np.testing.assert_array_equal(values, [[3, 2], [9, 9]])
    np.testing.assert_array_equal(indices, [[0, 2], [1, 2]])


def test_topk_without_indices(run_op):
    result = run_op("topk", {"x": np.array([1.0, 3.0, 2.0], np.float32)}, "iOS16", k=2, return_indices=False)
    np.testing.assert_array_equal(result, [3.0, 2.0])


def test_split(run_op, rng):
    x = draw(rng, 6, 4)
    for results, expected in (
        (run_op("split", {"x": x}, num_splits=3, axis=0), np.split(x, 3)),
        (run_op("split", {"x": x}, split_sizes=[1, 3], axis=-1), np.split(x, [1], axis=-1)),
        (run_op("split", {"x": x}, num_splits=2, split_sizes=[4, 2], axis=0), np.split(x, [4])),
    ):
        for result, part in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, part)


def boxes_and_scores(rng, count, classes):
    centers, extents = rng.uniform(0, 50, (1, count, 2)), rng.uniform(5, 40, (1, count, 2))
    boxes = np.concatenate([centers, extents], -1).astype(np.float32)
    return boxes, rng.permutation(count * classes).reshape(1, count, classes).astype(np.float32)


def greedy(boxes, scores, threshold, floor, limit, per_class):
    """Non-maximum suppression in plain Python."""
    order = sorted(range(len(boxes)), key=lambda place: -scores[place].max())
    kept = []
    for place in (place for place in order if scores[place].max() > floor):
        for other in kept:
            low = np.maximum(boxes[place, :2] - boxes[place, 2:] / 2, boxes[other, :2] - boxes[other, 2:] / 2)
            high = np.minimum(boxes[place, :2] + boxes[place, 2:] / 2, boxes[other, :2] + boxes[other, 2:] / 2)
            shared = np.prod(np.maximum(high - low, 0))
            iou = shared / (np.prod(boxes[place, 2:]) + np.prod(boxes[other, 2:]) - shared)
            if iou > threshold and (not per_class or scores[place].argmax() == scores[other].argmax()):
                break
        else:
            kept.append(place)
    return (kept or order[:1])[:limit]


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("floor", [-1.0, 30.0, 1e6])
@pytest.mark.parametrize("limit", [1, 7, 40])
def test_non_maximum_suppression(run_op, rng, per_class, threshold, floor, limit):
    boxes, scores = boxes_and_scores(rng, 25, 3)
    kept = greedy(boxes[0], scores[0], threshold, floor, limit, per_class)
    common = {"iou_threshold": np.float32(threshold), "max_boxes": limit, "per_class_suppression": per_class}
    picked_boxes, picked_scores, places, number = run_op(
        "non_maximum_suppression", {"boxes": boxes, "scores": scores}, score_threshold=np.float32(floor), **common
    )
    assert number.tolist() == [len(kept)]
    assert places[0].tolist() == kept + [-1] * (limit - len(kept))
    np.testing.assert_array_equal(picked_boxes[0, : len(kept)], boxes[0, kept])
    np.testing.assert_array_equal(picked_scores[0, : len(kept)], scores[0, kept])
    assert not picked_boxes[0, len(kept) :].any()

    if floor < 0:
        turned = {"boxes": boxes.swapaxes(1, 2).copy(), "scores": scores.swapaxes(1, 2).copy()}
        new_boxes, new_scores, new_places = run_op("non_maximum_suppression", turned, "iOS17", **common)
        np.testing.assert_array_equal(new_places, places)
        np.testing.assert_array_equal(new_boxes.swapaxes(1, 2), picked_boxes)
        np.testing.assert_array_equal(new_scores.swapaxes(1, 2), picked_scores)
