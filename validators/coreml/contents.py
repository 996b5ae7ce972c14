"""What a package holds, before anything of it is run: files inside it, and a program that keeps to itself."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipes.base import files, plain_json
from recipes.base.errors import UserError
from validators.coreml.errors import PackageError

_LIST = "Manifest.json"
# Items lie below it.
_DATA = "Data"
_MOST_BYTES = 2**20
# How a program names a file of constants: beside it, in the one folder for such.
_CONSTANTS = re.compile(r"@model_path/weights/(?!\.\.?$)[^/\0]+")


def check_contents(package: Path) -> None:
    """PackageError where the list leads out of the package, or something in it is a link, a pipe or a device.

    coremltools follows the list, and links, to wherever they lead. What is no folder is for others to judge.
    """
    if not package.is_dir():
        if package.exists() and (what := files.special(package)):
            raise PackageError(f"{package}: is {what}, and a package is a folder")
        return
    for path in package.rglob("*"):
        if (what := files.kind(path.lstat().st_mode)) not in (None, "a folder"):
            raise PackageError(f"{package}: {path.relative_to(package)} is {what}, and a package holds files alone")
    try:
        listed = plain_json.read(files.content(package / _LIST, _MOST_BYTES))
    except FileNotFoundError:
        raise PackageError(f"{package}: not a readable Core ML model: it has no {_LIST}") from None
    except (OSError, UserError, ValueError) as error:
        raise PackageError(f"{package}: not a readable Core ML model: {_LIST} cannot be read: {error}") from None
    items = listed.get("itemInfoEntries") if isinstance(listed, dict) else None
    if not isinstance(items, dict) or not all(isinstance(item, dict) for item in items.values()):
        raise PackageError(f"{package}: not a readable Core ML model: {_LIST} lists no items")
    data = (package / _DATA).resolve()
    for item in items.values():
        name = item.get("path")
        if not isinstance(name, str) or "\0" in name or not (data / name).resolve().is_relative_to(data):
            raise PackageError(f"{package}: {_LIST} leads out of the package, to {name!r}")
        if not (data / name).exists():
            raise PackageError(f"{package}: {_LIST} names {name!r}, which is missing")


def check_program(spec: Any, source: str) -> None:
    """PackageError where an ML program, a `Model` message, is not what it seems, to coremltools at least.

    Its constants lie in the package's weights, its values are made once, before they are read, and an input's or
    output's shapes are of one rank.
    """
    _check_ranks(spec, source)
    _check_constants(spec, source)
    _check_values(spec, source)


def _check_ranks(spec: Any, source: str) -> None:
    """Who reads the bounds of a size goes by the shape beside them."""
    for described in (spec.description, *spec.description.functions):
        for feature in (*described.input, *described.output):
            array = feature.type.multiArrayType
            bounds = [allowed.shape for allowed in array.enumeratedShapes.shapes]
            if array.HasField("shapeRange"):
                bounds.append(array.shapeRange.sizeRanges)
            for found in bounds:
                if len(found) != len(array.shape):
                    ranks = f"a shape of {len(array.shape)} dimensions, and allows one of {len(found)}"
                    raise PackageError(f"{source}: {feature.name!r} has {ranks}")


def _check_constants(spec: Any, source: str) -> None:
    """coremltools looks in the weights for the last part of any name: other numbers than an app would read."""
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            for name in _files_of(block):
                if not _CONSTANTS.fullmatch(name):
                    raise PackageError(f"{source}: a constant of it lies in {name!r}, which is no file of its weights")


def _files_of(block: Any) -> Iterator[str]:
    for op in block.operations:
        bound = (binding for argument in op.inputs.values() for binding in argument.arguments)
        for value in (*op.attributes.values(), *(found.value for found in bound if found.HasField("value"))):
            yield from _files_of_value(value)
        for nested in op.blocks:
            yield from _files_of(nested)


def _files_of_value(value: Any) -> Iterator[str]:
    if value.HasField("blobFileValue"):
        yield value.blobFileValue.fileName
    inner = value.immediateValue
    for part in (*inner.tuple.values, *inner.list.values):
        yield from _files_of_value(part)
    for pair in inner.dictionary.values:
        yield from (*_files_of_value(pair.key), *_files_of_value(pair.value))


def _check_values(spec: Any, source: str) -> None:
    """MIL.proto: a block is in SSA form, its ops in order, and inherits the names around it.

    coremltools' loader keeps one table of names for all of it, in which the last value of a name replaces the others.
    """
    for function in spec.mlProgram.functions.values():
        inputs: set[str] = set()
        for value in function.inputs:
            _make(value.name, inputs, source)
        for block in function.block_specializations.values():
            _check_block(block, inputs, source)


def _check_block(block: Any, seen: set[str], source: str) -> None:
    """`seen` are the names around it, and again so afterwards: a copy for each block would be quadratic."""
    own = [value.name for value in block.inputs]
    for name in own:
        _make(name, seen, source)
    for op in block.operations:
        bound = (binding for argument in op.inputs.values() for binding in argument.arguments)
        for name in (binding.name for binding in bound if not binding.HasField("value")):
            if name not in seen:
                raise PackageError(f"{source}: {op.type} reads the value {name!r}, which nothing before it makes")
        for nested in op.blocks:
            _check_block(nested, seen, source)
        for value in op.outputs:
            _make(value.name, seen, source)
            own.append(value.name)
    for name in block.outputs:
        if name not in seen:
            raise PackageError(f"{source}: a block of it gives the value {name!r}, which nothing in it makes")
    seen.difference_update(own)


def _make(name: str, seen: set[str], source: str) -> None:
    if name in seen:
        raise PackageError(f"{source}: the value {name!r} is made twice, and a program makes each once")
    seen.add(name)
