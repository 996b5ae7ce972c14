"""Resampling of images (coremltools `image_resizing.py` of iOS 15 to 17).

Images are [..., H, W]. Linear resizing is separable: each axis is read at a grid of fractional positions.
"""

import torch
from torch import Tensor

from validators.coreml.registry import ints, kernel


def _grid(sampling_mode: str, size: Tensor | int, count: int) -> Tensor:
    """Positions, before they are clamped to the axis, at which `count` elements read an axis of `size` elements.

    The formulas of `resize_bilinear`'s docstring. A tensor of sizes gives one row of positions for each.
    """
    extent = torch.as_tensor(size, dtype=torch.float64).unsqueeze(-1)
    steps = torch.arange(count, dtype=torch.float64)
    match sampling_mode:
        case "ALIGN_CORNERS" if count == 1:
            return (extent - 1) / 2
        case "STRICT_ALIGN_CORNERS" | "ALIGN_CORNERS":
            return steps * (extent - 1) / max(count - 1, 1)
        case "DEFAULT":
            return steps * extent / count
        case "OFFSET_CORNERS":
            return (steps + 0.5) * (extent - 1).clamp(min=1) / count
        case "UNALIGN_CORNERS":
            return (steps + 0.5) * extent / count - 0.5
    raise ValueError(
        f"sampling_mode {sampling_mode!r} is unknown; expected STRICT_ALIGN_CORNERS, ALIGN_CORNERS, DEFAULT, "
        "OFFSET_CORNERS or UNALIGN_CORNERS"
    )


def _linear(x: Tensor, axis: int, positions: Tensor) -> Tensor:
    """x interpolated along `axis` at `positions`, a vector clamped to the axis."""
    size = x.shape[axis]
    positions = positions.clamp(0, size - 1)
    low = positions.floor().long()
    weight = (positions - low).to(torch.float32).reshape(-1, *(1,) * (-1 - axis))
    return torch.lerp(x.index_select(axis, low), x.index_select(axis, (low + 1).clamp(max=size - 1)), weight)


def _resize_linear(x: Tensor, sizes: list[int], sampling_mode: str) -> Tensor:
    """The last dimensions of x resized to `sizes`."""
    values = x.float()
    for axis, size in zip(range(-len(sizes), 0), sizes, strict=True):
        if size != x.shape[axis] or sampling_mode == "OFFSET_CORNERS":
            values = _linear(values, axis, _grid(sampling_mode, x.shape[axis], size))
    return values


def _resize_nearest(x: Tensor, axis: int, positions: Tensor) -> Tensor:
    return x.index_select(axis, positions.floor().long().clamp(0, x.shape[axis] - 1))


@kernel("upsample_nearest_neighbor")
def upsample_nearest_neighbor(*, x: Tensor, scale_factor_height: Tensor, scale_factor_width: Tensor) -> Tensor:
    """Element i reads `floor(i * size_in / size_out)`, as PyTorch's `nearest` of that size."""
    for axis, scale in ((-2, scale_factor_height), (-1, scale_factor_width)):
        x = _resize_nearest(x, axis, _grid("DEFAULT", x.shape[axis], _scaled(x.shape[axis], scale)))
    return x


def _scaled(size: int, scale: Tensor) -> int:
    return int(torch.floor(size * scale))


@kernel("resize_nearest_neighbor")
def resize_nearest_neighbor(*, x: Tensor, target_size_height: Tensor, target_size_width: Tensor) -> Tensor:
    """Element i reads `floor((i + 0.5) * size_in / size_out)`.

    So TensorFlow's `half_pixel_centers` has it, which coremltools turns into this op (`frontend/tensorflow/ops.py`).
    """
    for axis, target in ((-2, target_size_height), (-1, target_size_width)):
        x = _resize_nearest(x, axis, _grid("UNALIGN_CORNERS", x.shape[axis], int(target)) + 0.5)
    return x


