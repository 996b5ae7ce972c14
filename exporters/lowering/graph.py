"""A model as a graph of layers (torch.fx), and the few questions and changes that all rewrites share.

Nothing here changes the model that was traced: the graph shares its tensors and layers, and whoever rewrites puts new
ones in their place.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node, symbolic_trace

Function = Callable[..., object]

# In a node's `meta`: see `exporters.lowering.outputs`.
MARK = "float32_through"


def trace(model: nn.Module) -> GraphModule:
    """The graph of a model in evaluation mode; PyTorch's own layers are its leaves.

    Raises torch.fx.proxy.TraceError where the model's Python depends on numbers or sizes; a function that does is made
    a leaf by `torch.fx.wrap`.
    """
    return symbolic_trace(model.eval())


class _Shapes(Interpreter):
    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph)
        self.found: dict[Node, tuple[int, ...]] = {}

    def run_node(self, node: Node) -> Any:
        value = super().run_node(node)
        if isinstance(value, Tensor):
            self.found[node] = tuple(value.shape)
        return value


def find_shapes(graph: GraphModule, example: Tensor, *others: Tensor) -> None:
    """Run the graph and note what each node gives: `shape` reads it for `example`, `varying` what others change."""
    kind = next((tensor.dtype for tensor in graph.state_dict().values() if tensor.is_floating_point()), example.dtype)
    found = []
    with torch.no_grad():
        for each in (example, *others):
            run = _Shapes(graph)
            run.run(each.to(kind))
            found.append(run.found)
    for node, sizes in found[0].items():
        node.meta["shape"] = sizes
        node.meta["varying"] = {
            axis for other in found[1:] for axis, size in enumerate(sizes) if other[node][axis] != size
        }


def shape(node: Node) -> tuple[int, ...]:
    """For the first example of `find_shapes`, kept through the rewrites; only its length holds for other inputs."""
    found: tuple[int, ...] = node.meta["shape"]
    return found


def varying(node: Node) -> set[int]:
    """The axes whose sizes go with the input's, all of them where that is not known."""
    found: set[int] = node.meta.get("varying", set(range(len(shape(node)))))
    return found


def owner(node: Node) -> GraphModule:
    found = node.graph.owning_module
    assert isinstance(found, GraphModule)
    return found


def layer(node: object) -> nn.Module | None:
    """The layer that a node calls."""
    if not isinstance(node, Node) or node.op != "call_module":
        return None
    return owner(node).get_submodule(str(node.target))


def constant(node: object) -> Tensor | None:
    """The parameter or buffer that a node stands for."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    path, _, name = str(node.target).rpartition(".")
    found = getattr(owner(node).get_submodule(path), name)
    return found if isinstance(found, Tensor) else None


def calls(node: object, *functions: Function | str) -> bool:
    """Whether a node calls one of these functions, or a tensor's method of one of these names."""
    if not isinstance(node, Node) or node.op not in ("call_function", "call_method"):
        return False
    return node.target in functions


def arguments(node: Node, *names: str, **defaults: Any) -> dict[str, Any]:
    """A node's arguments by name: `names` in their order, what is not given from `defaults`."""
    return defaults | dict(zip(names, node.args, strict=False)) | dict(node.kwargs)


def feeds_only(node: Node, user: Node) -> bool:
    return set(node.users) == {user}


def nodes(graph: GraphModule) -> Iterator[Node]:
    """In order, as they stood at the start: a rewrite may take some out meanwhile, which are then passed over."""
    for node in list(graph.graph.nodes):
        if not node._erased:
            yield node


def call_layer(before: Node, place: str, new: nn.Module, *inputs: Node) -> Node:
    """A call of a new layer, ahead of a node. It is named `place`, or with a number behind where that is taken."""
    graph = owner(before)
    name = _free_name(graph, place)
    graph.add_submodule(name, new.eval())
    with graph.graph.inserting_before(before):
        return graph.graph.call_module(name, inputs)


def change_layer(node: Node, new: nn.Module) -> None:
    """Let a node call `new` in place of its layer; other calls of that layer stay as they are."""
    graph = owner(node)
    target = str(node.target)
    if any(other.op == "call_module" and other.target == target for other in graph.graph.nodes if other is not node):
        node.target = target = _free_name(graph, target)
    graph.add_submodule(target, new.eval())


def new_constant(before: Node, place: str, value: Tensor) -> Node:
    """A node that stands for `value`, ahead of another."""
    graph = owner(before)
    name = _free_name(graph, place)
    path, _, last = name.rpartition(".")
    if path and not _has(graph, path):
        graph.add_submodule(path, nn.Module())
    graph.get_submodule(path).register_buffer(last, value.detach())
    with graph.graph.inserting_before(before):
        return graph.graph.get_attr(name)


def call(before: Node, function: Function, *inputs: Any) -> Node:
    with owner(before).graph.inserting_before(before):
        return owner(before).graph.call_function(function, inputs)


def call_behind(node: Node, function: Function, *arguments: Any) -> Node:
    """Call a function of what a node gives; all that read the node read that."""
    with owner(node).graph.inserting_after(node):
        behind = owner(node).graph.call_function(function, (node, *arguments))
    node.replace_all_uses_with(behind, delete_user_cb=lambda user: user is not behind)
    return behind


def take_over(new: Node, old: Node) -> None:
    """All users of `old` read `new` instead, and what only it needed goes."""
    for key in ("shape", "varying", MARK):
        if key in old.meta:
            new.meta[key] = old.meta[key]
    old.meta.pop(MARK, None)
    old.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    drop(old)


def marked(node: Node) -> bool:
    return MARK in node.meta


def drop(node: Node) -> None:
    """Take out a node that nothing reads, and what only it needed; its mark goes to what it was made of."""
    if node._erased or node.users or node.op in ("placeholder", "output"):
        return
    inputs = node.all_input_nodes
    node.graph.erase_node(node)
    for maker in inputs:
        if marked(node) and maker.op != "get_attr":
            maker.meta[MARK] = True
    for maker in inputs:
        drop(maker)


def finish(graph: GraphModule) -> None:
    """Compile a rewritten graph, without the layers and tensors that nothing uses any more."""
    graph.graph.lint()
    graph.delete_all_unused_submodules()
    used = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    inside = tuple(f"{node.target}." for node in graph.graph.nodes if node.op == "call_module")
    for name in [*dict(graph.named_parameters()), *dict(graph.named_buffers())]:
        if name not in used and not name.startswith(inside):
            path, _, last = name.rpartition(".")
            delattr(graph.get_submodule(path), last)
    graph.recompile()


def place(node: Node) -> str:
    """Where a node is, as a user would say it: the layer or tensor by its name in the model."""
    target = node.target if node.op in ("call_module", "get_attr") else node.name
    return str(target)


def _free_name(graph: GraphModule, wanted: str) -> str:
    name, number = wanted, 1
    while _has(graph, name):
        number += 1
        name = f"{wanted}_{number}"
    return name


def _has(graph: GraphModule, name: str) -> bool:
    part: object = graph
    for word in name.split("."):
        if not hasattr(part, word):
            return False
        part = getattr(part, word)
    return True


def same_kind(value: Tensor, like: Tensor) -> nn.Parameter:
    """A computed weight in the precision of the one that it replaces."""
    return nn.Parameter(value.to(like.dtype).contiguous(), requires_grad=False)
