"""The handlers in coremltools' PyTorch frontend, for the length of a conversion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import coremltools as ct
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY
from coremltools.converters.mil.mil import Var, types

from exporters.coreml.pads.bounds import smallest_sizes
from exporters.coreml.pads.lowering import plan, write
from exporters.coreml.pads.node import PAD_KINDS, Amounts, PadCall, PadError, PadNode, read_call
from exporters.coreml.pads.pooling import POOL_KINDS, pool_amounts, read_pool, write_pool
from recipes.base.spec import PadOverride


@dataclass(frozen=True)
class Decision:
    """How one node was written. `mode` is a pad mode or "average"; `amounts` is None where they depend on the input."""

    node: str
    mode: str
    amounts: Amounts | None
    handler: str
    why: str
    overridden: bool = False


def graph_passes() -> ct.PassPipeline:
    """coremltools' own, but for the one that takes slices put together for a reflection: pads are decided here.

    It takes a circular pad by the whole length of an axis for a reflection by no samples, of another shape
    (`use_reflection_padding` of coremltools 9.0).
    """
    passes = ct.PassPipeline()
    passes.remove_passes({"common::use_reflection_padding"})
    return passes


@contextmanager
def installed(overrides: Mapping[str, PadOverride] | None = None) -> Iterator[list[Decision]]:
    """Let these handlers write every pad and average pooling that is converted inside the block.

    Yields the decisions, which fill up in the order of the conversion. The operator registry is global to the process:
    on leaving, however the block ends, it is as it was.
    Raises PadError from the conversion for a node that Core ML cannot hold, and at the end of the block for an
    override whose name matched no pad node.
    """
    overrides = overrides or {}
    decisions: list[Decision] = []

    def convert_pad(context: Any, node: Any) -> None:
        result, decision = _convert_pad(context, node, overrides.get(node.name))
        decisions.append(decision)
        context.add(result, torch_name=node.name)

    def convert_pool(context: Any, node: Any) -> None:
        x, pool = read_pool(context, node)
        result, handler, why = write_pool(x, pool)
        decisions.append(Decision(node.name, "average", pool_amounts(x, pool), handler, why))
        context.add(result, torch_name=node.name)

    registry = _TORCH_OPS_REGISTRY.name_to_func_mapping
    handlers = dict.fromkeys(PAD_KINDS, convert_pad) | dict.fromkeys(POOL_KINDS, convert_pool)
    saved = {kind: registry[kind] for kind in handlers if kind in registry}
    registry.update(handlers)
    try:
        yield decisions
    finally:
        for kind in handlers:
            if kind in saved:
                registry[kind] = saved[kind]
            else:
                del registry[kind]
    pads = [decision.node for decision in decisions if decision.mode != "average"]
    if unmatched := [name for name in overrides if name not in pads]:
        raise PadError(
            f"pad override {unmatched[0]!r} matches no pad node; the pad nodes are: {', '.join(pads) or '(none)'}"
            + (" (a pooling's own padding follows the model)" if unmatched[0] in {d.node for d in decisions} else "")
        )


def _convert_pad(context: Any, node: Any, override: PadOverride | None) -> tuple[Var, Decision]:
    call = read_call(context, node)
    if types.is_complex(call.x.dtype):
        raise PadError(f"{node.name}: Core ML pads no complex tensors; pad the real and imaginary parts in the model")
    given = call.amounts()
    amounts = override.pad if override and override.pad is not None else given
    mode = override.mode if override and override.mode is not None else call.mode
    if amounts is None:
        why = "the amounts depend on the input"
        return _write_dynamic(call, node.name, mode), Decision(node.name, mode, None, "pad", why)
    pad_node = PadNode(
        name=node.name,
        mode=mode,
        amounts=amounts,
        value=override.value if override and override.value is not None else call.value,
        sizes=smallest_sizes(context, node, call.x, given),
        dtype=types.builtin_to_string(call.x.dtype),
    )
    steps = plan(pad_node, override.handler if override else None)
    why = "; ".join(step.why for step in steps) or "nothing to pad"
    if override is not None:
        said = ", ".join(f"{key}={value}" for key, value in override.said().items())
        why = f"config says {said}; {why}"
    handler = " + ".join(step.handler for step in steps) or "identity"
    return write(call.x, pad_node, steps), Decision(node.name, mode, amounts, handler, why, override is not None)


def _write_dynamic(call: PadCall, name: str, mode: str) -> Var:
    """Amounts that the model computes: Core ML takes them for one-dimensional tensors only.

    See https://github.com/apple/coremltools/issues/2583. Only a constant pad is right whatever the amounts are.
    """
    if call.x.rank != 1 or mode != "constant" or not types.is_float(call.x.dtype):
        raise PadError(
            f"{name}: the amounts of this {mode} pad depend on the input, which Core ML takes only in constant pads of "
            f"one-dimensional floats (this one has rank {call.x.rank}); fix the input size or override the node's pad"
        )
    amounts = [mb.expand_dims(x=amount, axes=[0]) if amount.rank == 0 else amount for amount in call.pad]
    return mb.pad(x=call.x, pad=mb.concat(values=amounts, axis=0), mode=mode, constant_val=call.value, name=name)
