"""What a package holds, before anything of it is run: files inside it, which its list and its program name."""

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


def check_constants(spec: Any, source: str) -> None:
    """PackageError where a constant of an ML program, a `Model` message, lies elsewhere than in the package's weights.

    coremltools looks there for the last part of any name, and so answers with other numbers than an app would.
    """
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
