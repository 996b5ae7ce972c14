"""What the tools of SigmaStar's IPU SDK write: the simulator's results, and the tensors of every layer.

Its documentation describes neither format; these are the lines that its public scripts write and read (`simulator.py`,
`DumpDebug/`). docs/compare.md shows both.
"""

import re
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.base.errors import UserError
from validators.arrays import shaped
from validators.compare import Sampled
from validators.dumps import text
from validators.dumps.dump import Dump

# Groups and runs that are never tried again (`(?>`, `*+`): what follows is there or not, however they were matched, and
# a file of a gigabyte is read in one pass.
_RESULT = re.compile(
    rb"(?P<name>[^\n]*?) Tensor:\s*\{\s*"
    rb"tensor dim:\d+,\s*Original shape:\[(?P<shape>[\d ]{0,200})\]"
    rb"(?:,\s*Alignment shape:\[(?P<aligned>[\d ]{0,200})\])?[^\S\n]*+\n\s*+"
    rb"(?:The following tensor data[^\n]*+\n)?\s*+tensor data:[^\S\n]*+\n(?P<numbers>[^}]*+)\}"
)
# unknown_MODEL_INPUT.txt; a model's file ends in .sim or .img.
_RESULT_FILE = re.compile(r"unknown_.*\.(?:sim|img)_(?P<input>.+)\.txt")

_IS_FLOAT = re.compile(rb"\s*isFloat:\s*(\d)\s*\n")
_TENSOR = re.compile(
    rb"//(?P<side>in|out) \d+ (?>[^\n]*?name: )"
    rb"(?>(?P<name>[^\n]*?) bConstant:\s*\d+ shape:\[(?P<shape>[\d, ]{0,200})\])[^\n]*+\n"
    rb"[^\n]*\{[^\S\n]*+\n"
    rb"(?://buffer data size:[^\S\n]*(?P<bytes>\d{1,15})[^\S\n]*\n)?"
)
_BLANKS = re.compile(rb"\s*")
_ENDS = re.compile(rb"[\s};]*")
_FLOAT32_BYTES = 4


def is_result(content: bytes) -> bool:
    """Whether this is what `simulator.py -c Unknown` writes to log/output."""
    return re.match(rb"\s*+[^\n]* Tensor:\s*\{\s*tensor dim:", content[:4096]) is not None


def is_layers(content: bytes) -> bool:
    """Whether this is what `dumpTensor` in DebugConfig.txt makes the simulators write, or DumpDebug's own runners."""
    return re.match(rb"\s*+(isFloat:\s*\d|//(in|out) \d+ s: )", content[:4096]) is not None


def result(path: Path, content: bytes) -> Dump:
    """The outputs of a run of the float, fixed or offline simulator; the case is named after the input's file.

    Rows that are aligned are cut to their own length.
    """
    tensors: dict[str, Sampled] = {}
    position = _past(_BLANKS, content, 0)
    while position < len(content):
        found = _RESULT.match(content, position)
        if found is None:
            raise UserError(
                f"{path}: line {text.line(content, position)}: no whole tensor begins here; is the file cut off?"
            )
        name = _named(path, found, tensors)
        values = _printed(path, content, *found.span("numbers"))
        shape = _shape(found["shape"])
        tensors[name] = _cut(f"{path}: {name}", values, shape, _shape(found["aligned"] or found["shape"]))
        position = _past(_BLANKS, content, found.end())
    named = _RESULT_FILE.fullmatch(path.name)
    return Dump({Path(named["input"]).stem if named else "": tensors}, simulator=True)


def _printed(path: Path, content: bytes, start: int, end: int) -> NDArray[np.float32]:
    """The tensors are float32: a decimal stands for the one that is nearest to it."""
    with np.errstate(over="ignore"):
        return text.numbers(path, content, start, end).astype(np.float32)


def _cut(where: str, values: NDArray[np.generic], shape: tuple[int, ...], aligned: tuple[int, ...]) -> Sampled:
    if len(values) != prod(aligned):
        raise UserError(f"{where}: has {len(values)} numbers, and its shape {list(aligned)} needs {prod(aligned)}")
    if len(shape) != len(aligned) or any(size > most for size, most in zip(shape, aligned, strict=True)):
        raise UserError(f"{where}: the shape {list(shape)} is no part of the aligned one {list(aligned)}")
    return Sampled.of(_shaped(where, values, aligned)[tuple(slice(size) for size in shape)])


def _shaped(where: str, values: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    return shaped(where, values, shape, "C", "is it another tool's?")


def layers(path: Path, content: bytes) -> Dump:
    """The tensors that each layer gives, by name, as binary or as text; those that it takes are others' or constants.

    Raises UserError where there is none, for integers, and for more numbers than the shape has: only the tools know
    which are meant.
    """
    if (kind := _IS_FLOAT.match(content)) and kind[1] == b"0":
        raise UserError(f"{path}: holds integers as the chip has them; dump again with dequantFixed in DebugConfig.txt")
    tensors: dict[str, Sampled] = {}
    for found, start, end in _tensors(path, content):
        if found["side"] == b"in":
            continue
        name = _named(path, found, tensors)
        if found["bytes"] and end - start == int(found["bytes"]):
            values = np.frombuffer(content, "<f4", (end - start) // _FLOAT32_BYTES, start).astype(np.float32)
        else:
            values = _printed(path, content, start, end)
        shape = _shape(found["shape"])
        if len(values) != prod(shape):
            raise UserError(
                f"{path}: {name}: has {len(values)} numbers, and its shape {list(shape)} needs {prod(shape)}; dump "
                "again with eliminateGarbage in DebugConfig.txt"
            )
        tensors[name] = Sampled.of(_shaped(f"{path}: {name}", values, shape))
    if not tensors:
        raise UserError(f"{path}: holds no tensor that a layer gives; is the file cut off?")
    return Dump({"": tensors}, layers=True, simulator=True)


def _tensors(path: Path, content: bytes) -> Iterator[tuple[re.Match[bytes], int, int]]:
    """Each tensor's heading, and where its numbers are."""
    position = _past(_IS_FLOAT, content, 0)
    while (position := _past(_ENDS, content, position)) < len(content):
        found = _TENSOR.match(content, position)
        if found is None:
            raise UserError(f"{path}: byte {position}: no whole tensor begins here; is the file cut off?")
        start = found.end()
        size = int(found["bytes"] or 0)
        # Binary numbers are exactly as long as said, and then comes the bracket; as text they are longer.
        if size and content[start + size : start + size + 4].lstrip()[:1] == b"}":
            end = start + size
        elif (end := content.find(b"}", start)) < 0:
            raise UserError(f"{path}: byte {start}: ends amid the tensor {found['name'].decode(errors='replace')!r}")
        yield found, start, end
        position = end


def _past(pattern: re.Pattern[bytes], content: bytes, position: int) -> int:
    found = pattern.match(content, position)
    return found.end() if found else position


def _named(path: Path, found: re.Match[bytes], tensors: dict[str, Sampled]) -> str:
    name = found["name"].decode(errors="replace")
    if name in tensors:
        raise UserError(f"{path}: holds the tensor {name!r} twice; dump one run at a time")
    return name


def _shape(listed: bytes) -> tuple[int, ...]:
    return tuple(int(size) for size in listed.replace(b",", b" ").split())
