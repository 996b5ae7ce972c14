"""Reads a reference back, and trusts nothing in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from recipes.base import files, plain_json
from recipes.base.errors import UserError
from recipes.base.fields import complaint
from validators.arrays import of_npy
from validators.compare import Sampled, axis_faults
from validators.reference import wav
from validators.reference.format import (
    FILE,
    MOST_BYTES,
    SCHEMA,
    CaseEntry,
    Dump,
    Header,
    InputPort,
    OutputPort,
    Sounds,
    Values,
)
from validators.values import Case

# Of all the files together: 35 minutes of sound at 32 kHz.
_MOST_ELEMENTS = 2**26
# Of a number of a NumPy file; one of another type than float32 is told so.
_WIDEST_BYTES = 8
# Of a NumPy file before its numbers.
_MOST_HEAD_BYTES = 4096


@dataclass(frozen=True)
class ReferenceCase(Case):
    """Inputs, and the outputs expected of them, sampled where they would be too long."""

    expected: Mapping[str, Sampled]
    description: str = field(kw_only=True)


@dataclass(frozen=True)
class Reference:
    header: Header
    cases: tuple[ReferenceCase, ...]


def read(folder: Path) -> Reference:
    """The reference in a folder. Raises UserError that names the file, the case and the fault."""
    path = folder / FILE
    dump = _parsed(path)
    header = Header(**{field.name: getattr(dump, field.name) for field in fields(Header)})
    _refuse_twice(path, "cases", (case.name.lower() for case in dump.cases))
    ports: list[InputPort | OutputPort] = [header.input, *header.outputs, *header.inner]
    _refuse_twice(path, "arrays", (port.name for port in ports))
    _refuse_length(path, dump.cases)
    return Reference(header, tuple(_case(path, header, case) for case in dump.cases))


def _refuse_twice(path: Path, what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"{path}: two {what} are called {name!r}; make the folder again")
        seen.add(name)


def _refuse_length(path: Path, cases: Sequence[CaseEntry]) -> None:
    """Before a sound is read: what this says of its length is held to the file's own header."""
    arrays = [array.shape for case in cases for array in case.input.values()]
    arrays += [array.shape for case in cases for array in case.outputs.values() if array.file is not None]
    arrays += [array.shape for case in cases for array in case.inner.values()]
    if (total := sum(map(prod, arrays))) > _MOST_ELEMENTS:
        raise UserError(
            f"{path}: its files hold {total} numbers; at most {_MOST_ELEMENTS} are read, which is minutes of sound; "
            "make the folder again with shorter ones"
        )


