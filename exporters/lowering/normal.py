"""The normal form, so that each rewrite has one spelling of a thing to look for.

- What PyTorch can compute of constants alone is a constant.
- A pooling, or a convolution with constant weights is a layer, whichever function was called.
- Identity and dropout are gone: in evaluation mode they give what they are given.
- Axes are moved by `torch.permute` and added by `torch.unsqueeze`, with all numbers counted from the front.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from exporters.lowering.graph import (
    Function,
    arguments,
    call,
    call_layer,
    calls,
    constant,
    find_shapes,
    layer,
    new_constant,
    nodes,
    owner,
    place,
    shape,
    take_over,
)

_CONVOLUTIONS: dict[object, type[nn.Conv1d] | type[nn.Conv2d]] = {F.conv1d: nn.Conv1d, F.conv2d: nn.Conv2d}
_POOLINGS: dict[object, Callable[..., nn.Module]] = {
    F.avg_pool1d: nn.AvgPool1d,
    F.avg_pool2d: nn.AvgPool2d,
    F.max_pool1d: nn.MaxPool1d,
    F.max_pool2d: nn.MaxPool2d,
}
_AVERAGES = (F.avg_pool1d, F.avg_pool2d)
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)


def normalise(graph: GraphModule, example: Tensor, *others: Tensor) -> None:
    """Bring a traced graph to the normal form, in place; `example` is an input that it takes.

    `others` are inputs of other sizes; where there are none, every input has the example's, but for the batch.
    """
    for node in nodes(graph):
        _fold_constant(node)
    for node in nodes(graph):
        if isinstance(layer(node), _NOTHING):
            take_over(node.all_input_nodes[0], node)
        elif node.target in _CONVOLUTIONS:
            _name_convolution(node)
        elif node.target in _POOLINGS:
            _name_pooling(node)
    find_shapes(graph, example, *others)
    for node in nodes(graph):
        _name_axes(node)


def _fold_constant(node: Node) -> None:
    if node.op not in ("call_function", "call_method") or not node.all_input_nodes:
        return
    inputs = [constant(maker) for maker in node.all_input_nodes]
    values = [value for value in inputs if value is not None]
    if len(values) < len(inputs):
        return
    run = Interpreter(owner(node))
    run.env = dict(zip(node.all_input_nodes, values, strict=True))
    value = run.run_node(node)
    # A constant that is spread out would only make the file larger.
    if isinstance(value, Tensor) and value.numel() <= sum(tensor.numel() for tensor in values):
        take_over(new_constant(node, str(node.all_input_nodes[0].target), value.clone()), node)


def _name_convolution(node: Node) -> None:
    given = arguments(
        node,
        *("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
        **{"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    )
    weight, bias = constant(given["weight"]), constant(given["bias"])
    if weight is None or (bias is None and given["bias"] is not None):
        return
    outputs, inputs, *kernel = weight.shape
    new = _CONVOLUTIONS[node.target](
        inputs * given["groups"],
        outputs,
        tuple(kernel),  # type: ignore[arg-type]
        given["stride"],
        given["padding"],
        given["dilation"],
        given["groups"],
        bias=bias is not None,
        device="meta",
    )
    new.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        new.bias = nn.Parameter(bias, requires_grad=False)
    take_over(call_layer(node, f"{given['weight'].target}_conv", new, given["input"]), node)


def _name_pooling(node: Node) -> None:
    average = ("ceil_mode", "count_include_pad", "divisor_override")
    order = average if node.target in _AVERAGES else ("dilation", "ceil_mode", "return_indices")
    given = arguments(node, "input", "kernel_size", "stride", "padding", *order)
    x = given.pop("input")
    take_over(call_layer(node, f"{place(x)}_pool", _POOLINGS[node.target](**given), x), node)


def _name_axes(node: Node) -> None:
    make = next((make for kinds, make in _AXES if calls(node, *kinds)), None)
    if make is not None and (new := make(node)) is not None:
        take_over(new, node)


def _transpose(node: Node) -> Node:
    given = arguments(node, "input", "dim0", "dim1")
    axes = list(range(len(shape(node))))
    first, second = given["dim0"], given["dim1"]
    axes[first], axes[second] = axes[second], axes[first]
    return call(node, torch.permute, given["input"], tuple(axes))


def _permute(node: Node) -> Node:
    x, *axes = (*node.args, *node.kwargs.values())
    flat: Any = axes[0] if isinstance(axes[0], (tuple, list)) else axes
    return call(node, torch.permute, x, tuple(axis % len(shape(node)) for axis in flat))


def _unsqueeze(node: Node) -> Node:
    given = arguments(node, "input", "dim")
    return call(node, torch.unsqueeze, given["input"], given["dim"] % len(shape(node)))


def _new_axes(node: Node) -> Node | None:
    """`x[:, None]` and the like: nothing but full slices and new axes."""
    x, index = node.args
    words = index if isinstance(index, tuple) else (index,)
    if None not in words or any(word is not None and word != slice(None) for word in words):
        return None
    assert isinstance(x, Node)
    for axis, word in enumerate(words):
        if word is None:
            sizes = shape(x)
            x = call(node, torch.unsqueeze, x, axis)
            x.meta["shape"] = (*sizes[:axis], 1, *sizes[axis:])
    return x


_AXES: tuple[tuple[tuple[Function | str, ...], Callable[[Node], Node | None]], ...] = (
    ((torch.transpose, "transpose"), _transpose),
    ((torch.permute, "permute"), _permute),
    ((torch.unsqueeze, "unsqueeze"), _unsqueeze),
    ((operator.getitem,), _new_axes),
)
