"""`.json` in the reference format, of which a comparison needs the schema and the cases' outputs alone."""

from math import prod
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, FailFast, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from recipes.base.errors import UserError
from recipes.base.fields import complaint
from validators.dumps.dump import Dump
from validators.reference.format import OutputPort, Values
from validators.reference.load import read_values

MOST_ELEMENTS = 2**27
# Of a text, and of what stands between its numbers, and in its objects and lists: each takes up to 100 bytes of memory,
# or thousands where it is one of those that are wrong.
_MOST_BYTES = 2**28
_MOST = {b",": 10**7, b":": 10**5, b"{": 10**5, b"[": 10**5}

_LENIENT = ConfigDict(extra="ignore", strict=True)


@dataclass(frozen=True, config=_LENIENT)
class _Case:
    name: Annotated[str, Field(min_length=1)]
    outputs: Annotated[dict[str, Values], Field(min_length=1)]


@dataclass(frozen=True, config=_LENIENT)
class _Answers:
    schema: Literal["soundport.reference/1"]
    cases: Annotated[tuple[_Case, ...], Field(min_length=1), FailFast()]
    outputs: Annotated[tuple[OutputPort, ...], FailFast()] = ()


def read(path: Path, content: bytes) -> Dump:
    """Every case by its name. The sounds and the facts of the model may be missing, as in what an app writes."""
    if len(content) > _MOST_BYTES or any(content.count(sign) > most for sign, most in _MOST.items()):
        raise UserError(
            f"{path}: holds more numbers or names than are read of JSON (10,000,000 and 100,000, in 256 MiB); write it "
            "as .npz"
        )
    try:
        answers = TypeAdapter(_Answers).validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "top level"
        raise UserError(
            f"{path}: {place}: {complaint(first['msg'])}; it must be in the format of reference.json, "
            "with schema and cases"
        ) from None
    cases = {}
    for case in answers.cases:
        if case.name in cases:
            raise UserError(f"{path}: two cases are called {case.name!r}; give each its own name")
        for name, entry in case.outputs.items():
            if prod(entry.shape) > MOST_ELEMENTS:
                raise UserError(
                    f"{path}: case {case.name}: {name}: has the shape {list(entry.shape)}; arrays of at most "
                    f"{MOST_ELEMENTS} elements are read"
                )
        where = f"{path}: case {case.name}"
        cases[case.name] = {
            name: read_values(path.parent, f"{where}: {name}", entry) for name, entry in case.outputs.items()
        }
    return Dump(cases, answers.outputs)
