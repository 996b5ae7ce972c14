"""What `convert run` does: any artifact, on sound or on named arrays."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from convert.folder import check_file, replaced
from convert.models import loaded
from convert.targets import choose_runtime
from recipes.base import audio, npz, preparation
from recipes.base.errors import UserError
from recipes.base.facts import Facts, from_strings, scores_faults
from recipes.base.scores import probabilities
from validators.dumps import numpy_file
from validators.runners.runner import Arrays, Port, Runner, RunnerError, alike, joined, run_batch

# Of sound that is fed whole to a file which says no bound itself.
_MOST_SECONDS = 1800

Row = list[tuple[str, float]]
Window = tuple[float, float]


@dataclass(frozen=True)
class Run:
    """What the outputs are and, of an artifact made here, the greatest classes of each row of the batch.

    `outputs` has each one's dtype and shape. `windows` are the seconds at which each row begins and ends, where a
    window went over a sound. `remark` says what of a sound was not used, and why no class is there. `weights` are those
    that an artifact made here says it has, such as synthetic.
    """

    runtime: str
    outputs: dict[str, tuple[str, list[int]]]
    top: list[Row]
    windows: list[Window] = field(default_factory=list)
    remark: str = ""
    weights: str = ""

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "runtime": self.runtime,
            "outputs": {name: shape for name, (_, shape) in self.outputs.items()},
            "top": [[{"label": label, "score": _finite(score)} for label, score in row] for row in self.top],
        }
        if self.windows:
            found["windows"] = [list(window) for window in self.windows]
        return found | {key: text for key in ("weights", "remark") if (text := getattr(self, key))}


@dataclass(frozen=True)
class Fed:
    """Arrays to feed one after the other, of so many clips each and made when asked for; and the rest of a Run."""

    arrays: Iterable[Arrays]
    clips: int = 1
    windows: list[Window] = field(default_factory=list)
    remark: str = ""


def _finite(score: float) -> float | None:
    """JSON knows no NaN, which is what a float16 front end makes of silence."""
    return score if isfinite(score) else None


def run(
    artifact: Path,
    source: Path,
    *,
    runtime: str | None,
    top: int,
    hop: float | None = None,
    output: Path | None = None,
    tell: Callable[[Window, Row], None] = lambda *_: None,
) -> Run:
    """Run an artifact on a sound file or an .npz; UserError for what the artifact does not take.

    `hop` seconds are between the windows that go over a sound which is longer than a file of fixed length takes; `tell`
    is called with each one's greatest classes before the next is made. All outputs are written to `output`, an .npz,
    and kept for nothing else: a long sound has many windows.
    """
    chosen = choose_runtime(artifact, runtime)
    if output is not None:
        check_file(output, source, artifact)
    if hop is not None and source.suffix == ".npz":
        raise UserError(f"{source}: --hop moves a window over a sound file, and an .npz has no windows: leave it out")
    if hop is not None and not 0 < hop < inf:
        raise UserError(f"--hop {hop:g}: the seconds between windows must be more than 0 and finite")
    rows: list[Row] = []
    outputs: dict[str, tuple[str, list[int]]] = {}
    with _written(output) as keep:
        try:
            runner = chosen.open(artifact)
            if source.suffix != ".npz" and (runner.stateful or len(runner.inputs) > 1):
                # Its folder may say how sound is cut into chunks for it.
                runner = loaded(artifact, chosen)
            if source.suffix == ".npz" and "labels" not in runner.metadata:
                # Not made here: it runs, but nobody can say what its outputs mean.
                answer = run_batch(runner, _arrays(source, runner))
                keep(answer)
                return Run(runner.runtime, {name: _described(value) for name, value in answer.items()}, [])
            facts = from_strings(runner.metadata, artifact.name)
            fed = _clips(_arrays(source, runner)) if source.suffix == ".npz" else _sound(source, runner, facts, hop)
            answers = (run_batch(runner, arrays) for arrays in fed.arrays)
            for number, answer in enumerate(alike(answers, runner.runtime, "window")):
                keep(answer)
                if facts.scores is not None:
                    scores = probabilities(_scores(answer, facts, fed.clips, artifact.name), facts.scores_kind)
                    rows += _ranked(scores, facts.labels, top)
                    if fed.windows:
                        tell(fed.windows[number], rows[-1])
                outputs = {name: _described(value, len(fed.windows) or 1) for name, value in answer.items()}
        except RunnerError as error:
            raise UserError(f"{artifact.name}: {error}; `convert check` tells whether the file is whole") from None
    unranked = f"{artifact.name} gives {', '.join(outputs)} and no class scores, so that no classes are ranked"
    remarks = (fed.remark, "" if facts.scores is not None else unranked)
    return Run(runner.runtime, outputs, rows, fed.windows, "; ".join(filter(None, remarks)), facts.weights)


@contextmanager
def _written(path: Path | None) -> Iterator[Callable[[Arrays], None]]:
    """Keeps the answers that it is given and writes them, one after the other, as a compressed .npz at the end.

    Nothing is kept without a path, and nothing is written on any error.
    """
    if path is None:
        yield lambda _: None
        return
    if path.suffix != ".npz":
        raise UserError(f"{path}: the outputs are written as .npz; give a name that ends so")
    kept: list[Arrays] = []
    with replaced(path) as partial, partial.open("wb") as file:
        yield kept.append
        npz.write(file, joined(kept) if kept[1:] else kept[0], compressed=True)


def _described(value: np.ndarray, times: int = 1) -> tuple[str, list[int]]:
    """The dtype and the shape of so many of these, one after the other."""
    shape = value.shape if times == 1 else np.atleast_1d(value).shape
    return str(value.dtype), [size * (times if axis == 0 else 1) for axis, size in enumerate(shape)]


def _scores(answer: Arrays, facts: Facts, clips: int, artifact: str) -> np.ndarray:
    """(clips, classes) float64; UserError where the artifact does not answer what its metadata says."""
    found = {name: value.shape[-1] if value.ndim == 2 else None for name, value in answer.items()}
    for fault in scores_faults(facts, found):
        raise UserError(f"{artifact}: {fault}; its metadata is of another file, so make it again")
    assert facts.scores is not None
    scores = answer[facts.scores]
    if not np.issubdtype(scores.dtype, np.floating):
        raise UserError(f"{artifact}: its {facts.scores} are {scores.dtype} and no scores; make the file again")
    if len(scores) != clips:
        raise UserError(
            f"{artifact}: gives {len(scores)} rows of {facts.scores} where {clips} went in, and a row is one clip's; "
            "make the file again"
        )
    return scores.astype(np.float64)


def _sound(source: Path, runner: Runner, facts: Facts, hop: float | None) -> Fed:
    if len(runner.inputs) != 1:
        names = " and ".join(port.name for port in runner.inputs)
        raise UserError(
            f"{source}: this file is fed {names} and no sound; give an .npz that holds them, or, where it takes chunks "
            "of sound, run it in the folder that was made"
        )
    tensor, rate = runner.inputs[0], facts.sample_rate
    if runner.stateful:
        raise UserError(
            f"{source}: this file takes sound in chunks, and keeps a state between them; run it in the folder that was "
            f"made, which says how, or give an .npz that holds a {tensor.name}"
        )
    if len(tensor.axes) < 2 or tensor.dtype != "float32" or set(tensor.axes[1:-1]) - {1}:
        raise UserError(
            f"{source}: this file is fed {tensor.name} {_axes(tensor.axes)} and no sound; give an .npz that holds it, "
            "or run the file that takes the waveform"
        )
    fixed = tensor.axes[-1]
    # All of what goes into one run is in memory many times over.
    most = audio.MOST_SAMPLES if isinstance(fixed, int) else tensor.most or _MOST_SECONDS * rate
    samples = audio.read(source, rate, most)
    if not isinstance(fixed, int):
        if hop is not None:
            raise UserError(
                "--hop moves a window of the length that a file is fixed to, and this one takes any: leave it out"
            )
        audio.check(samples, rate, facts.least_size, tensor.most, origin=str(source))
        return Fed([_fed(tensor, samples)])
    used, whole = fixed / rate, len(samples) / rate
    if facts.peak is not None:
        audio.check(samples, rate, 1, origin=str(source))
        samples = preparation.normalised(samples, facts.peak)
    elif len(samples) < fixed or (len(samples) > fixed and hop is None):
        raise UserError(
            f"{source}: is {whole:.4g} s long and this file takes exactly {used:.4g} s; cut or pad it, "
            f"{'' if len(samples) < fixed else 'give --hop S to go over all of it, '}or convert without --seconds"
        )
    if hop is None:
        left = f"used the first {used:.4g} s of {whole:.4g} s; --hop S goes over all of it" if whole > used else ""
        return Fed([_fed(tensor, preparation.fitted(samples, fixed))], remark=left)
    # A hop over the whole sound is none; a greater one may be too great a number of samples for an integer.
    step = max(1, round(min(hop, whole) * rate))
    starts = list(preparation.starts(len(samples), fixed, step))
    if facts.peak is None:
        # Nobody has said that silence may be put behind a sound that this model is fed.
        starts = [start for start in starts if start + fixed <= len(samples)]
    unused = []
    if len(starts) > 1 and step > fixed:
        unused.append(f"windows of {used:.4g} s leave out {(step - fixed) / rate:.4g} s between one and the next")
    if starts[-1] + fixed < len(samples):
        unused.append(f"nothing after {(starts[-1] + fixed) / rate:.4g} s was used")
    return Fed(
        arrays=(_fed(tensor, preparation.fitted(samples[start:], fixed)) for start in starts),
        windows=[(start / rate, min(start + fixed, len(samples)) / rate) for start in starts],
        remark="; ".join(unused),
    )


def _clips(arrays: Arrays) -> Fed:
    """Each row is one; what has no rows is one as a whole."""
    return Fed([arrays], clips=next((len(array) for array in arrays.values() if array.ndim > 1), 1))


def _fed(tensor: Port, samples: np.ndarray) -> Arrays:
    return {tensor.name: samples.reshape(1, *[1] * (len(tensor.axes) - 2), -1)}


def _arrays(source: Path, runner: Runner) -> Arrays:
    arrays = numpy_file.arrays_of(source)
    for port in runner.inputs:
        if port.name not in arrays:
            raise UserError(f"{source}: has no array {port.name!r}; it holds {', '.join(arrays) or 'nothing'}")
        array = arrays[port.name]
        if array.dtype != port.dtype:
            raise UserError(f"{source}: {port.name} is {array.dtype}; it must be {port.dtype}")
        # A batch for a file that takes one clip at a time is run row by row.
        fixed = (None, *port.axes[1:]) if len(runner.inputs) == 1 and port.axes[:1] == (1,) else port.axes
        if array.ndim != len(fixed) or any(
            isinstance(axis, int) and axis != size for axis, size in zip(fixed, array.shape, strict=True)
        ):
            raise UserError(f"{source}: {port.name} has shape {array.shape}; it must be {_axes(fixed)}")
        if not np.isfinite(array).all():
            raise UserError(f"{source}: {port.name} holds NaN or infinity; remove them")
        if not array.ndim:
            continue
        if 0 in array.shape[:-1]:
            raise UserError(f"{source}: {port.name} has shape {array.shape}; give one clip or more")
        if isinstance(fixed[-1], int):
            continue
        # Below the least, nothing is left after the pools: ONNX Runtime refuses, tract gives numbers without meaning.
        least, most = _least(runner), port.most or array.shape[-1]
        if not least <= array.shape[-1] <= most:
            bound = f"{least} or more" if port.most is None else f"{least} to {port.most}"
            raise UserError(f"{source}: {port.name} has shape {array.shape}; the last axis must be {bound}")
    if extra := set(arrays) - {port.name for port in runner.inputs}:
        raise UserError(f"{source}: holds {', '.join(sorted(extra))}, which is no input; leave it out")
    return arrays


def _least(runner: Runner) -> int:
    """Of the last axis, as the artifact's metadata says, if it is of one that was made here."""
    said = runner.metadata.get("least_size", "")
    return int(said) if re.fullmatch("[0-9]{1,9}", said) else 1


def _axes(axes: tuple[str | int | None, ...]) -> str:
    return "(" + ", ".join("any" if axis is None else str(axis) for axis in axes) + ")"


def _ranked(scores: np.ndarray, labels: tuple[str, ...], top: int) -> list[list[tuple[str, float]]]:
    order = np.argsort(-scores, axis=-1, kind="stable")[:, :top]
    return [[(labels[index], float(row[index])) for index in best] for row, best in zip(scores, order, strict=True)]
