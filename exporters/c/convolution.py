"""Convolutions, products of matrices and pools: what the kernels with the vector instructions compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from exporters.c import pack
from exporters.c.program import UnsupportedError, View
from exporters.c.sizes import Size
from exporters.c.translation import Translation, literal

_ONE, _ZERO = Size.of(1), Size.of(0)
_PIXELS = 2


def conv(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    if node.input[1] not in work.constants:
        raise UnsupportedError("weights that are computed")
    weights = work.constants[node.input[1]]
    flat = weights.ndim == 3
    groups = attributes.get("group", 1)
    if work.shape(node.input[0])[1] != Size.of(weights.shape[1] * groups) or len(weights) % groups:
        raise UnsupportedError("weights for other channels")
    if flat:
        weights = weights[:, :, None]
    columns, channels = len(weights), weights.shape[1] * groups
    window, out_shape = _window(
        work, node, attributes, weights.shape[2:], channels if channels == groups == columns else weights.shape[1]
    )
    x = work.ordered(node.input[0], _channels_last(len(work.shape(node.input[0]))))
    biases = work.constants[node.input[2]] if len(node.input) > 2 else None
    if biases is not None and biases.size != columns:
        raise UnsupportedError("a bias for other channels")
    shape = [_ONE, Size.of(columns), *out_shape]
    if flat:
        del shape[2]
    result, finish, reads = _finish(work, node, shape, _channels_last(len(shape)))
    out = work.program.array(result, shape, _channels_last(len(shape)))
    kernel = "x".join(str(size) for size in weights.shape[2:])
    title = f"{result}: {channels} to {columns} channels, {kernel}"
    if channels == groups == columns:
        own, bias = work.program.constant(pack.depthwise(weights)), None
        if biases is not None:
            bias = work.program.constant(pack.bias(biases))
        lines = [
            f"const struct window w = {window};",
            f"const struct finish f = {finish.format(_pointer(bias))};",
            f"simd->depthwise(&w, {x.address()}, {own.address()}, &f, {out.address()});",
        ]
        work.program.step(f"{title}, each by itself", lines, [x, *reads], [out])
    else:
        own, bias = work.program.constant(pack.convolution(weights, groups)), None
        if biases is not None:
            bias = work.program.constant(pack.bias(biases, groups))
        lines = [
            f"const struct window w = {window};",
            f"const struct finish f = {finish.format(_pointer(bias))};",
        ]
        scratch = (
            _scratch(work, result, _TILE * weights[0].size)
            if not _lies_so(work, node, attributes, weights, groups)
            else None
        )
        lines.append(
            f"sp_conv(simd, &w, {groups}, {x.address()}, {own.address()}, {columns // groups}, &f, {out.address()}, "
            f"{_pointer(scratch)});"
        )
        work.program.step(title, lines, [x, *reads], [out, *([scratch] if scratch else [])])
    work.give(result, out)


# As conv.c has it.
_TILE = 48


def _lies_so(
    work: Translation, node: onnx.NodeProto, attributes: dict[str, Any], weights: np.ndarray, groups: int
) -> bool:
    """As lies_so in conv.c."""
    shape = work.shape(node.input[0])
    height, width = weights.shape[2:]
    line = len(shape) == 3 or shape[2].number == 1
    strides = _pair(attributes.get("strides", [1]), 1)
    if groups != 1 or height != 1 or any(attributes.get("pads", [])):
        return False
    if width > 1 and (_pair(attributes.get("dilations", [1]), 1)[1] != 1 or not line):
        return False
    return line or strides == [1, 1]


def _scratch(work: Translation, name: str, size: int | Size) -> View:
    return work.program.array(f"{name}_scratch", [Size.of(size)])


def _pointer(view: View | None) -> str:
    return "NULL" if view is None else view.address()


def _channels_last(rank: int) -> tuple[int, ...]:
    return (0, *range(2, rank), 1)


def _pair(values: Sequence[int], first: int) -> list[int]:
    """Of height and width; what has a width alone has `first` in front."""
    return [first, *values] if len(values) == 1 else list(values)


def _window(
    work: Translation, node: onnx.NodeProto, attributes: dict[str, Any], kernel: Sequence[int], channels: int | Size
) -> tuple[str, list[Size]]:
    """`struct window` in C, and height and width of the output."""
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or attributes.get("ceil_mode", 0):
        raise UnsupportedError("pads that follow from the size")
    shape = work.shape(node.input[0])
    image = [_ONE, shape[2]] if len(shape) == 3 else list(shape[2:])
    strides, dilations = _pair(attributes.get("strides", [1, 1]), 1), _pair(attributes.get("dilations", [1, 1]), 1)
    pads = attributes.get("pads", [0] * 4)
    pads = [0, pads[0], 0, pads[1]] if len(pads) == 2 else pads
    out = []
    for axis, word in enumerate(("height", "width")):
        room = image[axis] + (pads[axis] + pads[axis + _PIXELS] - dilations[axis] * (kernel[axis] - 1) - 1)
        hint = f"size.{work.program.named(f'{node.output[0]}_{word}')}" if strides[axis] > 1 else ""
        out.append(work.sizes.floor(room, strides[axis], hint) + 1)
    words = [
        *(size.text() for size in image),
        Size.of(channels).text(),
        *map(str, (*kernel, *strides, *dilations, *pads[:2])),
        *(size.text() for size in out),
    ]
    return f"{{{', '.join(words)}}}", out


def _finish(
    work: Translation, node: onnx.NodeProto, shape: Sequence[Size], order: Sequence[int]
) -> tuple[str, str, list[View]]:
    """What is computed where the result of a node is stored: its name then, `struct finish` in C with a place for the
    bias, and what it reads."""
    name, activation, slope, add = node.output[0], "RAMP", "1", None
    reader = work.sole_reader(name)
    if reader is not None and reader.op_type in _ACTIVATIONS:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in reader.attribute}
        activation, slope = _ACTIVATIONS[reader.op_type]
        if reader.op_type == "LeakyRelu":
            slope = literal(attributes.get("alpha", 0.01))
        name = _taken(work, reader)
        reader = work.sole_reader(name)
    if reader is not None and reader.op_type == "Add":
        (other,) = [operand for operand in reader.input if operand != name] or [""]
        value = work.values.get(other)
        if isinstance(value, View) and value.shape == tuple(shape) and value.rows(order):
            add, name = value, _taken(work, reader)
    finish = f"{{{{{{0}}, {activation}, {slope}, {_pointer(add)}}}}}".replace("{{0}}", "{0}")
    return name, finish, [add] if add else []


_ACTIVATIONS = {"Relu": ("RAMP", "0"), "LeakyRelu": ("RAMP", ""), "HardSwish": ("HARD_SWISH", "0")}


def _taken(work: Translation, node: onnx.NodeProto) -> str:
    work.done.add(node.output[0])
    return str(node.output[0])


def gemm(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """x w + b with constant w."""
    if node.input[1] not in work.constants or attributes.get("transA", 0):
        raise UnsupportedError("weights that are computed, or a left matrix that is transposed")
    if attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
        raise UnsupportedError("a factor")
    matrix = work.constants[node.input[1]]
    biases = work.constants[node.input[2]] if len(node.input) > 2 else None
    if biases is not None and biases.size != biases.shape[-1]:
        raise UnsupportedError("a bias for each row")
    _product_with(work, node, matrix.T if attributes.get("transB", 0) else matrix, biases)


def _product_with(work: Translation, node: onnx.NodeProto, matrix: np.ndarray, biases: np.ndarray | None) -> None:
    """The rows of an array, whatever its other axes, times a constant matrix."""
    x = work.plain(node.input[0])
    depth, columns = matrix.shape
    if x.shape[-1] != Size.of(depth) or (biases is not None and biases.size != columns):
        raise UnsupportedError("a matrix of another size")
    rows = _ONE
    for size in x.shape[:-1]:
        rows = rows * size
    shape = [*x.shape[:-1], Size.of(columns)]
    result, finish, reads = _finish(work, node, shape, range(len(shape)))
    out = work.program.array(result, shape)
    own = work.program.constant(pack.panels(matrix))
    bias = None if biases is None else work.program.constant(pack.bias(biases.ravel()))
    lines = [
        f"const struct finish f = {finish.format(_pointer(bias))};",
        f"simd->gemm({x.address()}, {rows.text()}, {depth}, {own.address()}, {depth}, {columns}, &f, {out.address()}, "
        f"{columns});",
    ]
    work.program.step(f"{result}: {depth} to {columns}", lines, [x, *reads], [out])
    work.give(result, out)


def matmul(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    left, right = node.input
    if right in work.constants and work.constants[right].ndim == 2:
        _product_with(work, node, work.constants[right], None)
        return
    a, b = work.array(left), work.array(right)
    rank = max(len(a.shape), len(b.shape))
    a, b = (_ranked(view, rank) for view in (a, b))
    if a.shape[-1] != b.shape[-2] or any(
        one != two and one.number != 1 and two.number != 1 for one, two in zip(a.shape[:-2], b.shape[:-2], strict=True)
    ):
        raise UnsupportedError("matrices of other sizes")
    # (a b) is (b' a')', where ' swaps the last two axes: the matrix whose rows are read stands left, and the other one
    # is packed, which should be the smaller.
    if b.strides[-2].number == 1 and all(size.number == 1 for size in a.shape[:-2]) and _rows_merge(b):
        out = _multiplied(work, node.output[0], _swapped(b), _swapped(a))
        work.give(node.output[0], _swapped(out))
        return
    if a.strides[-1].number != 1:
        a = _ranked(work.plain(left), rank)
    work.give(node.output[0], _multiplied(work, node.output[0], a, b))


def _rows_merge(view: View) -> bool:
    """Whether the columns of all matrices of an array lie at equal distances."""
    *axes, _, last = range(len(view.shape))
    step = view.strides[last] * view.shape[last]
    for axis in reversed(axes):
        if view.shape[axis].number != 1:
            if view.strides[axis] != step:
                return False
            step = step * view.shape[axis]
    return True


def _ranked(view: View, rank: int) -> View:
    missing = rank - len(view.shape)
    return View(view.buffer, (_ONE,) * missing + view.shape, (_ZERO,) * missing + view.strides, view.offset)


def _swapped(view: View) -> View:
    shape, strides = view.shape, view.strides
    return View(
        view.buffer, (*shape[:-2], shape[-1], shape[-2]), (*strides[:-2], strides[-1], strides[-2]), view.offset
    )


def _multiplied(work: Translation, name: str, a: View, b: View) -> View:
    """The product of each matrix of `a`, whose rows lie each in one piece, with one of `b`."""
    batch = tuple(two if one.number == 1 else one for one, two in zip(a.shape[:-2], b.shape[:-2], strict=True))
    rows, depth, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    out = work.program.array(name, (*batch, rows, columns))
    scratch = _scratch(work, name, depth * 4 * pack.PANEL)
    axes = [axis for axis, size in enumerate(batch) if size.number != 1]
    if all(size.number == 1 for size in b.shape[:-2]) and axes and _rows_merge(_swapped(a)):
        for axis in axes:
            rows = rows * batch[axis]
        axes = []
    lines = []
    places = []
    for depth_of_loop, axis in enumerate(axes):
        index = "ijkl"[depth_of_loop]
        size = batch[axis].text()
        lines.append(f"{'    ' * depth_of_loop}for (size_t {index} = 0; {index} < {size}; {index}++)")
        places.append((index, axis))
    pointers = []
    for view in (a, b, out):
        steps = [
            f"{index} * {view.strides[axis].text()}"
            for index, axis in places
            if view.shape[axis].number != 1 and view.strides[axis].number != 0
        ]
        pointers.append(" + ".join([view.address(), *steps]))
    lines.append(
        f"{'    ' * len(axes)}sp_matmul(simd, {pointers[0]}, {rows.text()}, {a.strides[-2].text()}, {pointers[1]}, "
        f"{b.strides[-2].text()}, {b.strides[-1].text()}, {depth.text()}, {columns.text()}, {pointers[2]}, "
        f"{columns.text()}, {scratch.address()});"
    )
    work.program.step(f"{name}: {rows.text()} x {depth.text()} x {columns.text()}", lines, [a, b], [out, scratch])
    return out


def _pool(function: str) -> Any:
    def pool(work: Translation, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        if any(step != 1 for step in attributes.get("dilations", [])) or attributes.get("storage_order", 0):
            raise UnsupportedError("gaps between what is pooled")
        rank = len(work.shape(node.input[0]))
        x = work.ordered(node.input[0], _channels_last(rank))
        kernel = _pair(attributes["kernel_shape"], 1)
        window, (height, width) = _window(work, node, attributes, kernel, x.shape[1])
        shape = [_ONE, x.shape[1], height, width]
        if rank == 3:
            del shape[2]
        out = work.program.array(node.output[0], shape, _channels_last(rank))
        count = f", {attributes.get('count_include_pad', 0)}" if function == "sp_average_pool" else ""
        lines = [
            f"const struct window w = {window};",
            f"{function}(&w, {x.address()}{count}, {out.address()});",
        ]
        work.program.step(f"{node.output[0]}: {'x'.join(map(str, kernel))}", lines, [x], [out])
        work.give(node.output[0], out)

    return pool


average_pool = _pool("sp_average_pool")
max_pool = _pool("sp_max_pool")
