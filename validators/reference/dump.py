"""Writes a reference: runs the model on each case, and puts its answers beside the sounds."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.base.errors import UserError
from recipes.base.spec import Variant, Weights
from validators.reference import wav
from validators.reference.cases import SoundCase
from validators.reference.encode import Answered, Arrays, encode
from validators.reference.format import FILE, SOUNDS, Checkpoint, Header, InputPort, OutputPort

Run = Callable[[dict[str, NDArray[np.float32]]], Arrays]


def header(
    variant: Variant,
    *,
    weights: Weights,
    checkpoint: str,
    sha256: str,
    versions: Mapping[str, str],
    fed: Collection[str] = (),
) -> Header:
    """What a reference says of its model; `checkpoint` is the file's name without folders.

    Some artifacts are fed the alternative inputs in `fed`.
    """
    given = [output.name for output in variant.outputs]
    return Header(
        family=variant.family,
        variant=variant.name,
        weights=weights,
        checkpoint=Checkpoint(checkpoint, sha256),
        sample_rate=variant.sample_rate,
        front_end=variant.front_end_numbers(),
        versions=dict(versions),
        input=InputPort(variant.input.name, variant.input.axes),
        outputs=tuple(OutputPort(output.name, output.axes, output.kind) for output in variant.outputs),
        inner=tuple(
            InputPort(tensor.name, tensor.axes)
            for tensor in variant.alternative_inputs
            if tensor.name in fed and tensor.name not in given
        ),
    )


def write(folder: Path, head: Header, cases: Sequence[SoundCase], run: Run, keep: Collection[str] = ()) -> None:
    """Runs every case and writes `reference.json` and `reference/*.wav` into the folder; same input, same bytes.

    `run` is the faithful model: {input name: array} to what the header names as outputs and inner, float32. The
    outputs in `keep`, which some artifact is fed, are written whole to `reference/*.npy` as well, and so is all that is
    inner, in the shape in which it is fed.
    Raises UserError for two cases of one name, answers that are not finite, and more sound than fits the file.
    """
    _refuse_doubles(cases)
    whole = dict.fromkeys((*keep, *(port.name for port in head.inner)))
    answered = []
    for case in cases:
        outputs = _answers(case, head, run)
        inner = {port.name: _as_fed(outputs.pop(port.name), port) for port in head.inner}
        answered.append(
            Answered(
                case.name,
                case.description,
                case.whole,
                _shape(case, head),
                _files(case),
                {name: f"{SOUNDS}/{case.name}.{name}.npy" for name in whole},
                outputs,
                inner,
            )
        )
    content = encode(head, answered)
    (folder / SOUNDS).mkdir(parents=True, exist_ok=True)
    for case in cases:
        for path, row in zip(_files(case), case.waveform, strict=True):
            wav.write(folder / path, row, head.sample_rate)
    for answer in answered:
        for name, file in answer.kept.items():
            np.save(folder / file, {**answer.outputs, **answer.inner}[name])
    (folder / FILE).write_bytes(content)


def _refuse_doubles(cases: Sequence[SoundCase]) -> None:
    seen: set[str] = set()
    for case in cases:
        # Some file systems do not tell upper from lower case.
        if case.name.lower() in seen:
            raise UserError(f"two cases are called {case.name!r}; rename the sound file")
        seen.add(case.name.lower())


def _answers(case: SoundCase, head: Header, run: Run) -> dict[str, NDArray[np.float32]]:
    outputs = run({head.input.name: _as_fed(case.waveform, head.input)})
    wanted = [*(port.name for port in head.outputs), *(port.name for port in head.inner)]
    if outputs.keys() != set(wanted):
        raise ValueError(f"the model gave {sorted(outputs)}, and the header names {sorted(wanted)}")
    for name, array in outputs.items():
        if array.dtype != np.float32 or array.size == 0:
            raise ValueError(f"the output {name!r} is {array.dtype} of shape {array.shape}, not float32 with elements")
        if not np.isfinite(array).all():
            computed = head.weights == "computed"
            fix = "choose other numbers" if computed else f"are the weights in {head.checkpoint.file} damaged?"
            raise UserError(
                f"case {case.name}: the model answers NaN or infinity in {name!r}, which nothing can be compared with; "
                f"{fix}"
            )
    return {name: outputs[name] for name in wanted}


def _shape(case: SoundCase, head: Header) -> tuple[int, ...]:
    """Of the input: axes of size 1 may stand between the batch and the samples."""
    return _as_fed(case.waveform, head.input).shape


def _as_fed(array: NDArray[np.float32], port: InputPort) -> NDArray[np.float32]:
    """With the axes of a fixed size that the input has between its first and its last."""
    between = (axis for axis in port.axes[1:-1] if isinstance(axis, int))
    return array.reshape(array.shape[0], *between, array.shape[-1])


def _files(case: SoundCase) -> list[str]:
    rows = len(case.waveform)
    return [f"{SOUNDS}/{case.name}{f'.{row + 1}' if rows > 1 else ''}.wav" for row in range(rows)]
