"""Ops that make, join, split, pad and sort tensors (coremltools `tensor_operation.py` of iOS 15 to 17)."""

from math import ceil, prod

import torch
import torch.nn.functional as F
from torch import Tensor

from validators.coreml.registry import ints, kernel


@kernel("identity")
def identity(*, x: Tensor) -> Tensor:
    return x


@kernel("shape")
def shape(*, x: Tensor) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int32)


@kernel("fill")
def fill(*, shape: Tensor, value: Tensor) -> Tensor:
    return value.expand(ints(shape))


@kernel("fill_like", opset="iOS16")
def fill_like(*, ref_tensor: Tensor, value: Tensor) -> Tensor:
    """Takes its shape from `ref_tensor`, its type from `value`."""
    return value.expand(ref_tensor.shape)


@kernel("range_1d")
def range_1d(*, start: Tensor, end: Tensor, step: Tensor) -> Tensor:
    """`numpy.arange`: the length is rounded up from a quotient in the type of the inputs."""
    quotient = (end - start) / step if start.is_floating_point() else (end - start).double() / step.double()
    count = max(0, ceil(float(quotient)))
    return start + step * torch.arange(count, dtype=start.dtype)


@kernel("one_hot")
def one_hot(
    *, indices: Tensor, one_hot_vector_size: Tensor, axis: Tensor, on_value: Tensor, off_value: Tensor
) -> Tensor:
    """An index out of range, negative ones included, has no hot place."""
    dim = int(axis) % (indices.dim() + 1)
    places = torch.arange(int(one_hot_vector_size)).reshape(-1, *(1,) * (indices.dim() - dim))
    return torch.where(indices.unsqueeze(dim) == places, on_value, off_value)


@kernel("non_zero")
def non_zero(*, x: Tensor) -> Tensor:
    return x.nonzero()