@kernel("upsample_bilinear")
@kernel("upsample_bilinear", opset="iOS16")
def upsample_bilinear(
    *,
    x: Tensor,
    scale_factor_height: Tensor,
    scale_factor_width: Tensor,
    align_corners: Tensor,
    half_pixel_centers: Tensor | None = None,
) -> Tensor:
    """The scale is computed again from the sizes, as PyTorch's `recompute_scale_factor` does.

    `half_pixel_centers` is the opposite of `align_corners` unless given; both together contradict each other.
    """
    centered = not bool(align_corners) if half_pixel_centers is None else bool(half_pixel_centers)
    if bool(align_corners) and centered:
        raise ValueError("align_corners and half_pixel_centers exclude each other; set one of them to False")
    sampling_mode = "STRICT_ALIGN_CORNERS" if bool(align_corners) else "UNALIGN_CORNERS" if centered else "DEFAULT"
    sizes = [_scaled(x.shape[-2], scale_factor_height), _scaled(x.shape[-1], scale_factor_width)]
    return _resize_linear(x, sizes, sampling_mode)


@kernel("resize_bilinear")
def resize_bilinear(*, x: Tensor, target_size_height: Tensor, target_size_width: Tensor, sampling_mode: str) -> Tensor:
    return _resize_linear(x, [int(target_size_height), int(target_size_width)], sampling_mode)


@kernel("resize", opset="iOS17")
def resize(*, x: Tensor, shape: Tensor, resized_dims: Tensor, interpolation_mode: str, sampling_mode: str) -> Tensor:
    """The last `resized_dims` of `shape` become those of x, where 0 keeps the size.

    A nearest neighbour is the element closest to the position, the upper one in a tie; `DEFAULT` is the sampling of
    `resize_nearest_neighbor`, as coremltools' TensorFlow frontend uses it.
    """
    count = int(resized_dims)
    targets = ints(shape)[-count:] if count else []
    sizes = [target or size for target, size in zip(targets, x.shape[x.dim() - count :], strict=True)]
    if interpolation_mode == "LINEAR":
        return _resize_linear(x, sizes, sampling_mode)
    if interpolation_mode != "NEAREST_NEIGHBOR":
        raise ValueError(f"interpolation_mode {interpolation_mode!r} is unknown; expected LINEAR or NEAREST_NEIGHBOR")
    nearest_mode = "UNALIGN_CORNERS" if sampling_mode == "DEFAULT" else sampling_mode
    for axis, size in zip(range(-count, 0), sizes, strict=True):
        x = _resize_nearest(x, axis, _grid(nearest_mode, x.shape[axis], size) + 0.5)
    return x


@kernel("crop")
def crop(*, x: Tensor, crop_height: Tensor, crop_width: Tensor) -> Tensor:
    """Takes the given amounts off both ends of the last two dimensions."""
    (top, bottom), (left, right) = ints(crop_height), ints(crop_width)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


_BOX_ORDER = {  # where y, x of the first and of the second pair are
    "CORNERS_HEIGHT_FIRST": (0, 1, 2, 3),
    "CORNERS_WIDTH_FIRST": (1, 0, 3, 2),
    "CENTER_SIZE_HEIGHT_FIRST": (0, 1, 2, 3),
    "CENTER_SIZE_WIDTH_FIRST": (1, 0, 3, 2),
}


