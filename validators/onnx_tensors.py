"""The tensors that an ONNX model holds, wherever they stand in it."""

from collections.abc import Iterator
from pathlib import Path

import onnx

from recipes.base import files

# What protobuf reads at most: https://protobuf.dev/programming-guides/proto-limits/#total.
_MOST_BYTES = 2**31


def content(path: Path) -> bytes:
    """The bytes of a model's file; UserError and OSError, as `files.content`, for what is none or too large."""
    return files.content(path, _MOST_BYTES)


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Those of graphs, of graphs within nodes, of functions and what their attributes default to, and of attributes."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    attributes = [attribute for function in model.functions for attribute in function.attribute_proto]
    while graphs or nodes or attributes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
        if nodes:
            attributes += nodes.pop().attribute
        if attributes:
            attribute = attributes.pop()
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            graphs += [attribute.g, *attribute.graphs] if attribute.HasField("g") or attribute.graphs else []


def reads_other_files(model: onnx.ModelProto) -> bool:
    """Whether the runtimes would follow it to other files, which nobody has checked and may be anywhere."""
    return any(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data for tensor in tensors(model))


def computes_float16(model: onnx.ModelProto) -> bool:
    """Whether a weight, an input or a cast of it is of float16."""
    float16 = onnx.TensorProto.FLOAT16
    casts = (node for node in model.graph.node if node.op_type == "Cast")
    return (
        any(tensor.data_type == float16 for tensor in tensors(model))
        or any(value.type.tensor_type.elem_type == float16 for value in model.graph.input)
        or any(attribute.name == "to" and attribute.i == float16 for node in casts for attribute in node.attribute)
    )