def _parsed(path: Path) -> Dump:
    try:
        content = files.content(path, MOST_BYTES)
        data = plain_json.read(content)
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; give a folder that holds a reference") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: is no JSON, or only a part of it ({error}); make the folder again") from None
    data = data if isinstance(data, dict) else {}
    schema = data.get("schema")
    if schema != SCHEMA:
        raise UserError(
            f"{path}: has the schema {schema!r}, and this version reads {SCHEMA!r}; "
            "make the folder again with this version, or read it with the one that wrote it"
        )
    try:
        return TypeAdapter(Dump).validate_json(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[:3]
        complaints = [f"{_place(item['loc'], data)}: {complaint(item['msg'])}" for item in found]
        raise UserError(f"{path}: {'; '.join(complaints)}; make the folder again") from None


def _place(location: Sequence[str | int], data: dict[str, Any]) -> str:
    """Where a fault is, a case by its name where it has one."""
    parts = [str(part) for part in location]
    if len(location) > 1 and location[0] == "cases" and isinstance(location[1], int):
        case = data["cases"][location[1]]
        parts[:2] = [f"case {case['name'] if isinstance(case, dict) and 'name' in case else location[1]}"]
    return ", ".join(parts) or "top level"


def _case(path: Path, header: Header, case: CaseEntry) -> ReferenceCase:
    where = f"{path}: case {case.name}"
    ports = {output.name for output in header.outputs}
    if case.input.keys() != {header.input.name} or case.outputs.keys() != ports:
        raise UserError(
            f"{where}: has the input {', '.join(case.input)} and the outputs {', '.join(case.outputs)}, "
            f"where the header has {header.input.name} and {', '.join(sorted(ports))}; make the folder again"
        )
    if case.inner.keys() != (inner := {port.name for port in header.inner}):
        raise UserError(
            f"{where}: has inside {', '.join(case.inner) or 'nothing'}, where the header has "
            f"{', '.join(sorted(inner)) or 'nothing'}; make the folder again"
        )
    sounds = case.input[header.input.name]
    shapes = {header.input.name: tuple(sounds.shape)}
    shapes |= {name: entry.shape for name, entry in case.outputs.items()}
    shapes |= {name: entry.shape for name, entry in case.inner.items()}
    faults = axis_faults(shapes, [header.input, *header.outputs, *header.inner])
    if any(faults.values()):
        listed = "; ".join(f"{name}: {fault}" for name, found in faults.items() for fault in found)
        raise UserError(f"{where}: the shapes do not fit the axes: {listed}; make the folder again")
    expected = {name: read_values(path.parent, f"{where}: {name}", entry) for name, entry in case.outputs.items()}
    waveform = _waveform(path.parent, where, sounds, header.sample_rate)
    held = {
        name: _whole(path.parent, f"{where}: {name}", entry.file, entry.shape) for name, entry in case.inner.items()
    }
    for name, array in held.items():
        if array.shape != case.inner[name].shape:
            raise UserError(
                f"{where}: {name}: {case.inner[name].file} has the shape {list(array.shape)}, and {FILE} says "
                f"{list(case.inner[name].shape)}; make the folder again"
            )
    return ReferenceCase(case.name, {header.input.name: waveform}, expected, held, description=case.description)


def read_values(folder: Path, where: str, entry: Values) -> Sampled:
    """An output, whole where the folder has its file. Raises UserError that begins with `where`."""
    sampled = _sampled(where, entry)
    if entry.file is None:
        return sampled
    whole = _whole(folder, where, entry.file, entry.shape)
    kept = Sampled.of(whole, entry.stride)
    if kept.shape != sampled.shape or not np.array_equal(kept.values, sampled.values):
        raise UserError(f"{where}: {entry.file} holds other values than {FILE} does; make the folder again")
    return Sampled.of(whole)


def _whole(folder: Path, where: str, name: str, shape: Sequence[int]) -> NDArray[np.float32]:
    try:
        content = files.content(_inside(folder, where, name), prod(shape) * _WIDEST_BYTES + _MOST_HEAD_BYTES)
    except OSError:
        raise UserError(f"{where}: {name} is missing or cannot be read; make the folder again") from None
    try:
        whole = of_npy(name, content)
    except UserError:
        raise UserError(f"{where}: {name} is no NumPy file, or only a part of it; make the folder again") from None
    if whole.dtype != np.float32:
        raise UserError(f"{where}: {name} is {whole.dtype} and not float32; make the folder again")
    if not np.isfinite(whole).all():
        raise UserError(f"{where}: {name} has values that are NaN or infinite; make the folder again")
    return whole.astype(np.float32)


def _inside(folder: Path, where: str, file: str) -> Path:
    """The patterns of names have no "..", but a link may lead anywhere."""
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{where}: {file} leads out of the folder; make the folder again")
    return path


def _sampled(where: str, entry: Values) -> Sampled:
    count = -(-prod(entry.shape) // entry.stride)  # rounded up
    if len(entry.values) != count:
        raise UserError(
            f"{where}: has {len(entry.values)} values, and shape {list(entry.shape)} at stride {entry.stride} needs "
            f"{count}; make the folder again"
        )
    with np.errstate(over="ignore"):
        values = np.array(entry.values, np.float64).astype(np.float32)
    if not np.isfinite(values).all():
        raise UserError(f"{where}: has values beyond float32; make the folder again")
    return Sampled(tuple(entry.shape), entry.stride, values)


def _waveform(folder: Path, where: str, sounds: Sounds, sample_rate: int) -> NDArray[np.float32]:
    batch, *between, samples = sounds.shape
    if set(between) - {1}:
        raise UserError(f"{where}: has the shape {list(sounds.shape)}, which is no mono sound; make the folder again")
    if len(sounds.files) != batch:
        raise UserError(f"{where}: names {len(sounds.files)} files for a batch of {batch}; make the folder again")
    rows = []
    for file in sounds.files:
        rows.append(wav.read(_inside(folder, where, file), sample_rate, samples))
    return np.stack(rows).reshape(sounds.shape)
