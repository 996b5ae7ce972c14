"""JSON as plain data, held to what JSON is: no NaN, no half of a surrogate pair, no nesting without end."""

import json
from math import isfinite
from typing import Any, NoReturn

# Twice what the deepest of the project's own files needs.
_MOST_LEVELS = 24


def read(text: str | bytes) -> object:
    """The value of a JSON text; raises ValueError, which says why, for what is none or lies outside these bounds."""
    try:
        data = json.loads(text, parse_constant=_constant)
    except RecursionError:
        raise ValueError(f"it is nested over {_MOST_LEVELS} levels deep") from None
    _check(data)
    return data


def finite(value: Any) -> Any:
    """Ready for `json.dumps`: what is no finite number becomes null."""
    if isinstance(value, dict):
        return {str(key): finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, and JSON knows finite numbers alone")


def _check(data: object) -> None:
    """Level by level, since what is nested deep would exhaust a function that calls itself."""
    level = [data]
    for _ in range(_MOST_LEVELS + 1):
        if not level:
            return
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below += value.keys()
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, float) and not isfinite(value):
                raise ValueError("it holds a number that is not finite in float64")
            elif isinstance(value, str) and not value.isascii():
                _check_text(value)
        level = below
    raise ValueError(f"it is nested over {_MOST_LEVELS} levels deep")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"it holds half of a surrogate pair, U+{ord(text[error.start]):04X}") from None
