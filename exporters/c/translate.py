"""From an ONNX graph to a program: what its operators come to for one clip, and what is fused on the way.

Whatever only views an array in another way costs nothing: transposed, sliced, with other axes. What is computed element
by element is put off until it is read, so that a chain of such operators is one loop. An activation after a product or
a convolution, and a sum with an array that is there already, are computed where its result is stored.
"""

from __future__ import annotations

import re

import onnx
from onnx import helper

from exporters.c import integers, loops
from exporters.c.operators import OPERATORS
from exporters.c.program import Integers, Program, UnsupportedError, View
from exporters.c.sizes import Size, Sizes
from exporters.c.translation import Translation
from recipes.base.fields import NAME

# As the source calls it.
_LENGTH = "size.length"


def program_of(model: onnx.ModelProto, default: int, least: int) -> tuple[Program, View, dict[str, View]]:
    """The program for one clip, what it is fed, and its outputs; `default` is a length that the model takes, `least`
    the shortest.

    What is fed and given are buffers of the caller's. Raises UnsupportedError.
    """
    graph = model.graph
    (tensor,) = graph.input
    dims = tensor.type.tensor_type.shape.dim
    last = dims[-1].dim_value
    length = Size.of(last) if last else Size.named(_LENGTH)
    program = Program(Sizes({} if last else {_LENGTH: default}, {}))
    shape = [Size.of(1), *(Size.of(dim.dim_value) for dim in dims[1:-1]), length]
    for output in graph.output:
        # As it is, it stands in the name of a constant.
        if not re.fullmatch(NAME, output.name):
            raise UnsupportedError(f"the name {output.name!r}, which is none in C")
    fed = program.array(tensor.name, shape, given=True)
    work = Translation(graph, program, fed)
    for node in graph.node:
        if node.output[0] in work.done:
            continue
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        try:
            if node.op_type == "Shape" or all(work.counts(name) for name in node.input if name):
                inputs = [work.value(name) for name in node.input if name]
                work.give(node.output[0], integers.computed(node, inputs, attributes, program.sizes))
            elif node.op_type in OPERATORS:
                OPERATORS[node.op_type](work, node, attributes)
            else:
                raise UnsupportedError(f"the operator {node.op_type}")
        except UnsupportedError as error:
            raise UnsupportedError(f"{node.op_type} {node.output[0]}: {error}") from None
    outputs = {}
    for output in graph.output:
        value = work.value(output.name)
        assert not isinstance(value, Integers)
        outputs[output.name] = program.array(output.name, value.shape, given=True)
        loops.compute(program, output.name, value, outputs[output.name])
    at_least = program.sizes.at_length(_LENGTH, least)
    for name, axes in program.shapes:
        if any(size.at(at_least) < 1 for size in axes):
            raise UnsupportedError(f"nothing is left of {name} at the shortest length")
    return program, fed, outputs