@kernel("crop_resize", opset="iOS17")
def crop_resize(
    *,
    x: Tensor,
    boxes: Tensor,
    box_indices: Tensor,
    target_height: Tensor,
    target_width: Tensor,
    normalized_coordinates: Tensor,
    spatial_scale: Tensor,
    box_coordinate_mode: str,
    sampling_mode: str,
    pad_value: Tensor,
) -> Tensor:
    """Box i, [y, x, y, x] in some order, cut out of image `box_indices[i]` and resized: [N, C, height, width].

    A box with its corners swapped flips the image. Positions outside the image read `pad_value`.
    """
    if box_coordinate_mode not in _BOX_ORDER:
        raise ValueError(f"box_coordinate_mode {box_coordinate_mode!r} is unknown; expected {', '.join(_BOX_ORDER)}")
    order = list(_BOX_ORDER[box_coordinate_mode])
    first, second = boxes.double()[:, order].reshape(-1, 2, 2).unbind(1)
    if box_coordinate_mode.startswith("CENTER"):
        first, second = first - second / 2, first + second / 2
    scale = spatial_scale.double()
    if bool(normalized_coordinates):
        scale = scale * (torch.tensor(x.shape[-2:]) - 1)
    starts, ends = (first * scale).unbind(-1), (second * scale).unbind(-1)
    rows, columns = (
        start.unsqueeze(-1) + _box_grid(sampling_mode, end - start, int(count))
        for start, end, count in zip(starts, ends, (target_height, target_width), strict=True)
    )
    rows, columns = rows.unsqueeze(-1), columns.unsqueeze(-2)
    values = _read(x[box_indices.long()], rows, columns, "bilinear", "border", 0.0)
    height, width = x.shape[-2:]
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    return torch.where(inside.unsqueeze(1), values, pad_value.to(values.dtype))


def _box_grid(sampling_mode: str, length: Tensor, count: int) -> Tensor:
    """The grid of an axis as long as the box, which for a swapped box runs backwards."""
    direction = torch.where(length < 0, -1.0, 1.0).unsqueeze(-1)
    return direction * _grid(sampling_mode, length.abs() + 1, count)


@kernel("crop_resize")
@kernel("crop_resize", opset="iOS16")
def crop_resize_roi(
    *,
    x: Tensor,
    roi: Tensor,
    target_height: Tensor,
    target_width: Tensor,
    normalized_coordinates: Tensor,
    spatial_scale: Tensor,
    box_coordinate_mode: str,
    sampling_mode: str,
    pad_value: Tensor | None = None,
) -> Tensor:
    """roi is [N, 1, 5, 1, 1] with the image's index first, or [N, 1, 4, 1, 1] for boxes that all images share.

    Gives [N, 1, C, height, width], or [N, B, C, height, width] for shared boxes.
    """
    table = roi.reshape(roi.shape[0], -1)
    shared = table.shape[1] == 4
    images = 1 if not shared else x.shape[0]
    boxes = (table if shared else table[:, 1:]).repeat_interleave(images, 0)
    indices = torch.arange(images).repeat(len(table)) if shared else table[:, 0]
    crops = crop_resize(
        x=x,
        boxes=boxes,
        box_indices=indices,
        target_height=target_height,
        target_width=target_width,
        normalized_coordinates=normalized_coordinates,
        spatial_scale=spatial_scale,
        box_coordinate_mode=box_coordinate_mode,
        sampling_mode=sampling_mode,
        pad_value=torch.zeros(()) if pad_value is None else pad_value,
    )
    return crops.unflatten(0, (len(table), images))


@kernel("affine")
def affine(
    *,
    x: Tensor,
    transform_matrix: Tensor,
    output_height: Tensor,
    output_width: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Tensor,
    coordinates_mode: str,
    align_corners: Tensor,
) -> Tensor:
    """Output (x, y) reads the image at the matrix [a0, a1, a2, b0, b1, b2] times (x, y, 1); one matrix or one each."""
    aligned = bool(align_corners)
    height, width = (_normalised(int(count), aligned) for count in (output_height, output_width))
    rows, columns = torch.meshgrid(height, width, indexing="ij")
    points = torch.stack([columns, rows, torch.ones_like(rows)], -1)
    matrices = transform_matrix.double().reshape(-1, 1, 2, 3).expand(x.shape[0], 1, 2, 3)
    return resample(
        x=x,
        coordinates=points @ matrices.mT,
        sampling_mode=sampling_mode,
        padding_mode=padding_mode,
        padding_value=padding_value,
        coordinates_mode=coordinates_mode,
        align_corners=align_corners,
    )


