"""One pad of the PyTorch graph, read in the same form whichever frontend and operator it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coremltools.converters.mil.frontend.torch.ops import _get_inputs, _get_kwinputs
from coremltools.converters.mil.mil import Var, types

from recipes.base.errors import UserError

Amounts = tuple[tuple[int, int], ...]
"""(before, after) for each axis, first axis first; a negative amount crops."""

MODES = ("constant", "reflect", "replicate", "circular")

PAD_KINDS: dict[str, str | None] = {
    "pad": None,
    "constant_pad_nd": "constant",
    "reflection_pad1d": "reflect",
    "reflection_pad2d": "reflect",
    "reflection_pad3d": "reflect",
    "replication_pad1d": "replicate",
    "replication_pad2d": "replicate",
    "replication_pad3d": "replicate",
}
"""PyTorch operators that pad, with the mode their name fixes (None: the mode is an argument)."""


class PadError(UserError):
    """A pad, a pooling or an override that cannot be written in Core ML; the message names the node."""


@dataclass(frozen=True)
class PadNode:
    """A pad with constant amounts.

    `sizes` holds the smallest size each axis of the padded tensor can have, None where it cannot be known.
    `dtype` is the MIL name: fp32, fp16, int32, bool.
    """

    name: str
    mode: str
    amounts: Amounts
    value: float
    sizes: tuple[int | None, ...]
    dtype: str

    @property
    def rank(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True)
class PadCall:
    """The arguments of a pad as the PyTorch graph has them; `pad` is PyTorch's list, last axis first."""

    x: Var
    mode: str
    pad: Any
    value: float

    def amounts(self) -> Amounts | None:
        """The amounts of every axis of `x`, or None where one depends on the input of the model."""
        flat = _constants(self.pad)
        if flat is None:
            return None
        pairs = tuple(zip(flat[0::2], flat[1::2], strict=True))[::-1]
        return ((0, 0),) * (self.x.rank - len(pairs)) + pairs


def read_call(context: Any, node: Any) -> PadCall:
    """Read a pad node of coremltools' PyTorch frontend.

    A traced pad has all its arguments in place; an exported one leaves out those at their default.
    Raises PadError for an integer value that the frontend, which reads it as float32, cannot tell from its neighbours.
    """
    inputs = _get_inputs(context, node, min_expected=2)
    fixed = PAD_KINDS[node.kind]
    if fixed is None:
        mode = argument(context, node, inputs, 2, "mode", "constant")
        value = argument(context, node, inputs, 3, "value", None)
    else:
        mode = fixed
        value = argument(context, node, inputs, 2, "value", None)
    if value is not None and types.is_int(inputs[0].dtype) and abs(value) >= 2**24:
        raise PadError(f"{node.name}: coremltools rounds the value {value:.0f} to float32; pad with one below 2**24")
    return PadCall(inputs[0], str(mode), inputs[1], 0.0 if value is None else float(value))


def argument(context: Any, node: Any, inputs: list[Any], index: int, keyword: str, default: Any) -> Any:
    """A constant argument, given in place or by keyword."""
    found = inputs[index] if index < len(inputs) else _get_kwinputs(context, node, keyword, default=[default])[0]
    return found.val if isinstance(found, Var) else found


def _constants(pad: Any) -> list[int] | None:
    values = pad.val if isinstance(pad, Var) else [v.val if isinstance(v, Var) else v for v in pad]
    return None if any(v is None for v in values) else [int(v) for v in values]
