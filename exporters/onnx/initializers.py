"""The tensors that a graph stores."""

import onnx


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove those that nothing reads, in place."""
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
