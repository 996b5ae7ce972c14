"""Gather and scatter against NumPy and coremltools' value inference."""

import numpy as np
import pytest

MODES = ["update", "add", "sub", "mul", "div", "max", "min"]
UFUNCS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def draw(rng, *shape, dtype=np.float32):
    return rng.integers(1, 9, shape).astype(dtype)


def merge(data, index, updates, mode):
    """Update by update, in order."""
    result = data.copy()
    index = np.broadcast_arrays(*index)
    for place in np.ndindex(index[0].shape):
        target = tuple(axis[place] for axis in index)
        if mode == "update":
            result[target] = updates[place]
        elif mode == "div":
            result[target] = result[target] / updates[place]
        else:
            result[target] = UFUNCS[mode](result[target], updates[place])
    return result


@pytest.mark.parametrize("opset", ["iOS15", "iOS16", "iOS17"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("indices", [[1, 0, 1], [[0, 1], [1, 1]], 1])
def test_gather(infer_op, rng, axis, indices, opset):
    result, expected = infer_op("gather", opset, x=draw(rng, 3, 2, 4), indices=np.array(indices, np.int32), axis=axis)
    assert result.shape == np.shape(expected)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("opset", ["iOS16", "iOS17"])
@pytest.mark.parametrize(("axis", "batch_dims"), [(1, 0), (1, 1), (2, 1), (2, 2), (3, 1), (3, 3)])
def test_gather_in_batches(infer_op, rng, axis, batch_dims, opset):
    x, indices = draw(rng, 2, 3, 4, 5), rng.integers(0, 3, (2, 3, 4, 2)[: max(batch_dims + 1, 2)]).astype(np.int32)
    result, expected = infer_op("gather", opset, x=x, indices=indices, axis=axis, batch_dims=batch_dims)
    assert result.shape == expected.shape
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("batch_dims", [0, 1, 2])
def test_gather_one_index_per_batch(infer_op, rng, batch_dims):
    x, indices = draw(rng, 2, 3, 4), rng.integers(0, 3, (2, 3)[:batch_dims]).astype(np.int32)
    result, expected = infer_op("gather", "iOS16", x=x, indices=indices, axis=2, batch_dims=batch_dims)
    np.testing.assert_array_equal(result, np.reshape(expected, result.shape))


@pytest.mark.parametrize("x_type", [np.int8, np.uint8, np.int16, np.uint16, np.float16])
@pytest.mark.parametrize("index_type", [np.int8, np.uint8, np.int16, np.uint16])
def test_gather_of_narrow_integers(run_op, rng, x_type, index_type):
    x, indices = draw(rng, 4, 3, dtype=x_type), np.array([3, 0], index_type)
    result = run_op("gather", {"x": x, "indices": indices}, "iOS17")
    assert result.dtype == x_type
    np.testing.assert_array_equal(result, x[[3, 0]])


@pytest.mark.parametrize("opset", ["iOS15", "iOS17"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_along_axis(infer_op, rng, axis, opset):
    x, indices = draw(rng, 3, 4, 5), rng.integers(0, 3, (3, 4, 5)).astype(np.int32)
    indices = indices.take([0, 2], axis)
    result, expected = infer_op("gather_along_axis", opset, x=x, indices=indices, axis=axis)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("opset", ["iOS15", "iOS16", "iOS17"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("lead", [(4,), (2, 3)])
def test_gather_nd(run_op, rng, depth, lead, opset):
    x, indices = draw(rng, 3, 4, 5), rng.integers(0, 3, (*lead, depth)).astype(np.int32)
    result = run_op("gather_nd", {"x": x, "indices": indices}, opset)
    np.testing.assert_array_equal(result, x[tuple(np.moveaxis(indices, -1, 0))])


@pytest.mark.parametrize("opset", ["iOS16", "iOS17"])
@pytest.mark.parametrize(("batch_dims", "depth"), [(1, 1), (1, 2), (2, 1)])
def test_gather_nd_in_batches(run_op, rng, batch_dims, depth, opset):
    x, indices = draw(rng, 2, 3, 4, 5), rng.integers(0, 3, (2, 3, 2, depth)).astype(np.int32)
    result = run_op("gather_nd", {"x": x, "indices": indices}, opset, batch_dims=batch_dims)
    expected = np.empty(result.shape, np.float32)
    for batch in np.ndindex(x.shape[:batch_dims]):
        expected[batch] = x[batch][tuple(np.moveaxis(indices[batch], -1, 0))]
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", ["gather", "gather_along_axis", "gather_nd"])
def test_negative_indices_count_from_the_end_before_ios17(run_op, name):
    x, indices = np.array([1.0, 2.0, 3.0], np.float32), np.array([-1, 0, -3], np.int32)
    shaped = indices[:, None] if name == "gather_nd" else indices
    np.testing.assert_array_equal(run_op(name, {"x": x, "indices": shaped}, "iOS16"), [3, 1, 1])


@pytest.mark.parametrize("wrong", [-1, 3])
@pytest.mark.parametrize(
    "name", ["gather", "gather_along_axis", "gather_nd", "scatter", "scatter_along_axis", "scatter_nd"]
)
def test_ios17_validates_indices_when_asked(run_op, name, wrong):
    data, indices = np.array([1.0, 2.0, 3.0], np.float32), np.array([1, wrong, 0], np.int32)
    shaped = indices[:, None] if name.endswith("nd") else indices
    inputs = {"data" if name.startswith("scatter") else "x": data, "indices": shaped}
    if name.startswith("scatter"):
        inputs["updates"] = np.array([10.0, 20.0, 30.0], np.float32)
    with pytest.raises(IndexError, match=f"index \\[{wrong}\\] is out of bounds"):
        run_op(name, inputs, "iOS17", validate_indices=True)
    result = run_op(name, inputs, "iOS17", validate_indices=False)  # undefined, but safe
    np.testing.assert_array_equal(
        result[[0, 2]] if name.startswith("gather") else result,
        {
            "gather": [2, 1],
            "scatter": [31, 12, 3],
        }[name.split("_")[0]],
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("opset", ["iOS15", "iOS17"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("mode", MODES)
def test_scatter_takes_duplicates_in_order(run_op, rng, mode, axis, opset, dtype):
    data, indices = draw(rng, 3, 4, 3, dtype=dtype) * 8, np.array([1, 0, 1], np.int32)
    shape = list(data.shape)
    shape[axis] = 3
    updates = 2 ** rng.integers(0, 2, shape).astype(dtype)
    grid = list(np.indices(updates.shape, sparse=True))
    grid[axis] = indices.reshape([-1 if dim == axis % 3 else 1 for dim in range(3)])
    result = run_op("scatter", {"data": data, "indices": indices, "updates": updates}, opset, axis=axis, mode=mode)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, merge(data, grid, updates, mode))


@pytest.mark.parametrize("opset", ["iOS15", "iOS17"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("mode", MODES)
def test_scatter_along_axis(run_op, rng, mode, axis, opset):
    data = draw(rng, 3, 4, 5) * 8
    indices = rng.integers(0, 3, (3, 4, 5)).astype(np.int32).take([0, 1], axis)
    updates = 2.0 ** rng.integers(0, 2, indices.shape).astype(np.float32)
    grid = list(np.indices(indices.shape, sparse=True))
    grid[axis] = indices
    result = run_op(
        "scatter_along_axis", {"data": data, "indices": indices, "updates": updates}, opset, axis=axis, mode=mode
    )
    np.testing.assert_array_equal(result, merge(data, grid, updates, mode))


@pytest.mark.parametrize("opset", ["iOS15", "iOS17"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_scatter_nd(run_op, rng, mode, depth, opset):
    data, indices = draw(rng, 3, 4, 5) * 8, rng.integers(0, 2, (2, 3, depth)).astype(np.int32)
    updates = 2.0 ** rng.integers(0, 2, (2, 3, *data.shape[depth:])).astype(np.float32)
    result = run_op("scatter_nd", {"data": data, "indices": indices, "updates": updates}, opset, mode=mode)
    np.testing.assert_array_equal(result, merge(data, tuple(np.moveaxis(indices, -1, 0)), updates, mode))


@pytest.mark.parametrize("name", ["scatter", "scatter_along_axis", "scatter_nd"])
def test_scatter_leaves_its_input(run_op, name):
    data, indices = np.array([1.0, 2.0], np.float32), np.array([-1], np.int32)
    shaped = indices[:, None] if name.endswith("nd") else indices
    result = run_op(name, {"data": data, "indices": shaped, "updates": np.array([5.0], np.float32)}, mode="update")
    np.testing.assert_array_equal(result, [1, 5])
    np.testing.assert_array_equal(data, [1, 2])


def test_a_negative_axis_counts_over_the_batch_too(run_op, rng):
    # coremltools' value inference takes it for an axis within the batch, its type inference does not.
    x, indices = draw(rng, 2, 3, 4), rng.integers(0, 4, (2, 5)).astype(np.int32)
    result = run_op("gather", {"x": x, "indices": indices}, "iOS16", axis=-1, batch_dims=1)
    np.testing.assert_array_equal(result, np.take_along_axis(x, indices[:, None], -1))


@pytest.mark.parametrize("opset", ["iOS15", "iOS17"])
def test_gather_one_element_of_a_vector_is_a_scalar(infer_op, opset):
    result, expected = infer_op("gather", opset, x=np.array([5, 6, 7], np.int32), indices=np.int32(1))
    assert result.shape == ()
    assert result == expected == 6
