"""What a format is to the rest of the command: plain data and functions, cheap to import.

A target's module names everything that is particular to its format. What it needs of PyTorch, ONNX or Core ML it
imports inside its functions, since the command's help shows every target's options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, cast

from recipes.base.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from convert.manifest import Artifact, Manifest
    from convert.progress import Step
    from convert.subject import Branch
    from exporters.lowering.shipped import Shipped
    from recipes.base.spec import Variant
    from recipes.base.tensor import Input, Output
    from validators.coreml.hazards import Hazard
    from validators.coreml.rules import Breach
    from validators.results import Check
    from validators.runners.runner import Arrays, Runner
    from validators.runners.runtime import Runtime
    from validators.traces import Trace
    from validators.values import Case

Settings = Mapping[str, int | float | str | tuple[str, ...] | None]


@dataclass(frozen=True)
class Option:
    """An option of `convert recipe` that belongs to the targets that declare it; two may declare the same one.

    `kind` is a type, or the words to choose from. `least` and `most` bound a number. With `repeat`, the value is a
    tuple of words. `streaming`: it is of files that are fed chunks alone. `apart`: its files are not what other formats
    are made of.
    """

    name: str
    kind: type[int] | type[float] | type[str] | tuple[str, ...]
    help: str
    default: int | float | str | tuple[str, ...] | None = None
    least: int | None = None
    most: int | None = None
    repeat: bool = False
    streaming: bool = False
    apart: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    def admits(self, value: object) -> bool:
        """Whether the option can have this value; None where it has no default."""
        if self.repeat:
            return isinstance(value, tuple) and all(replace(self, repeat=False).admits(word) for word in value)
        if isinstance(self.kind, tuple):
            return value in self.kind
        if value is None or self.kind is str:
            return self.default is None if value is None else isinstance(value, str)
        if isinstance(value, bool) or not isinstance(value, (int, self.kind)):
            return False
        assert isinstance(value, (int, float))
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


# The reference has sounds of this length then, so that a file that takes no other length can be held to them.
SECONDS = Option(
    "seconds", float, "Fix the length of the input; without it, it is free where the format can have that.", least=0
)


def refuse_seconds(settings: Settings, variant: Variant) -> None:
    """Raises UserError for a length that the variant does not take; for targets that declare SECONDS."""
    seconds = cast("float | None", settings[SECONDS.name])
    if seconds is None:
        return
    bounds = variant.input
    samples = round(seconds * variant.sample_rate) if isfinite(seconds) else 0
    if not bounds.least <= samples <= bounds.most:
        least, most = (count / variant.sample_rate for count in (bounds.least, bounds.most))
        takes = f"exactly {least:g} s: leave it out" if bounds.fixed else f"{least:g} to {most:g} s"
        raise UserError(f"--seconds {seconds:g}: {variant.title} takes {takes}")


@dataclass(frozen=True)
class Job:
    """One branch of the subject, to be written into `folder` as `settings` ask.

    `lowered` is the module that ships: the branch's input to its outputs, in the order of its variant.
    """

    branch: Branch
    lowered: Shipped
    settings: Settings
    folder: Path
    step: Step


@dataclass(frozen=True)
class Product:
    """What was made: artifacts by their path in the folder.

    `checks` are those that only the maker can do, beside the form and the values of every artifact. `notes` are for
    those who ask for more.
    """

    artifacts: Mapping[str, Artifact]
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Interim:
    """A form of the model on the way from a job to its artifacts, in memory: what it is called, and what makes it."""

    name: str
    by: str
    runner: Runner
    trace: Callable[[Arrays], Trace]


def _nothing_refused(settings: Settings, variant: Variant) -> None: ...


def _no_remarks(artifact: Artifact, manifest: Manifest) -> str:
    return ""


@dataclass(frozen=True)
class Target:
    """One format, called TARGET in `convert/targets/NAME.py`; nothing else has to know of it.

    `title` names it to people. Artifacts end in `suffix`. `packages` are the distributions whose versions matter.
    `runtimes` run an artifact, the one to prefer first. `make` writes files through an exporter, `check_file` holds an
    artifact's form to what it was made to be, `refuse` raises UserError for settings that a variant cannot have, before
    anything is fetched or computed.

    In the folder's card, `remarks` are sentences about an artifact, and `sample` is a section in Markdown, or gives one
    by the artifact's name; `card.fill` says what its braces may name.

    `streaming` is that section for a file that is fed chunks; a format without one has no such files. `remembering`
    gives it for settings with which such a file keeps its state itself, and nothing for others.

    `beside` names the formats whose files of the same model `make` finds in the folder, since they are made before it.

    `claims` tells its artifacts by their file's name, where that is not by the ending. `code`: artifacts are programs,
    run by a check only where `check_file` has passed, since a stranger's may do anything.

    `interim` gives the forms that lie between what it is given and its artifacts, in order.

    `always`: made whether asked for or not. `bounded`: a free length has an upper bound in this format. `swept`: held
    to a sweep of batches and lengths too. `remedies` are settings worth a try where the values of an artifact fail;
    `search`, with the folder in its braces, is a command that looks for smaller changes than those.

    For the page of a report, `rules` are those of its runtime that an artifact breaks, and `hazards` the values in the
    cases that float16 cannot hold; both open the artifact, and raise UserError where they cannot.
    """

    name: str
    title: str
    suffix: str
    packages: tuple[str, ...]
    runtimes: tuple[Runtime, ...]
    make: Callable[[Job], Product]
    check_file: Callable[[Path, Artifact, Input, tuple[Output, ...]], list[Check]]
    sample: str | Callable[[str], str]
    options: tuple[Option, ...] = ()
    refuse: Callable[[Settings, Variant], None] = _nothing_refused
    remarks: Callable[[Artifact, Manifest], str] = _no_remarks
    always: bool = False
    bounded: bool = False
    swept: bool = False
    remedies: Callable[[Settings], tuple[Settings, ...]] = lambda settings: ()
    search: str = ""
    beside: tuple[str, ...] = ()
    claims: Callable[[str], bool] | None = None
    interim: Callable[[Job], Iterator[Interim]] = lambda job: iter(())
    streaming: str = ""
    remembering: Callable[[Settings], str] = lambda settings: ""
    code: bool = False
    rules: Callable[[Path], list[Breach]] | None = None
    hazards: Callable[[Path, Sequence[Case]], list[Hazard]] | None = None

    def is_of(self, name: str) -> bool:
        """Whether an artifact of this name is one of its own."""
        return name.endswith(self.suffix) if self.claims is None else self.claims(name)

    def runtimes_of(self, name: str) -> tuple[Runtime, ...]:
        """Those that are for an artifact of this name."""
        return tuple(runtime for runtime in self.runtimes if runtime.runs(name))

    def runtime_names(self) -> tuple[str, ...]:
        return tuple(runtime.name for runtime in self.runtimes)

    def needs(self) -> tuple[str, ...]:
        """The heavy modules of its runtimes, which a worker starts with."""
        return tuple(dict.fromkeys(name for runtime in self.runtimes for name in runtime.needs))

    def settings(self, given: Settings) -> Settings:
        """The value of each of its options: as given, or the default."""
        return {
            option.name: option.default if given.get(option.name) is None else given[option.name]
            for option in self.options
        }