def _normalised(count: int, aligned: bool) -> Tensor:
    """`count` coordinates over [-1, 1], at its ends where `aligned`, at the centers of `count` parts elsewhere."""
    steps = torch.arange(count, dtype=torch.float64)
    if not aligned:
        return (2 * steps + 1) / count - 1
    return 2 * steps / (count - 1) - 1 if count > 1 else torch.zeros(1, dtype=torch.float64)


@kernel("resample")
def resample(
    *,
    x: Tensor,
    coordinates: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Tensor,
    coordinates_mode: str,
    align_corners: Tensor,
) -> Tensor:
    """x [B, C, H, W] read at coordinates [B, H2, W2, 2], x first.

    `align_corners` puts the ends of the normalised range at the centers of the corner pixels, else at their edges.
    """
    sizes = torch.tensor([x.shape[-1], x.shape[-2]], dtype=torch.float64)
    points = coordinates.double()
    match coordinates_mode:
        case "normalized_minus_one_to_one":
            points = (points + 1) / 2
        case "normalized_zero_to_one" | "unnormalized":
            pass
        case _:
            raise ValueError(
                f"coordinates_mode {coordinates_mode!r} is unknown; expected unnormalized, "
                "normalized_minus_one_to_one or normalized_zero_to_one"
            )
    if coordinates_mode != "unnormalized":
        points = points * (sizes - 1) if bool(align_corners) else points * sizes - 0.5
    columns, rows = points.unbind(-1)
    return _read(x, rows, columns, sampling_mode, padding_mode, float(padding_value))


def _read(images: Tensor, rows: Tensor, columns: Tensor, sampling_mode: str, padding_mode: str, value: float) -> Tensor:
    """images [B, C, H, W] at fractional rows and columns, which broadcast to [B, H2, W2].

    Positions outside are folded into the image before they are rounded, so halves fall as in PyTorch's `grid_sample`;
    where the padding is constant the pixels outside read `value`.
    """
    height, width = images.shape[-2:]
    rows, columns = _folded(rows, height, padding_mode), _folded(columns, width, padding_mode)
    match sampling_mode:
        case "nearest":
            return _pixels(images, rows.round(), columns.round(), padding_mode, value)
        case "bilinear":
            top, left = rows.floor(), columns.floor()
            down, right = (rows - top).unsqueeze(1).float(), (columns - left).unsqueeze(1).float()
            upper, lower = (
                torch.lerp(
                    _pixels(images, row, left, padding_mode, value),
                    _pixels(images, row, left + 1, padding_mode, value),
                    right,
                )
                for row in (top, top + 1)
            )
            return torch.lerp(upper, lower, down)
    raise ValueError(f"sampling_mode {sampling_mode!r} is unknown; expected bilinear or nearest")


def _folded(places: Tensor, size: int, padding_mode: str) -> Tensor:
    """Positions on an axis of `size` elements that those outside stand for; constant padding leaves them."""
    match padding_mode:
        case "constant":
            return places
        case "border":
            return places.clamp(0, size - 1)
        case "reflection":  # mirrors at the centers of the first and the last element
            last = size - 1
            return last - (last - places.remainder(2 * last)).abs() if last else torch.zeros_like(places)
        case "symmetric":  # mirrors at their outer edges
            edges = (places + 0.5).remainder(2 * size)
            return (size - (size - edges).abs() - 0.5).clamp(0, size - 1)
    raise ValueError(f"padding_mode {padding_mode!r} is unknown; expected constant, border, reflection or symmetric")


def _pixels(images: Tensor, rows: Tensor, columns: Tensor, padding_mode: str, value: float) -> Tensor:
    """images [B, C, H, W] at whole rows and columns [B, H2, W2]; `value` outside where the padding is constant."""
    height, width = images.shape[-2:]
    row, column = rows.clamp(0, height - 1).long(), columns.clamp(0, width - 1).long()
    batch = torch.arange(len(images)).reshape(-1, 1, 1)
    pixels = images[batch, :, row, column].movedim(-1, 1)
    if padding_mode != "constant":
        return pixels
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return torch.where(inside.unsqueeze(1), pixels, value)
