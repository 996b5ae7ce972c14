"""The models among what `convert compare` is given: what they are fed, and what they answer to it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from convert import manifest as manifests
from convert.manifest import MANIFEST, Artifact, Manifest
from convert.targets import TARGETS, choose_runtime
from recipes.base import audio
from recipes.base.errors import UserError
from recipes.base.tensor import Input, Precision
from validators import dumps, feeds, reference
from validators.compare import Sampled
from validators.dumps import Dump, numpy_file
from validators.dumps.dump import as_numbers
from validators.feeds import Feed, NoFitError
from validators.matching import Slot, Slots, slots
from validators.reference import Reference, ReferenceCase
from validators.reference.format import FILE, Header
from validators.results import Check
from validators.runners.runner import Arrays, Port, Runner, RunnerError, run_batch
from validators.runners.runtime import Runtime

_SCHEMA = b"soundport.manifest/"
_MOST_LEAST = 2**24


@dataclass(frozen=True)
class Names:
    """What a side calls what it is fed and what it gives."""

    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()

    @classmethod
    def of_dump(cls, dump: Dump) -> "Names":
        return cls(outputs=frozenset(name for tensors in dump.cases.values() for name in tensors))


@dataclass(frozen=True)
class Answers:
    """What both sides answered to the same cases; `artifact` is GOT's, and `precision` the coarser of the two.

    `names` are EXPECTED's and GOT's, None where a file did not open. `faults` are checks of what a side could not
    answer, and `notes` say what was assumed.
    """

    artifact: str
    runtime: str
    precision: Precision
    expected: Dump
    got: Dump
    names: tuple[Names, Names] | None = None
    faults: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


def is_model(path: Path) -> bool:
    """Whether it is called as a file or package that a runtime runs; programs are none."""
    return any(target.suffix.startswith(".") and not target.code and target.is_of(path.name) for target in TARGETS)


def among(expected: Path, got: Path) -> bool:
    """Whether anything has to be run: a model on either side, or two made folders."""
    return is_model(expected) or is_model(got) or (_is_made(expected) and _is_made(got))


def homes(*paths: Path) -> list[Path]:
    """The made folders that these are or lie in, where any does."""
    return [found[0] for found in map(made, paths) if found is not None]


def _is_made(path: Path) -> bool:
    found = made(path)
    return found is not None and found[0] == path.resolve()


def made(path: Path) -> tuple[Path, Manifest] | None:
    """The folder made by `convert recipe` that this belongs to; other tools write a manifest.json too."""
    whole = path.resolve()
    for folder in (whole, *whole.parents):
        file = folder / MANIFEST
        if not file.is_file():
            continue
        found = file.stat()
        if manifest := _manifest(folder, (found.st_ino, found.st_mtime_ns, found.st_size)):
            inside = whole.relative_to(folder).as_posix()
            if whole == folder or any(name == inside or name.startswith(f"{inside}/") for name in manifest.files):
                return folder, manifest
    return None


@lru_cache(maxsize=4)
def _manifest(folder: Path, stamp: tuple[int, int, int]) -> Manifest | None:
    """Read once, and not once for each artifact that is compared; `stamp` tells one that was written anew."""
    _, _, size = stamp
    if size > manifests.MOST_BYTES or _SCHEMA not in (folder / MANIFEST).read_bytes():
        return None
    return manifests.read(folder)


def answered(
    expected: Path,
    got: Path,
    *,
    case: str | None = None,
    on: Sequence[Path] = (),
    given: Mapping[str, str] | None = None,
    runtime: str | None = None,
) -> list[Answers]:
    """What each model answers, and the dump that stands against it; where GOT is a made folder, each of its models.

    A made folder as EXPECTED, or against a dump, is its reference. `runtime` is GOT's. Raises UserError for what cannot
    be opened, and for inputs that nobody can feed.
    """
    found = made(got) if _is_made(got) and (is_model(expected) or _is_made(expected)) else None
    ours = _side(expected, runtime if found is None and not is_model(got) else None)
    if found is None:
        return [_answers(ours, _side(got, runtime), case, on, given or {})]
    answers = []
    for name in (name for name in found[1].artifacts if is_model(Path(name))):
        try:
            theirs = _side(found[0] / name, runtime)
        except UserError as error:
            # The other files of the folder may be whole.
            fault = Check(name, "", "", "", "", "file", "failed", str(error))
            answers.append(Answers(name, "", "fp32", Dump({}), Dump({}), faults=(fault,)))
            continue
        answers.append(_answers(ours, replace(theirs, folder=found[0]), case, on, given or {}))
    if not answers:
        raise UserError(f"{got}: has no model that can be run here; give one with an .onnx or .mlpackage")
    return answers


@dataclass(frozen=True)
class Side:
    """A model that is loaded, or a dump; `folder` is what was given, where that holds the model."""

    path: Path
    runner: Runner | None
    dump: Dump | None
    folder: Path | None = None

    @property
    def name(self) -> str:
        """As the manifest calls it, by its path in the folder that was given; else as the file itself is called."""
        return self.path.relative_to(self.folder).as_posix() if self.folder else self.path.resolve().name

    @property
    def ports(self) -> tuple[Port, ...]:
        return self.runner.inputs if self.runner else ()

    def names(self) -> Names:
        """Of a reference any array may be what a model is fed."""
        if self.runner is not None:
            inputs, outputs = self.runner.inputs, self.runner.outputs
            return Names(frozenset(port.name for port in inputs), frozenset(port.name for port in outputs))
        assert self.dump is not None
        found = _reference(self.path)
        cases = found.cases if found is not None else ()
        inputs_ = frozenset(name for case in cases for name in (*case.expected, *case.inner, *case.inputs))
        return replace(Names.of_dump(self.dump), inputs=inputs_)

    def said(self, key: str) -> int | None:
        """A whole number in the model's metadata."""
        text = self.runner.metadata.get(key, "") if self.runner else ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0 else None


