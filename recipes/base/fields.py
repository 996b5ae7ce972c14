"""What fields of a specification may hold, read strictly: nothing is taken for what it is not."""

from math import isfinite
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

STRICT = ConfigDict(extra="forbid", strict=True)


def finite(value: float) -> float:
    if not isfinite(value):
        raise ValueError("must be finite")
    return value


# What pydantic says of a value, and how that is said here.
_IN_WORDS = {
    "Value error, ": "",
    "Input should": "must",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text",
    "a valid boolean": "true or false",
}


def complaint(message: str) -> str:
    """What pydantic says of a value, for those who know nothing of it."""
    for theirs, ours in _IN_WORDS.items():
        message = message.replace(theirs, ours)
    return message


Positive = Annotated[float, Field(gt=0), AfterValidator(finite)]
NotNegative = Annotated[float, Field(ge=0), AfterValidator(finite)]
# What ONNX, Core ML and Python all take.
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Axes = tuple[Name | Annotated[int, Field(gt=0)], ...]
