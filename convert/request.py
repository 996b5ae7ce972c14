"""What a user asked `convert recipe` for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from convert.targets import asked_for, options
from convert.targets.target import Settings, Target
from recipes.base import config
from recipes.base.config import find
from recipes.base.errors import UserError
from recipes.base.near import meant
from recipes.base.plain_yaml import text_of
from recipes.base.recipe import load
from recipes.base.spec import Variant
from recipes.base.tensor import Output, Tolerance


@dataclass(frozen=True)
class Request:
    """The options of the command, as they were given; `options` are those that belong to targets.

    No `inputs` means the variant's own, no `outputs` all that it has. `numbers` are those of `--set`, as they were
    given, and stand over those in the file `config`. `streaming` asks for files that are fed chunks of so many hops,
    too.
    """

    name: str
    formats: tuple[str, ...]
    checkpoint: Path | None
    weights: Literal["published", "synthetic"]
    output: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    config: Path | None
    numbers: tuple[str, ...]
    labels: Path | None
    audio: tuple[Path, ...]
    atol: tuple[str, ...]
    input_name: str | None
    output_names: tuple[str, ...]
    lowering: bool
    options: Settings
    streaming: int | None = None

    def targets(self) -> tuple[tuple[Target, Settings], ...]:
        """What is made, and how. Raises UserError for an option that belongs to nothing of that."""
        return asked_for(self.formats, self.options)

    def variant(self) -> Variant:
        """The variant that is asked for, once it is sure that it has the inputs and outputs that are asked for.

        Needs no weights, and PyTorch for `streaming` alone. Raises UserError.
        """
        variant = self._with_numbers(find(self.name))
        if not variant.trained:
            self._refuse_weights(variant)
        giving = self.giving(variant)
        for name in self.inputs:
            giving.fed_by(name)
        with_tolerances(giving.outputs, self.atol)
        giving.renamed(self.names(giving))
        if self.streaming is not None and load(variant.family).streaming is None:
            raise UserError(
                f"--streaming: {variant.name} needs whole sounds, and only front ends take chunks: leave it out, or "
                "see `convert recipe mel`"
            )
        return variant

    def giving(self, variant: Variant) -> Variant:
        """With the outputs that are asked for alone."""
        return variant.giving(self.outputs) if self.outputs else variant

    def _with_numbers(self, variant: Variant) -> Variant:
        """The variant with the numbers that are set, if any are."""
        if self.config is None and not self.numbers:
            return variant
        given = config.settings(self.numbers)
        if self.config is not None:
            given = given.over(config.read(text_of(self.config), str(self.config)))
        return config.with_numbers(variant, given)

    def _refuse_weights(self, variant: Variant) -> None:
        """Options that are of a checkpoint, of a variant that has none."""
        given = {
            "--checkpoint": self.checkpoint is not None,
            "--weights synthetic": self.weights == "synthetic",
            "--labels": self.labels is not None,
        }
        if wrong := [option for option, said in given.items() if said]:
            has = "classes" if wrong == ["--labels"] else "weights"
            raise UserError(f"{' and '.join(wrong)}: {variant.name} has no {has}, and needs none; leave it out")

    def command(self) -> str:
        """The command that makes the same files anywhere: without folders, which are the user's own affair."""
        targets = self.targets()
        words = ["convert", "recipe", self.name]
        for target, _ in targets:
            words += ["--to", target.name]
        if self.checkpoint is not None:
            words += ["--checkpoint", self.checkpoint.name]
        elif self.weights != "published":
            words += ["--weights", self.weights]
        settings = {name: value for _, own in targets for name, value in own.items()}
        for option in options():
            value = None if option.streaming and self.streaming is None else settings.get(option.name)
            for word in value if isinstance(value, tuple) else () if value is None else (value,):
                words += [option.flag, str(word)]
        for name in self.inputs:
            words += ["--input", name]
        for name in self.outputs:
            words += ["--output", name]
        if self.input_name is not None:
            words += ["--input-name", self.input_name]
        for name in self.output_names:
            words += ["--output-name", name]
        if self.config is not None:
            words += ["--config", self.config.name]
        for number in self.numbers:
            words += ["--set", number]
        if self.streaming is not None:
            words += ["--streaming", str(self.streaming)]
        if not self.lowering:
            words.append("--no-lowering")
        if self.labels is not None:
            words += ["--labels", self.labels.name]
        for path in self.audio:
            words += ["--audio", path.name]
        for tolerance in self.atol:
            words += ["--atol", tolerance]
        return shlex.join(words)

    def names(self, variant: Variant) -> dict[str, str]:
        """What the variant's tensors are to be called, by the names that they have.

        Raises UserError where that is not said clearly.
        """
        names: dict[str, str] = {}
        for text in self.output_names:
            old, colon, new = text.rpartition(":")
            if not colon and len(variant.outputs) > 1:
                known = ", ".join(output.name for output in variant.outputs)
                raise UserError(f"--output-name {text}: say of which output, as OUTPUT:{text}; there are {known}")
            old = old or variant.outputs[0].name
            if old in names:
                raise UserError(f"--output-name {text}: {old} has a name already, {names[old]}; give it one")
            names[old] = new
        if self.input_name is not None:
            if set(self.inputs) - {variant.input.name}:
                raise UserError(f"--input-name names {variant.input.name}: leave out --input, which asks for another")
            names[variant.input.name] = self.input_name
        return names


def with_tolerances(outputs: tuple[Output, ...], given: Sequence[str]) -> tuple[Output, ...]:
    """The outputs with `--atol X` or `--atol OUTPUT:X` in place of what the configuration sets.

    Raises UserError for an unknown output or what is no number of zero or more.
    """
    limits = limits_given("--atol", given, [output.name for output in outputs])
    return tuple(_loosened(o, limits[o.name]) if o.name in limits else o for o in outputs)


def limits_given(flag: str, given: Sequence[str], outputs: Sequence[str]) -> dict[str, float]:
    """By output, what each `X` (all of them) or `OUTPUT:X` sets, a later one over an earlier.

    Raises UserError that names the flag for an unknown output or what is no number of zero or more.
    """
    limits: dict[str, float] = {}
    for text in given:
        name, colon, number = text.rpartition(":")
        try:
            limit = float(number)
        except ValueError:
            limit = -1.0
        if not 0 <= limit < float("inf"):
            raise UserError(f"{flag} {text}: give a number of 0 or more, or OUTPUT:NUMBER")
        if colon and name not in outputs:
            wrong = f"there is no output {name!r}{meant(name, outputs)}"
            raise UserError(f"{flag} {text}: {wrong}; the outputs are {', '.join(outputs)}")
        limits |= dict.fromkeys([name] if colon else outputs, limit)
    return limits


def _loosened(output: Output, atol: float) -> Output:
    set_by_user = {
        precision: Tolerance(atol=atol, rtol=tolerance.rtol, reason="given on the command line by --atol")
        for precision, tolerance in output.tolerances.items()
    }
    return replace(output, tolerances=set_by_user)