def _side(path: Path, runtime: str | None) -> Side:
    if not is_model(path):
        return Side(path, None, dumps.read(path))
    return Side(path, opened(path, runtime), None)


def opened(path: Path, runtime: str | None = None, *, by_chunks: bool = False) -> Runner:
    """As `loaded`; UserError where it is refused."""
    try:
        return loaded(path, choose_runtime(path, runtime), by_chunks=by_chunks)
    except RunnerError as error:
        raise UserError(f"{path}: {error}; give a whole file, or another --runtime") from None


def loaded(path: Path, runtime: Runtime, *, by_chunks: bool = False) -> Runner:
    """A model in a worker; RunnerError where it is refused.

    A made one that is fed chunks is one of whole sounds, or `by_chunks`, call by call, as it is.
    """
    found = None if by_chunks else _chunked(path)
    runner = runtime.open(path, tensor=found[0] if found else None)
    if found is None:
        return runner
    # One row at a time, where the file takes no more.
    sound, batch = found[1].input, runner.inputs[0].axes[0]
    return replace(runner, inputs=(Port(sound.name, (batch, *sound.axes[1:]), "float32"),), stateful=False)


def _chunked(path: Path) -> tuple[Input, Manifest] | None:
    """What a made model is fed, where that is chunks."""
    found = _made_as(path)
    tensor = found and found[1].fed_by(found[0].input)[0]
    return (tensor, found[1]) if found and tensor and tensor.stream else None


def _is_fed_chunks(side: Side) -> bool:
    """Whether a call takes a chunk and a state, of which no reference says anything."""
    found = _chunked(side.path)
    return found is not None and found[0].name in {port.name for port in side.ports}


def _made_as(path: Path) -> tuple[Artifact, Manifest] | None:
    """What the manifest of its folder says of a model, where it lies in a made one."""
    found = made(path)
    artifact = found and found[1].artifacts.get(path.resolve().relative_to(found[0]).as_posix())
    return (artifact, found[1]) if found and artifact else None


def _answers(ours: Side, theirs: Side, case: str | None, on: Sequence[Path], given: Mapping[str, str]) -> Answers:
    matched, cases, left = fed(ours, theirs, on, given)
    if case is not None and any(one.name == case for one in cases):
        cases = [one for one in cases if one.name == case]
    runtime = theirs.runner.runtime if theirs.runner else ""
    blank = Check(theirs.name, runtime, "", "", "", "values", "failed")
    faults: list[Check] = []
    sides = []
    for side, arrays in ((ours, lambda one: one.expected), (theirs, lambda one: one.got)):
        dump, failed = _run(side, cases, arrays)
        origin = "" if side is theirs else f"EXPECTED, {side.name}: "
        faults += [replace(blank, case=name, message=f"{origin}{message}") for name, message in failed.items()]
        sides.append(dump)
    if not cases:
        told = "no case has the shape that this file takes; give one that has with --on"
        faults.append(replace(blank, status="not verified", message=told))
    silent = {fault.case for fault in faults}
    kept = [_without(dump, silent | left, {one.name for one in cases}) for dump in sides]
    notes = [*matched.notes, *(note for one in cases for note in one.notes)]
    notes += [f"left out, since {theirs.name} takes other shapes: {', '.join(sorted(left))}"] if left else []
    names = (ours.names(), theirs.names())
    return Answers(theirs.name, runtime, _precision(ours, theirs), kept[0], kept[1], names, tuple(faults), tuple(notes))


def _without(dump: Dump, names: set[str], fed_: set[str]) -> Dump:
    """Without cases that cannot be compared; of a dump of many, those that a model was fed."""
    cases = {name: tensors for name, tensors in dump.cases.items() if name not in names}
    return replace(dump, cases={name: cases[name] for name in cases if name in fed_} or cases)


def _precision(*sides: Side) -> Precision:
    if found := _made_as(sides[-1].path):
        return found[0].precision
    return "mixed" if any(side.runner and side.runner.float16 for side in sides) else "fp32"


