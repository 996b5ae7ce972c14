"""A PyTorch model with all its intermediate values: an exported program, run operator by operator.

Hooks on modules would see layers alone, and not the functions between them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Interpreter, Node

from validators.runners.runner import RunnerError, shortened
from validators.traces.parameters import Parameter
from validators.traces.trace import Op, Trace, unreached

_KINDS = "biuf"
_SIMPLE = (bool, int, float, str, type(None), torch.dtype)


def trace_model(model: nn.Module, inputs: Mapping[str, np.ndarray], source: str) -> Trace:
    """Run a model that takes these inputs in this order, and gives a tensor, several, or a mapping of them.

    Raises RunnerError for a model that cannot be exported.
    """
    fed = tuple(torch.from_numpy(np.ascontiguousarray(value)) for value in inputs.values())
    try:
        with torch.inference_mode(False), torch.no_grad():
            program = torch.export.export(model.eval(), fed)
    except Exception as error:  # torch.export has many
        raise RunnerError(f"PyTorch cannot export the {source} model: {shortened(error)}") from error
    return trace_program(program, inputs, source)


def trace_program(program: ExportedProgram, inputs: Mapping[str, np.ndarray], source: str) -> Trace:
    """Run a program and keep what each operator gives; outputs have the names of the mapping, else of the graph."""
    graph = program.module()
    assert isinstance(graph, GraphModule)
    kept = _Kept(graph)
    with torch.no_grad():
        answer = kept.run(*(torch.from_numpy(np.ascontiguousarray(value)) for value in inputs.values()))
    placeholders = [node.name for node in graph.graph.nodes if node.op == "placeholder"]
    called = dict(zip(placeholders, inputs, strict=True)) | _outputs(graph, answer)
    ops = [
        Op(
            node.name,
            str(node.target),
            tuple(called.get(one.name, one.name) for one in node.all_input_nodes),
            (called.get(node.name, node.name),),
            dict(_parameters(node)),
        )
        for node in graph.graph.nodes
        if node.op == "call_function"
    ]
    values = {called.get(name, name): value for name, value in kept.values.items()}
    fixed = unreached(ops, set(inputs)) | {node.name for node in graph.graph.nodes if node.op == "get_attr"}
    return Trace(
        source=source,
        runtime="pytorch",
        inputs=tuple(inputs),
        outputs=tuple(_names(graph, answer, called)),
        ops=tuple(op for op in ops if not set(op.outputs) <= fixed),
        values={name: value for name, value in values.items() if name not in fixed},
        constants={name: value for name, value in values.items() if name in fixed},
    )


class _Kept(Interpreter):
    """Keeps what each node gives, as it was then: what works in place would change it."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph)
        self.values: dict[str, np.ndarray] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and n.op != "output":
            array = value.detach().numpy() if not value.is_complex() else None
            if array is not None and array.dtype.kind in _KINDS:
                self.values[n.name] = array.copy()
        return value


def _results(graph: GraphModule) -> list[Node]:
    """The nodes whose values go out, in the order in which a flattened answer has them."""
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    found: list[Node] = []
    torch.fx.node.map_arg(output.args, lambda node: found.append(node))
    return found


def _outputs(graph: GraphModule, answer: object) -> dict[str, str]:
    """What each result is called in the mapping that the model gives."""
    if not isinstance(answer, Mapping):
        return {}
    return {node.name: str(name) for node, name in zip(_results(graph), answer, strict=True)}


def _names(graph: GraphModule, answer: object, called: Mapping[str, str]) -> Iterator[str]:
    if isinstance(answer, Mapping):
        yield from map(str, answer)
    else:
        yield from (called.get(node.name, node.name) for node in _results(graph))


def _parameters(node: Node) -> Iterator[tuple[str, Parameter]]:
    """What an operator is told beside its tensors, by the names of its schema."""
    schema = getattr(node.target, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema is not None else []
    for place, value in enumerate(node.args):
        if _plain(value):
            yield (names[place] if place < len(names) else f"argument {place}"), _parameter(value)
    yield from ((name, _parameter(value)) for name, value in node.kwargs.items() if _plain(value))


def _plain(value: object) -> bool:
    return isinstance(value, _SIMPLE) or (isinstance(value, (list, tuple)) and all(map(_plain, value)))


def _parameter(value: object) -> Parameter:
    if isinstance(value, (list, tuple)):
        return [_parameter(one) for one in value]
    return value if isinstance(value, (bool, int, float)) else str(value)