@kernel("band_part")
def band_part(*, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Zero outside a band around the diagonal of the last two dimensions; a negative width keeps all of that side."""
    rows, columns = torch.arange(x.shape[-2]).unsqueeze(-1), torch.arange(x.shape[-1])
    inside = torch.ones(x.shape[-2:], dtype=torch.bool)
    if int(lower) >= 0:
        inside &= rows - columns <= int(lower)
    if int(upper) >= 0:
        inside &= columns - rows <= int(upper)
    return torch.where(inside, x, torch.zeros((), dtype=x.dtype))


@kernel("cumsum")
def cumsum(*, x: Tensor, axis: Tensor, exclusive: Tensor, reverse: Tensor) -> Tensor:
    """`exclusive` sums start at 0 and leave out the element itself; `reverse` sums come from the far end."""
    dim = int(axis)
    if bool(reverse):
        x = x.flip(dim)
    total = torch.cumsum(x, dim, dtype=x.dtype)
    if bool(exclusive) and x.shape[dim]:
        total = torch.cat([torch.zeros_like(total.narrow(dim, 0, 1)), total.narrow(dim, 0, x.shape[dim] - 1)], dim)
    return total.flip(dim) if bool(reverse) else total


@kernel("tile")
def tile(*, x: Tensor, reps: Tensor) -> Tensor:
    return x.repeat(ints(reps))


@kernel("pad")
def pad(*, x: Tensor, pad: Tensor, mode: str, constant_val: Tensor) -> Tensor:
    """`pad` holds the amounts before and after each of the last dimensions, the first of them first.

    Raises `ValueError` where `reflect` needs more elements than there are besides the edge.
    """
    amounts = ints(pad)
    pairs = list(zip(amounts[::2], amounts[1::2], strict=True))
    if mode == "constant":
        return F.pad(x, [amount for pair in reversed(pairs) for amount in pair], value=constant_val.item())
    for dim, (before, after) in enumerate(pairs, start=x.dim() - len(pairs)):
        if before or after:
            x = x.index_select(dim, _edge_source(torch.arange(-before, x.shape[dim] + after), x.shape[dim], mode))
    return x


def _edge_source(places: Tensor, size: int, mode: str) -> Tensor:
    """Where the elements at `places`, those of the padding included, come from."""
    if mode == "replicate":
        return places.clamp(0, size - 1)
    if mode != "reflect":
        raise ValueError(f"mode {mode!r} is unknown; expected constant, reflect or replicate")
    before, after = -int(places[0]), int(places[-1]) - size + 1
    if max(before, after) >= size:
        raise ValueError(f"reflect takes at most {size - 1} elements of an axis of size {size}, not {before}, {after}")
    return (size - 1) - ((size - 1) - places.abs()).abs()


@kernel("concat")
def concat(*, values: tuple[Tensor, ...], axis: Tensor, interleave: Tensor) -> Tensor:
    """`interleave` takes one slice of each value in turn."""
    if values[0].dim() == 0:
        return torch.stack(values)
    dim = int(axis) % values[0].dim()
    if bool(interleave):
        return torch.stack(values, dim + 1).flatten(dim, dim + 1)
    return torch.cat(values, dim)


@kernel("stack")
def stack(*, values: tuple[Tensor, ...], axis: Tensor) -> Tensor:
    return torch.stack(values, int(axis))


@kernel("split")
def split(
    *, x: Tensor, axis: Tensor, num_splits: Tensor | None = None, split_sizes: Tensor | None = None
) -> tuple[Tensor, ...]:
    """`split_sizes` go before `num_splits`, which divides evenly."""
    dim = int(axis)
    if split_sizes is not None:
        return torch.split(x, ints(split_sizes), dim)
    if num_splits is None:
        raise ValueError("split needs num_splits or split_sizes")
    count = int(num_splits)
    if x.shape[dim] % count:
        raise ValueError(f"an axis of size {x.shape[dim]} does not split into {count} equal parts")
    return torch.split(x, x.shape[dim] // count, dim)


@kernel("flatten2d")
def flatten2d(*, x: Tensor, axis: Tensor) -> Tensor:
    """The dimensions before `axis` and the rest become one each."""
    rows = prod(x.shape[: int(axis)])
    return x.reshape(rows, prod(x.shape[int(axis) :]))


@kernel("argsort")
def argsort(*, x: Tensor, axis: Tensor, ascending: Tensor) -> Tensor:
    """Equal elements keep their order, which MIL leaves open."""
    return torch.argsort(x, dim=int(axis), descending=not bool(ascending), stable=True)


@kernel("topk")
def topk(*, x: Tensor, k: Tensor, axis: Tensor, ascending: Tensor) -> tuple[Tensor, Tensor]:
    """The first k of the sorted elements and their places; of equal ones the first. A k of -1 takes all."""
    dim = int(axis)
    count = x.shape[dim] if int(k) == -1 else int(k)
    values, places = torch.sort(x, dim=dim, descending=not bool(ascending), stable=True)
    return values.narrow(dim, 0, count), places.narrow(dim, 0, count)


@kernel("topk", opset="iOS16")
def topk_optional_indices(
    *,
    x: Tensor,
    k: Tensor,
    axis: Tensor,
    ascending: Tensor,
    sort: Tensor,
    return_indices: Tensor,
    output_indices_dtype: str = "int32",
) -> tuple[Tensor, ...]:
    """As in iOS 15, without the places unless `return_indices`; without `sort` MIL leaves the order open."""
    values, places = topk(x=x, k=k, axis=axis, ascending=ascending)
    return (values, places) if bool(return_indices) else (values,)


@kernel("non_maximum_suppression")
def non_maximum_suppression(
    *,
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: Tensor,
    score_threshold: Tensor,
    max_boxes: Tensor,
    per_class_suppression: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes [N, B, 4] as center x, center y, width, height and scores [N, B, K], both in the order of their best score.

    A box is judged by its best class. The best box stays even where no score reaches the threshold, as coremltools'
    tests of the runtime have it (`ops/tests/iOS14/test_tensor_operation.py`). Gives boxes, scores, places (-1 where
    there are fewer than `max_boxes`) and their number.
    """
    limit = int(max_boxes)
    chosen = [
        _suppressed(box, score, float(iou_threshold), float(score_threshold), limit, bool(per_class_suppression))
        for box, score in zip(boxes, scores, strict=True)
    ]
    return (
        torch.stack([_filled(box[kept], limit, 0) for box, kept in zip(boxes, chosen, strict=True)]),
        torch.stack([_filled(score[kept], limit, 0) for score, kept in zip(scores, chosen, strict=True)]),
        torch.stack([_filled(kept, limit, -1) for kept in chosen]),
        torch.tensor([len(kept) for kept in chosen]),
    )


@kernel("non_maximum_suppression", opset="iOS17")
def non_maximum_suppression_boxes_last(
    *, boxes: Tensor, scores: Tensor, iou_threshold: Tensor, max_boxes: Tensor, per_class_suppression: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As in iOS 15, with boxes [N, 4, B] and scores [N, K, B], without threshold and number."""
    kept_boxes, kept_scores, places, _ = non_maximum_suppression(
        boxes=boxes.mT,
        scores=scores.mT,
        iou_threshold=iou_threshold,
        score_threshold=torch.tensor(-torch.inf),
        max_boxes=max_boxes,
        per_class_suppression=per_class_suppression,
    )
    return kept_boxes.mT, kept_scores.mT, places


def _suppressed(
    boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float, limit: int, per_class: bool
) -> Tensor:
    """The places of the boxes [B, 4] that survive, best score first."""
    best, classes = scores.max(-1)
    order = torch.argsort(best, descending=True, stable=True)
    candidates = order[best[order] > score_threshold]
    if not len(candidates):
        return order[: min(1, limit)]
    rivals = _iou(boxes[candidates]) > iou_threshold
    if per_class:
        rivals &= classes[candidates].unsqueeze(-1) == classes[candidates]
    alive = torch.ones(len(candidates), dtype=torch.bool)
    kept: list[int] = []
    for place in range(len(candidates)):
        if len(kept) == limit:
            break
        if alive[place]:
            kept.append(place)
            alive &= ~rivals[place]
    return candidates[kept]


def _iou(boxes: Tensor) -> Tensor:
    """Intersection over union of every two of the boxes [B, 4]; 0 where one of them is empty."""
    center, extent = boxes[:, :2], boxes[:, 2:]
    low, high = center - extent / 2, center + extent / 2
    overlap = torch.minimum(high.unsqueeze(1), high) - torch.maximum(low.unsqueeze(1), low)
    shared = overlap.clamp(min=0).prod(-1)
    area = extent.prod(-1)
    filled = (area.unsqueeze(1) > 0) & (area > 0)
    return torch.where(filled, shared / (area.unsqueeze(1) + area - shared), 0.0)


def _filled(values: Tensor, length: int, value: int) -> Tensor:
    """`values` with its first dimension filled up to `length`."""
    rest = torch.full((length - len(values), *values.shape[1:]), value, dtype=values.dtype)
    return torch.cat([values, rest])