def _run(side: Side, cases: Iterable[Feed], arrays: Callable[[Feed], Arrays]) -> tuple[Dump, dict[str, str]]:
    """What a side answers, by case, and what its runtime said where it did not."""
    if side.dump is not None:
        return side.dump, {}
    assert side.runner is not None
    answers: dict[str, dict[str, Sampled]] = {}
    failed = {}
    for one in cases:
        try:
            given = run_batch(side.runner, arrays(one))
        except RunnerError as error:
            hint = "; what it was fed was generated to fit what it declares: give what it takes with --on"
            failed[one.name] = f"{error}{hint if one.made else ''}"
            continue
        answers[one.name] = {name: Sampled.of(as_numbers(np.asarray(value))) for name, value in given.items()}
    return Dump(answers, answered=True), failed


def fed(ours: Side, theirs: Side, on: Sequence[Path], given: Mapping[str, str]) -> tuple[Slots, list[Feed], set[str]]:
    """What stands against what, the cases, and the names of those whose shape no model here takes.

    They are `on`, else the reference of the made folder that a side lies in, else generated. Raises UserError.
    """
    matched = slots(ours.ports, theirs.ports, given)
    if not ours.runner or not theirs.runner:
        # The names of a dump are no inputs.
        matched = Slots(matched.slots)
    rate = ours.said("sample_rate") or theirs.said("sample_rate")
    least = max(
        (size for side in (ours, theirs) if (size := side.said("least_size")) and size < _MOST_LEAST), default=1
    )
    if on:
        return matched, [_on(path, name, matched.slots, rate, least) for path, name in _named(on).items()], set()
    calls = _is_fed_chunks(ours) or _is_fed_chunks(theirs)
    if not calls and (found := _reference(ours.path) or _reference(theirs.path)) is not None:
        cases = {case.name: _of_reference(case, found.header, matched.slots, given) for case in found.cases}
        fitting = [case for case in cases.values() if case is not None]
        return matched, fitting, {name for name, case in cases.items() if case is None}
    if ours.dump or theirs.dump:
        side = "EXPECTED" if ours.dump else "GOT"
        raise UserError(f"{side} is a dump, which does not say what the model was fed: say it with --on SOUND or NPZ")
    return matched, feeds.generated(matched.slots, rate=rate or feeds.RATE, least=least), set()


def _reference(path: Path) -> Reference | None:
    """Of the made folder that a side is or lies in, or the one that it is itself."""
    found = made(path)
    folder = found[0] if found is not None else path if path.is_dir() else path.parent if path.name == FILE else None
    return reference.read(folder) if folder is not None and (folder / FILE).is_file() else None


def _of_reference(case: ReferenceCase, header: Header, among_: Sequence[Slot], given: Mapping[str, str]) -> Feed | None:
    """A case of a reference as models take it, what it holds of their inside included; None if no shape fits."""
    held = {name: one.values.reshape(one.shape) for name, one in case.expected.items() if one.stride == 1}
    held |= {**case.inner, **case.inputs}
    arrays: Arrays = {}
    notes = []
    for slot in among_:
        names = {port.name for port in slot.ports}
        names |= {name for name, other in given.items() if slot.got is not None and other == slot.got.name}
        for name in (name for name in held if name in names):
            arrays[slot.name] = held[name]
    rest = {slot.name: slot for slot in among_ if slot.name not in arrays}
    main = Port(header.input.name, header.input.axes, "float32")
    for found in slots([main], [replace(slot.ports[-1], name=name) for name, slot in rest.items()], {}).slots:
        if found.expected is not None and found.got is not None:
            slot = rest.pop(found.got.name)
            arrays[slot.name] = held[main.name]
            notes.append(f"{slot} is fed the reference's {main.name!r}")
    for slot in rest.values():
        raise UserError(f"{slot} is nothing that the reference holds: give its values with --on, in an .npz")
    try:
        return feeds.feed(among_, case.name, arrays, tuple(notes))
    except NoFitError:
        return None


def _named(paths: Sequence[Path]) -> dict[Path, str]:
    """What the case of each is called: as its file, or where two files have one name, as its path."""
    own = {path: path.stem for path in paths}
    return own if len(set(own.values())) == len(own) else {path: str(path) for path in own}


def _on(path: Path, name: str, among_: Sequence[Slot], rate: int | None, least: int) -> Feed:
    """A sound or the arrays of an .npz, named as inputs of either side, as the case `name`."""
    known = rate or feeds.RATE
    if path.suffix.lower() != ".npz":
        slot = feeds.sound_slot(among_)
        array, said = feeds.sound(slot, audio.read(path, rate), str(path), least=least)
        notes = ["" if rate else f"{path}: fed at its own rate, since no model says one", said]
        found = feeds.completed(among_, name, {slot.name: array}, rate=known, least=least)
        return replace(found, notes=(*filter(None, notes), *found.notes))
    names = {slot.expected.name: slot.name for slot in among_ if slot.expected is not None}
    for slot in among_:
        names.setdefault(slot.ports[-1].name, slot.name)
    arrays = numpy_file.arrays_of(path)
    if unknown := [name for name in arrays if name not in names]:
        raise UserError(f"{path}: holds {', '.join(unknown)}, and the inputs are {', '.join(names)}; name arrays so")
    held = {names[port]: array for port, array in arrays.items()}
    return feeds.completed(among_, name, held, rate=known, least=least)
