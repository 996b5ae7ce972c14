"""Which reader a file is for, and folders of files."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from recipes.base import files
from recipes.base.errors import UserError
from validators.dumps import numpy_file, reference_json, sigmastar, text
from validators.dumps.dump import Dump, Flat, Tensor, Tensors
from validators.reference.format import FILE

MOST_BYTES = 2**30

_FLOAT32_BYTES = 4


def _raw(path: Path, content: bytes) -> Dump:
    if not content or len(content) % _FLOAT32_BYTES:
        raise UserError(
            f"{path}: has {len(content)} bytes, which are no whole number of float32 values; is it cut off, or of "
            "another type?"
        )
    return Dump({"": {path.stem: Flat(np.frombuffer(content, "<f4").astype(np.float32))}})


_READERS: dict[str, Callable[[Path, bytes], Dump]] = {
    ".npy": numpy_file.array,
    ".npz": numpy_file.archive,
    ".json": reference_json.read,
    ".txt": text.read,
    ".bin": _raw,
    ".raw": _raw,
}
KINDS = f"{', '.join(_READERS)}, or a dump of SigmaStar's tools"


def read(path: Path) -> Dump:
    """A file; or a folder: one with `reference.json`, of files that are one case, of folders or archives that are many.

    Nothing is unpickled. Raises UserError that names the file and what is wrong with it.
    """
    return _folder(path) if path.is_dir() else _file(path)


def _file(path: Path) -> Dump:
    content = _content(path)
    if sigmastar.is_layers(content):
        return sigmastar.layers(path, content)
    if sigmastar.is_result(content):
        return sigmastar.result(path, content)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: is none of the files that are read: {KINDS}")
    return reader(path, content)


def _content(path: Path) -> bytes:
    try:
        return files.content(path, MOST_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file or folder; give {KINDS}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _folder(path: Path) -> Dump:
    if (path / FILE).is_file():
        return _file(path / FILE)
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in entries if entry.is_dir()]
    if not entries:
        raise UserError(f"{path}: is empty; give a folder that holds a file per output")
    if len(entries) > 1 and all(entry.suffix.lower() == ".npz" for entry in entries):
        archives = {entry.stem: _file(entry) for entry in entries}
        return _merged({name: dump.cases[""] for name, dump in archives.items()}, archives.values())
    if not folders:
        return _together(path, ((entry, _file(entry)) for entry in entries))
    if len(folders) < len(entries):
        raise UserError(f"{path}: holds both files and folders; give the files of one case, or a folder per case")
    parts = {folder: _together(folder, ((file, _file(file)) for file in _files(folder))) for folder in folders}
    cases = {}
    for folder, dump in parts.items():
        if len(dump.cases) > 1:
            raise UserError(f"{folder}: holds several cases: {', '.join(dump.cases)}; put each into its own folder")
        (cases[folder.name],) = dump.cases.values()
    return _merged(cases, parts.values())


def _files(folder: Path) -> list[Path]:
    files = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if not files:
        raise UserError(f"{folder}: is empty; put a file per output there")
    if nested := [file for file in files if file.is_dir()]:
        raise UserError(f"{nested[0]}: is a folder in the folder of a case; put the files themselves there")
    return files


def _together(path: Path, dumps: Iterable[tuple[Path, Dump]]) -> Dump:
    """What the files of one folder hold; two that hold the same name would be a guess."""
    cases: dict[str, dict[str, Tensor]] = {}
    origins: dict[tuple[str, str], Path] = {}
    read_dumps = []
    for file, dump in dumps:
        read_dumps.append(dump)
        for case, tensors in dump.cases.items():
            for name, tensor in tensors.items():
                if other := origins.get((case, name)):
                    raise UserError(
                        f"{path}: {other.name} and {file.name} both hold {name!r}; put the files of each case into a "
                        "folder of its own"
                    )
                origins[case, name] = file
                cases.setdefault(case, {})[name] = tensor
    return _merged(cases, read_dumps)


def _merged(cases: Mapping[str, Tensors], parts: Iterable[Dump]) -> Dump:
    parts = tuple(parts)
    ports = tuple(dict.fromkeys(port for part in parts for port in part.ports))
    return Dump(
        cases,
        ports,
        layers=any(part.layers for part in parts),
        simulator=any(part.simulator for part in parts),
    )
