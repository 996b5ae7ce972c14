"""What a user asked `convert recipe` for."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Literal

from recipes.base.errors import UserError
from recipes.base.spec import Output, Precision, Tolerance, Variant


@dataclass(frozen=True)
class Request:
    """The options of the command, as they were given.

    No `inputs` means the variant's own; `seconds` None leaves Core ML's length free.
    """

    name: str
    formats: tuple[str, ...]
    checkpoint: Path | None
    weights: Literal["published", "synthetic"]
    output: Path
    opset: int
    precision: Precision
    seconds: float | None
    inputs: tuple[str, ...]
    labels: Path | None
    audio: tuple[Path, ...]
    atol: tuple[str, ...]

    def command(self) -> str:
        """The command that makes the same files anywhere: without folders, which are the user's own affair."""
        words = ["convert", "recipe", self.name]
        for name in self.formats:
            words += ["--to", name]
        if self.checkpoint is not None:
            words += ["--checkpoint", self.checkpoint.name]
        elif self.weights != "published":
            words += ["--weights", self.weights]
        words += ["--opset", str(self.opset), "--precision", self.precision]
        if self.seconds is not None:
            words += ["--seconds", str(self.seconds)]
        for name in self.inputs:
            words += ["--input", name]
        if self.labels is not None:
            words += ["--labels", self.labels.name]
        for path in self.audio:
            words += ["--audio", path.name]
        for tolerance in self.atol:
            words += ["--atol", tolerance]
        return shlex.join(words)


def fixed_samples(request: Request, variant: Variant) -> int | None:
    """The length that `--seconds` fixes Core ML's input to; None where it stays free.

    Raises UserError where the model cannot take so many samples, or where there is no Core ML to fix.
    """
    if request.seconds is None:
        return None
    if "coreml" not in request.formats:
        raise UserError("--seconds fixes the length of Core ML's input; add --to coreml, or leave it out")
    bounds = variant.input
    samples = round(request.seconds * variant.sample_rate) if isfinite(request.seconds) else 0
    if not bounds.least <= samples <= bounds.most:
        least, most = (count / variant.sample_rate for count in (bounds.least, bounds.most))
        raise UserError(f"--seconds {request.seconds:g}: {variant.title} takes {least:g} to {most:g} s")
    return samples


def with_tolerances(outputs: tuple[Output, ...], given: Sequence[str]) -> tuple[Output, ...]:
    """The outputs with `--atol X` or `--atol OUTPUT:X` in place of what the configuration sets.

    Raises UserError for an unknown output or what is no number of zero or more.
    """
    for text in given:
        name, colon, number = text.rpartition(":")
        try:
            atol = float(number)
        except ValueError:
            atol = -1.0
        if not 0 <= atol < float("inf"):
            raise UserError(f"--atol {text}: give a number of 0 or more, or OUTPUT:NUMBER")
        if colon and name not in {output.name for output in outputs}:
            known = ", ".join(output.name for output in outputs)
            raise UserError(f"--atol {text}: there is no output {name!r}; the outputs are {known}")
        outputs = tuple(_loosened(o, atol) if not colon or name == o.name else o for o in outputs)
    return outputs


def _loosened(output: Output, atol: float) -> Output:
    set_by_user = {
        precision: Tolerance(atol=atol, rtol=tolerance.rtol, reason="given on the command line by --atol")
        for precision, tolerance in output.tolerances.items()
    }
    return replace(output, tolerances=set_by_user)
