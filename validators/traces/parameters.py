"""What an op is told beside its arrays: attributes and small constants, exact, and what people see of them."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from pydantic import JsonValue

Parameter: TypeAlias = JsonValue
"""Ready for JSON, but for numbers that are not finite."""

_KINDS = "biuf"
_FEW = 8
_FEW_FRACTIONS = 4


def told(value: np.ndarray) -> Parameter | None:
    """A constant as it is; None where it has too many numbers to be read."""
    if value.size > _FEW:
        return None
    held: Parameter = value.tolist()
    return held if value.dtype.kind in _KINDS else str(held)


def brief(value: Parameter) -> str:
    """For people: fractions at 4 digits, and of more than 4 of them, or 8 whole numbers, the first and the shape.

    Whole numbers are sizes and places, which tell something together: the pads of four axes are eight.
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    if not isinstance(value, list):
        return str(value)
    held = list(_flat(value))
    fractions = any(isinstance(one, float) for one in held)
    if len(held) <= (_FEW_FRACTIONS if fractions else _FEW):
        return f"[{', '.join(map(brief, value))}]"
    return f"[{', '.join(map(brief, held[:_FEW_FRACTIONS]))}, ...] ({'x'.join(map(str, _shape(value)))})"


def apart(one: Parameter, other: Parameter) -> tuple[str, str]:
    """Two that differ in brief, or the first number that differs where so they look alike."""
    first, second = brief(one), brief(other)
    if first != second:
        return first, second
    pairs = enumerate(zip(_flat(one), _flat(other), strict=False))
    place, (x, y) = next((place, pair) for place, pair in pairs if repr(pair[0]) != repr(pair[1]))
    where = f" at place {place}" if isinstance(one, list) else ""
    return f"{x!r}{where}", f"{y!r}{where}"


def _flat(value: Parameter) -> Iterator[Parameter]:
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    else:
        yield value


def _shape(value: Parameter) -> Iterator[int]:
    """Of a list whose parts are alike."""
    while isinstance(value, list) and value:
        yield len(value)
        value = value[0]
