"""The text of `reference.json`: shortest decimals, one case per line, under the size limit."""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from recipes.base.errors import UserError
from validators.compare import Sampled
from validators.reference.format import FILE, MOST_BYTES, SCHEMA, Header

Arrays = Mapping[str, NDArray[np.float32]]

# A digit, a point, a digit and a comma.
_LEAST_BYTES_PER_NUMBER = 4


@dataclass(frozen=True)
class Answered:
    """A case with the model's answers. `whole` keeps every element; of other cases as many as there is room for.

    `kept` names the files that hold outputs whole, by output. `inner` are arrays that such files alone hold.
    """

    name: str
    description: str
    whole: bool
    shape: tuple[int, ...]
    files: list[str]
    kept: Mapping[str, str]
    outputs: Arrays
    inner: Arrays = field(default_factory=dict)


def encode(head: Header, answered: Sequence[Answered], most_bytes: int = MOST_BYTES) -> bytes:
    """All cases, those that need not be whole at the smallest stride with which the file is under `most_bytes`.

    Raises UserError where even the largest strides do not fit.
    """
    sampled = [case for case in answered if not case.whole]
    lines = {case.name: _line(head, case, 1) for case in answered if case.whole}
    room = most_bytes - 1 - len(_assembled(head, [*lines.values(), *([b""] * len(sampled))]))
    shapes = [array.shape for case in sampled for array in case.outputs.values()]
    largest = max((_strides(shape)[-1] for shape in shapes), default=1)

    def fits(level: int) -> bool:
        # Counting numbers first spares writing out millions only to find that they do not fit.
        numbers = sum(prod(shape) // _stride(shape, level) for shape in shapes)
        if numbers * _LEAST_BYTES_PER_NUMBER > room:
            return False
        return sum(len(_line(head, case, level)) for case in sampled) <= room

    # A larger stride gives a shorter text, so that the levels that fit follow those that do not.
    level = 1 + bisect_left(range(1, largest + 1), True, key=fits)
    if level > largest:
        _refuse([len(_line(head, case, largest)) for case in sampled], room, most_bytes)
    lines |= {case.name: _line(head, case, level) for case in sampled}
    return _assembled(head, [lines[case.name] for case in answered])


def _refuse(sizes: list[int], room: int, most_bytes: int) -> None:
    """Raises UserError that says how many cases have to go for the others to fit, the longest first."""
    limit = f"the {most_bytes / 1e6:g} MB that {FILE} may take"
    if room < 0:
        raise UserError(f"the cases that are kept whole alone are over {limit}; make them shorter")
    dropped = 0
    excess = sum(sizes) - room
    for size in sorted(sizes, reverse=True):
        if excess <= 0:
            break
        dropped, excess = dropped + 1, excess - size
    raise UserError(
        f"the answers to {len(sizes)} sounds do not fit into {limit}, not even at the fewest values per sound; "
        f"drop {dropped} of the audio files, the longest first, or cut them"
    )


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Every stride, from 1 up, at which each index of each axis is still visited.

    Being coprime to the last axis's size it visits all of that axis in as many steps as it is long, so that many
    there must be; and being no larger than it, it skips no index of the axes before.
    """
    last, total = shape[-1], prod(shape)
    most = max(1, min(last, total // last))
    return [stride for stride in range(1, most + 1) if all(gcd(stride, size) == 1 for size in shape)]


def _stride(shape: tuple[int, ...], level: int) -> int:
    strides = _strides(shape)
    return next((stride for stride in strides if stride >= level), strides[-1])


def _assembled(head: Header, lines: Sequence[bytes]) -> bytes:
    said = {key: value for key, value in asdict(head).items() if key != "inner" or value}
    top = json.dumps({"schema": SCHEMA, **said}, indent=1, ensure_ascii=False, allow_nan=False)
    opening = top.removesuffix("\n}").encode() + b',\n "cases": [\n'
    return opening + b",\n".join(lines) + b"\n ]\n}\n"


def _line(head: Header, case: Answered, level: int) -> bytes:
    facts = {
        "name": case.name,
        "description": case.description,
        "input": {head.input.name: {"shape": case.shape, "files": case.files}},
    }
    outputs = [
        _output(name, Sampled.of(array, _stride(array.shape, level)), case.kept.get(name))
        for name, array in case.outputs.items()
    ]
    if case.inner:
        inner = {name: {"shape": array.shape, "file": case.kept[name]} for name, array in case.inner.items()}
        facts["inner"] = inner
    opening = json.dumps(facts, ensure_ascii=False).removesuffix("}")
    return f'{opening}, "outputs": {{{", ".join(outputs)}}}}}'.encode()


def _output(name: str, sampled: Sampled, file: str | None) -> str:
    # As text, NumPy writes the shortest decimals that give the same float32 again; all of them are JSON numbers.
    numbers = ",".join(sampled.values.astype(np.str_).tolist())
    kept = "" if file is None else f', "file": "{file}"'
    return f'"{name}": {{"shape": {list(sampled.shape)}, "stride": {sampled.stride}, "values": [{numbers}]{kept}}}'
