"""What a config may say about one pad node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from exporters.coreml.pads.lowering import HANDLERS
from exporters.coreml.pads.node import MODES, Amounts, PadError


@dataclass(frozen=True)
class PadOverride:
    """Replaces what the graph says about one pad; None leaves the graph's word.

    `pad`: (before, after) for every axis of the padded tensor, first axis first.
    `mode`: one of MODES. `value`: what a constant pad writes. `handler`: a name in HANDLERS.
    """

    pad: Amounts | None = None
    mode: str | None = None
    value: float | None = None
    handler: str | None = None

    def __str__(self) -> str:
        said = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{name}={value}" for name, value in said if value is not None)


def parse_overrides(config: Mapping[str, Mapping[str, Any]]) -> dict[str, PadOverride]:
    """Read the overrides of a config: node name to `{pad: [[0, 0], [512, 512]], mode: reflect, ...}`.

    Raises PadError, naming the node, for an unknown key, mode or handler and for malformed amounts.
    """
    return {name: _parse(name, entry) for name, entry in config.items()}


def _parse(name: str, entry: Mapping[str, Any]) -> PadOverride:
    known = [field.name for field in fields(PadOverride)]
    if not isinstance(name, str) or not isinstance(entry, Mapping) or not entry:
        raise PadError(f"pad override {name!r}: expected a node name (quote a number) and a mapping of {known}")
    if unknown := sorted(set(entry) - set(known)):
        raise PadError(f"pad override {name!r}: unknown key {unknown[0]!r}, expected one of {known}")
    _one_of(name, "mode", entry.get("mode"), MODES)
    _one_of(name, "handler", entry.get("handler"), tuple(HANDLERS))
    value = entry.get("value")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise PadError(f"pad override {name!r}: value {value!r} is not a number")
    pad = None if entry.get("pad") is None else _amounts(name, entry["pad"])
    return PadOverride(pad, entry.get("mode"), None if value is None else float(value), entry.get("handler"))


def _one_of(name: str, key: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise PadError(f"pad override {name!r}: unknown {key} {value!r}, expected one of {', '.join(allowed)}")


def _amounts(name: str, pad: Any) -> Amounts:
    pairs = pad if isinstance(pad, list | tuple) else ()
    if not pairs or not all(isinstance(p, list | tuple) and [type(v) for v in p] == [int, int] for p in pairs):
        raise PadError(
            f"pad override {name!r}: pad must be one [before, after] pair of whole numbers per axis, "
            f"first axis first, got {pad!r}"
        )
    return tuple((before, after) for before, after in pairs)
