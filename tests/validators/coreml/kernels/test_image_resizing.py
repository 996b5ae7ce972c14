"""Image resampling against PyTorch's interpolation and grid sampling, and grids written out by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

LINE = np.array([0.0, 1.0], np.float32).reshape(1, 1, 2)


def draw(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("mode", "count", "expected"),
    [  # the examples in the docstring of resize_bilinear
        ("UNALIGN_CORNERS", 5, [0.0, 0.1, 0.5, 0.9, 1.0]),
        ("STRICT_ALIGN_CORNERS", 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("ALIGN_CORNERS", 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("DEFAULT", 5, [0.0, 0.4, 0.8, 1.0, 1.0]),
        ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("UNALIGN_CORNERS", 6, [0.0, 0.0, 1 / 3, 2 / 3, 1.0, 1.0]),
        ("STRICT_ALIGN_CORNERS", 6, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ("DEFAULT", 6, [0.0, 1 / 3, 2 / 3, 1.0, 1.0, 1.0]),
        ("OFFSET_CORNERS", 6, [1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12]),
        ("ALIGN_CORNERS", 1, [0.5]),
        ("STRICT_ALIGN_CORNERS", 1, [0.0]),
        ("DEFAULT", 1, [0.0]),
        ("DEFAULT", 2, [0.0, 1.0]),
        ("OFFSET_CORNERS", 2, [0.25, 0.75]),
    ],
)
def test_sampling_modes(run_op, mode, count, expected):
    result = run_op("resize_bilinear", {"x": LINE}, target_size_height=1, target_size_width=count, sampling_mode=mode)
    np.testing.assert_allclose(result[0, 0], expected, atol=1e-6)
    newer = run_op("resize", {"x": LINE}, "iOS17", shape=[1, count], resized_dims=np.uint32(2), sampling_mode=mode)
    np.testing.assert_array_equal(newer, result)


@pytest.mark.parametrize("size", [(3, 4), (10, 14), (13, 9), (1, 1)])
@pytest.mark.parametrize("aligned", [True, False])
def test_resize_bilinear_in_two_dimensions(run_op, rng, size, aligned):
    x = draw(rng, 2, 3, 5, 7)
    result = run_op(
        "resize_bilinear",
        {"x": x},
        target_size_height=size[0],
        target_size_width=size[1],
        sampling_mode="STRICT_ALIGN_CORNERS" if aligned else "UNALIGN_CORNERS",
    )
    expected = F.interpolate(torch.from_numpy(x), size, mode="bilinear", align_corners=aligned)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [(2, 3), (2.5, 1.5), (0.5, 0.75), (1, 1)])
@pytest.mark.parametrize("aligned", [True, False])
def test_upsample_bilinear(run_op, rng, scale, aligned):
    x = draw(rng, 2, 3, 6, 8)
    result = run_op(
        "upsample_bilinear",
        {"x": x},
        scale_factor_height=scale[0],
        scale_factor_width=scale[1],
        align_corners=aligned,
    )
    expected = F.interpolate(
        torch.from_numpy(x), scale_factor=scale, mode="bilinear", align_corners=aligned, recompute_scale_factor=True
    )
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_upsample_bilinear_without_half_pixel_centers(run_op):
    options = {"scale_factor_width": 3, "align_corners": False, "half_pixel_centers": False}
    result = run_op("upsample_bilinear", {"x": LINE}, "iOS16", **options)
    np.testing.assert_allclose(result[0, 0], [0, 1 / 3, 2 / 3, 1, 1, 1], atol=1e-6)
    with pytest.raises(ValueError, match="exclude each other"):
        run_op("upsample_bilinear", {"x": LINE}, "iOS16", align_corners=True, half_pixel_centers=True)


@pytest.mark.parametrize("scale", [(2, 3), (2.5, 1.6), (0.67, 0.5)])
def test_upsample_nearest_neighbor(run_op, rng, scale):
    x = draw(rng, 2, 3, 6, 5)
    result = run_op("upsample_nearest_neighbor", {"x": x}, scale_factor_height=scale[0], scale_factor_width=scale[1])
    expected = F.interpolate(torch.from_numpy(x), scale_factor=scale, mode="nearest", recompute_scale_factor=True)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("size", [(6, 10), (7, 3), (2, 13)])
def test_resize_nearest_neighbor_has_half_pixel_centers(run_op, rng, size):
    x = draw(rng, 2, 3, 6, 5)
    expected = F.interpolate(torch.from_numpy(x), size, mode="nearest-exact")
    result = run_op("resize_nearest_neighbor", {"x": x}, target_size_height=size[0], target_size_width=size[1])
    np.testing.assert_array_equal(result, expected)
    newer = run_op(
        "resize", {"x": x}, "iOS17", shape=size, resized_dims=np.uint32(2), interpolation_mode="NEAREST_NEIGHBOR"
    )
    np.testing.assert_array_equal(newer, expected)


def test_resize_keeps_sizes_of_zero(run_op, rng):
    x = draw(rng, 1, 2, 3, 4)
    result = run_op("resize", {"x": x, "shape": np.array([1, 0, 8], np.int32)}, "iOS17", resized_dims=np.uint32(2))
    assert result.shape == (1, 2, 3, 8)


def test_crop(run_op, rng):
    x = draw(rng, 1, 2, 5, 6)
    np.testing.assert_array_equal(run_op("crop", {"x": x}, crop_height=[1, 2], crop_width=[0, 1]), x[:, :, 1:3, :5])


IMAGE = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)  # the value at (row, column) is 4 row + column + 1
BOX = [0.5, 1.0, 2.5, 2.0]  # rows 0.5 to 2.5, columns 1 to 2
ORDERS = {
    "CORNERS_HEIGHT_FIRST": BOX,
    "CORNERS_WIDTH_FIRST": [1.0, 0.5, 2.0, 2.5],
    "CENTER_SIZE_HEIGHT_FIRST": [1.5, 1.5, 2.0, 1.0],
    "CENTER_SIZE_WIDTH_FIRST": [1.5, 1.5, 1.0, 2.0],
}


def values_at(rows, columns):
    return 4 * np.array(rows)[:, None] + np.array(columns) + 1


@pytest.mark.parametrize("order", ORDERS)
def test_crop_resize_reads_the_box(run_op, order):
    common = {"target_height": 3, "target_width": 2, "box_coordinate_mode": order, "sampling_mode": "ALIGN_CORNERS"}
    expected = values_at([0.5, 1.5, 2.5], [1, 2])
    roi = np.array(ORDERS[order], np.float32).reshape(1, 1, 4, 1, 1)
    result = run_op("crop_resize", {"x": IMAGE, "roi": roi}, **common)
    np.testing.assert_allclose(result, expected[None, None, None], rtol=1e-6)
    result = run_op("crop_resize", {"x": IMAGE, "boxes": roi.reshape(1, 4)}, "iOS17", **common)
    np.testing.assert_allclose(result, expected[None, None], rtol=1e-6)


@pytest.mark.parametrize(
    ("mode", "rows", "columns"),
    [
        ("STRICT_ALIGN_CORNERS", [0.5, 2.5], [1, 2]),
        ("DEFAULT", [0.5, 2.0], [1, 2]),
        ("OFFSET_CORNERS", [1.0, 2.0], [1.25, 1.75]),
        ("UNALIGN_CORNERS", [0.75, 2.25], [1, 2]),
    ],
)
def test_crop_resize_sampling_modes(run_op, mode, rows, columns):
    boxes = np.array([BOX], np.float32)
    result = run_op(
        "crop_resize", {"x": IMAGE, "boxes": boxes}, "iOS17", target_height=2, target_width=2, sampling_mode=mode
    )
    np.testing.assert_allclose(result[0, 0], values_at(rows, columns), rtol=1e-6)


def test_crop_resize_outside_the_image_is_padding(run_op):
    boxes = np.array([[0.1, 0.3, 1.3, 1.0], [0.5, 1.8, 1.0, 0.3], [0.0, 0.4, 0.6, 0.7]], np.float32)
    common = {
        "target_height": 2,
        "target_width": 2,
        "normalized_coordinates": True,
        "sampling_mode": "ALIGN_CORNERS",
        "pad_value": np.float32(10),
    }
    expected = [[[3.1, 5.2], [10, 10]], [[10, 7.9], [10, 13.9]], [[2.2, 3.1], [9.4, 10.3]]]
    result = run_op("crop_resize", {"x": IMAGE, "boxes": boxes}, "iOS17", box_indices=[0, 0, 0], **common)
    np.testing.assert_allclose(result[:, 0], expected, rtol=1e-5)
    roi = np.insert(boxes, 0, 0, axis=1).reshape(3, 1, 5, 1, 1)
    result = run_op("crop_resize", {"x": IMAGE, "roi": roi}, "iOS16", **common)
    np.testing.assert_allclose(result[:, 0, 0], expected, rtol=1e-5)


def test_crop_resize_chooses_images(run_op, rng):
    x = draw(rng, 2, 3, 4, 4)
    box = np.array([[0.0, 0.0, 3.0, 3.0]], np.float32)
    common = {"target_height": 4, "target_width": 4, "sampling_mode": "ALIGN_CORNERS"}
    shared = run_op("crop_resize", {"x": x, "roi": np.tile(box, (3, 1)).reshape(3, 1, 4, 1, 1)}, **common)
    assert shared.shape == (3, 2, 3, 4, 4)
    np.testing.assert_allclose(shared, np.tile(x, (3, 1, 1, 1, 1)), rtol=1e-6)
    chosen = run_op("crop_resize", {"x": x, "boxes": np.tile(box, (3, 1))}, "iOS17", box_indices=[1, 0, 1], **common)
    np.testing.assert_allclose(chosen, x[[1, 0, 1]], rtol=1e-6)


def test_crop_resize_scales_the_box(run_op):
    boxes = np.array([[0.0, 0.0, 6.0, 4.0]], np.float32)
    common = {"target_height": 2, "target_width": 2, "sampling_mode": "ALIGN_CORNERS", "spatial_scale": np.float32(0.5)}
    result = run_op("crop_resize", {"x": IMAGE, "boxes": boxes}, "iOS17", **common)
    np.testing.assert_allclose(result[0, 0], values_at([0, 3], [0, 2]), rtol=1e-6)


PADDINGS = {  # MIL padding and align_corners for PyTorch's
    ("constant", True): "zeros",
    ("constant", False): "zeros",
    ("border", True): "border",
    ("border", False): "border",
    ("reflection", True): "reflection",
    ("symmetric", False): "reflection",
}


@pytest.mark.parametrize(("padding_mode", "aligned"), PADDINGS)
@pytest.mark.parametrize("sampling_mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("coordinates_mode", ["normalized_minus_one_to_one", "normalized_zero_to_one", "unnormalized"])
def test_resample(run_op, rng, padding_mode, aligned, sampling_mode, coordinates_mode):
    x, grid = draw(rng, 2, 3, 4, 5), rng.uniform(-2.5, 2.5, (2, 6, 7, 2)).astype(np.float32)
    expected = F.grid_sample(
        *map(torch.from_numpy, (x, grid)),
        mode=sampling_mode,
        padding_mode=PADDINGS[padding_mode, aligned],
        align_corners=aligned,
    )
    sizes = np.array([5, 4], np.float32)
    unit = (grid + 1) / 2
    coordinates = {
        "normalized_minus_one_to_one": grid,
        "normalized_zero_to_one": unit,
        "unnormalized": unit * (sizes - 1) if aligned else unit * sizes - np.float32(0.5),
    }[coordinates_mode]
    result = run_op(
        "resample",
        {"x": x, "coordinates": coordinates},
        sampling_mode=sampling_mode,
        padding_mode=padding_mode,
        padding_value=np.float32(0),
        coordinates_mode=coordinates_mode,
        align_corners=aligned,
    )
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_resample_pads_with_the_value_given(run_op):
    result = run_op(
        "resample",
        {
            "x": np.array([[[[11.0, 22.0], [33.0, 44.0]]]], np.float32),
            "coordinates": np.array([[[[-1, -1], [0, 0]]]], np.int32),
        },
        sampling_mode="bilinear",
        padding_mode="constant",
        padding_value=np.float32(6.17),
        coordinates_mode="unnormalized",
        align_corners=True,
    )
    np.testing.assert_array_equal(result, np.array([[[[6.17, 11.0]]]], np.float32))


@pytest.mark.parametrize(("padding_mode", "aligned"), PADDINGS)
def test_resample_rounds_halves_as_pytorch(run_op, rng, padding_mode, aligned):
    sizes = np.array([5, 3] if aligned else [8, 4], np.float32)  # powers of two make the normalised halves exact
    x = draw(rng, 1, 1, int(sizes[1]), int(sizes[0]))
    halves = np.arange(-24, 36, dtype=np.float32) / 2
    points = np.stack(np.meshgrid(halves, halves), -1)[None]
    grid = 2 * points / (sizes - 1) - 1 if aligned else (2 * points + 1) / sizes - 1
    expected = F.grid_sample(
        torch.from_numpy(x),
        torch.from_numpy(grid),
        mode="nearest",
        padding_mode=PADDINGS[padding_mode, aligned],
        align_corners=aligned,
    )
    result = run_op(
        "resample",
        {"x": x, "coordinates": points},
        sampling_mode="nearest",
        padding_mode=padding_mode,
        padding_value=np.float32(0),
        coordinates_mode="unnormalized",
        align_corners=aligned,
    )
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("matrices", [1, 2])
def test_affine(run_op, rng, matrices):
    x, matrix = draw(rng, 2, 3, 4, 5), draw(rng, matrices, 6)
    result = run_op(
        "affine",
        {"x": x, "transform_matrix": matrix},
        output_height=6,
        output_width=7,
        sampling_mode="bilinear",
        padding_mode="constant",
        padding_value=np.float32(0),
        coordinates_mode="normalized_minus_one_to_one",
        align_corners=True,
    )
    grid = F.affine_grid(torch.from_numpy(matrix).reshape(-1, 2, 3).expand(2, 2, 3), (2, 3, 6, 7), align_corners=True)
    np.testing.assert_allclose(
        result, F.grid_sample(torch.from_numpy(x), grid, align_corners=True), rtol=1e-4, atol=1e-4
    )
