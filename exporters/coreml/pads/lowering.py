"""The handlers that write a pad, and the plan that picks among them axis by axis.

What Core ML's own `pad` takes is in its reference
(https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html) and, for the limit to the
last two dimensions, in https://github.com/apple/coremltools/issues/2576. Everything else is joined from slices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import Var

from exporters.coreml.pads.node import MODES, Amounts, PadError, PadNode

FLOATS = {"fp16": np.float16, "fp32": np.float32}


@dataclass(frozen=True)
class Handler:
    """One way to pad.

    `refuses(node, axis)`: why it cannot pad that axis exactly, or None where it can.
    `write(x, node, amounts, name)`: the padded tensor; `amounts` are those of this handler's axes, zero elsewhere.
    """

    refuses: Callable[[PadNode, int], str | None]
    write: Callable[[Var, PadNode, Amounts, str], Var]


@dataclass(frozen=True)
class Step:
    """One operation of a plan: `handler` is a name in HANDLERS or "crop"; `why` says what ruled out the others."""

    handler: str
    amounts: Amounts
    why: str


def plan(node: PadNode, handler: str | None = None) -> tuple[Step, ...]:
    """Decide how `node` is written; empty where it changes nothing. `handler` is used for every axis when given.

    PyTorch wraps what is left after the crops of a circular pad, but reflects and replicates before it crops.
    Raises PadError for what PyTorch refuses too, at any size the axis can have, and for a `handler` that cannot.
    """
    _check(node)
    chosen = {axis: _choose(node, axis, handler) for axis, pair in enumerate(node.amounts) if max(pair) > 0}
    steps = []
    for name in HANDLERS:
        reasons = {axis: why for axis, (picked, why) in chosen.items() if picked == name}
        if reasons:
            borders = tuple(
                (max(before, 0), max(after, 0)) if axis in reasons else (0, 0)
                for axis, (before, after) in enumerate(node.amounts)
            )
            steps.append(Step(name, borders, "; ".join(dict.fromkeys(reasons.values()))))
    crops = tuple((min(before, 0), min(after, 0)) for before, after in node.amounts)
    if any(min(pair) < 0 for pair in crops):
        crop = Step("crop", crops, "negative amounts crop")
        steps = [crop, *steps] if node.mode == "circular" else [*steps, crop]
    return tuple(steps)


def write(x: Var, node: PadNode, steps: tuple[Step, ...]) -> Var:
    """Write the steps of a plan; the last operation carries the node's name.

    Integers and booleans never pass through floats, which hold no more than 24 bits (11 at float16).
    """
    if not steps:
        return mb.identity(x=x, name=node.name)
    as_integer = node.dtype not in (*FLOATS, "int32")
    if as_integer:
        x = mb.cast(x=x, dtype="int32")
    for number, step in enumerate(steps):
        name = node.name if step is steps[-1] and not as_integer else f"{node.name}_{number}_{step.handler}"
        x = (
            _crop(x, step.amounts, name)
            if step.handler == "crop"
            else HANDLERS[step.handler].write(x, node, step.amounts, name)
        )
    return mb.cast(x=x, dtype=node.dtype, name=node.name) if as_integer else x


def _choose(node: PadNode, axis: int, handler: str | None) -> tuple[str, str]:
    if handler is not None:
        if handler not in HANDLERS:
            raise PadError(f"{node.name}: unknown handler {handler!r}, expected one of {', '.join(HANDLERS)}")
        if reason := HANDLERS[handler].refuses(node, axis):
            raise PadError(f"{node.name}: handler {handler!r} cannot write axis {axis}: {reason}")
        return handler, "named by the config"
    reasons: list[str] = []
    for name, candidate in HANDLERS.items():
        reason = candidate.refuses(node, axis)
        if reason is None:
            return name, "; ".join(reasons) or f"Core ML takes {node.mode} here as it is"
        reasons.append(reason)
    raise PadError(f"{node.name}: no handler can write axis {axis}: {'; '.join(reasons)}")


def _check(node: PadNode) -> None:
    if node.mode not in MODES:
        raise PadError(f"{node.name}: unknown pad mode {node.mode!r}, expected one of {', '.join(MODES)}")
    if len(node.amounts) != node.rank:
        raise PadError(
            f"{node.name}: {len(node.amounts)} pairs of pad amounts for a tensor of rank {node.rank}; "
            "give one [before, after] pair per axis"
        )
    for axis, ((before, after), size) in enumerate(zip(node.amounts, node.sizes, strict=True)):
        if size is None:
            continue
        where = f"{node.name}: {node.mode} pad of ({before}, {after}) on axis {axis}, which can be as small as {size}"
        if size + before + after < 1:
            raise PadError(f"{where}, would leave nothing; raise the lower bound of the axis")
        limit = {"reflect": size - 1, "circular": size + min(before, 0) + min(after, 0)}.get(node.mode)
        if limit is not None and max(before, after) > max(limit, 0):
            raise PadError(f"{where}, is possible up to {limit} only; raise the lower bound of the axis or pad less")


def _native_refuses(node: PadNode, axis: int) -> str | None:
    size = node.sizes[axis]
    if node.dtype not in FLOATS:
        return "Core ML pads floats only"
    if node.mode == "constant":
        return None
    if node.mode == "circular":
        return "Core ML has no circular pad"
    if axis < node.rank - 2:
        return f"Core ML takes {node.mode} on the last two axes only"
    if size is None:
        return "the lower bound of the axis is unknown"
    if node.mode == "replicate" and max(node.amounts[axis]) > size:
        return "Core ML replicates no more than the axis holds"
    return None


def _native(x: Var, node: PadNode, amounts: Amounts, name: str) -> Var:
    value = FLOATS[node.dtype](node.value)
    return mb.pad(x=x, pad=np.ravel(amounts).tolist(), mode=node.mode, constant_val=value, name=name)


def _joined(x: Var, node: PadNode, amounts: Amounts, name: str) -> Var:
    """Pad one axis after the other: a border, the tensor, a border."""
    axes = [axis for axis, pair in enumerate(amounts) if max(pair) > 0]
    for axis in axes:
        before, after = _borders(x, node, axis, *amounts[axis])
        values = [part for part in (before, x, after) if part is not None]
        x = mb.concat(values=values, axis=axis, name=name if axis == axes[-1] else f"{name}_axis{axis}")
    return x


def _borders(x: Var, node: PadNode, axis: int, before: int, after: int) -> tuple[Var | None, Var | None]:
    """The two borders of `x` on `axis`, None for an empty one. Ends are counted from the end: sizes may be flexible."""

    def part(begin: int | None, end: int | None) -> Var:
        return _slice(x, {axis: (begin, end)})

    def repeated(edge: Var, times: int) -> Var:
        return mb.tile(x=edge, reps=[times if i == axis else 1 for i in range(x.rank)])

    def reflected(begin: int, end: int) -> Var:
        return mb.reverse(x=part(begin, end), axes=[axis])

    def filled(times: int) -> Var:
        value = np.int32(node.value) if node.dtype not in FLOATS else FLOATS[node.dtype](node.value)
        return mb.fill_like(ref_tensor=repeated(part(0, 1), times), value=value)

    makers: dict[str, tuple[Callable[[], Var], Callable[[], Var]]] = {
        "constant": (lambda: filled(before), lambda: filled(after)),
        "reflect": (lambda: reflected(1, 1 + before), lambda: reflected(-1 - after, -1)),
        "replicate": (lambda: repeated(part(0, 1), before), lambda: repeated(part(-1, None), after)),
        "circular": (lambda: part(-before, None), lambda: part(0, after)),
    }
    first, last = makers[node.mode]
    return first() if before else None, last() if after else None


def _crop(x: Var, amounts: Amounts, name: str) -> Var:
    spans = {axis: (-before or None, after or None) for axis, (before, after) in enumerate(amounts)}
    return _slice(x, spans, name=name)


def _slice(x: Var, spans: dict[int, tuple[int | None, int | None]], **named: str) -> Var:
    """x[..., begin:end, ...] on the named axes, Python's way: None is an open end, a negative counts from the end."""
    begins, ends = zip(*(spans.get(axis, (None, None)) for axis in range(x.rank)), strict=True)
    return mb.slice_by_index(
        x=x,
        begin=[begin or 0 for begin in begins],
        end=[end or 0 for end in ends],
        begin_mask=[begin is None for begin in begins],
        end_mask=[end is None for end in ends],
        **named,
    )


HANDLERS = {
    "pad": Handler(_native_refuses, _native),
    "concat": Handler(lambda node, axis: None, _joined),
}
"""In order of preference: the first that does not refuse an axis writes it."""
