"""The outputs that ship: what only the others need is gone before any rewrite looks, which may then do more.

Where float32 may end (`CoreML.float32_through`) is an output of the faithful model that files need not give. The node
that makes it carries a mark; whatever takes that node's place carries it on, and where nothing does, what it was made
of. A rewrite is free to move numbers past it: what counts is that all up to there stays in float32.
"""

from collections.abc import Sequence
from typing import Any

from torch.fx import GraphModule, Node

from exporters.lowering.graph import MARK, drop, marked, nodes


def choose_outputs(graph: GraphModule, names: Sequence[str], through: str | None) -> None:
    """Leave a traced graph these outputs of its mapping, in this order; mark the one called `through`."""
    output = _output(graph)
    made: Any = output.args[0]
    if through is not None and through not in names:
        made[through].meta[MARK] = True
    output.args = ({name: made[name] for name in names},)
    for node in reversed(list(nodes(graph))):
        drop(node)


def add_marked(graph: GraphModule, through: str | None) -> tuple[str, ...]:
    """Add what is marked to the outputs of a rewritten graph, and give the names that it has there.

    It is computed on the way to others. Raises ValueError where a rewrite has lost the mark.
    """
    output = _output(graph)
    made: Any = output.args[0]
    if through is None or through in made:
        return ()
    found = [node for node in graph.graph.nodes if marked(node)]
    if not found:
        raise ValueError(f"a rewrite has lost where {through} ends; it must let `take_over` or `drop` take nodes out")
    # A mark on the sound itself says that nothing of the front end is computed.
    ends = [node for node in found if node.op != "placeholder"]
    names = [f"{through}_{number}" if number else through for number in range(len(ends))]
    output.args = ({**made, **dict(zip(names, ends, strict=True))},)
    return tuple(names)


def _output(graph: GraphModule) -> Node:
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    return output
