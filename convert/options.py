"""Options as the command line has them: those that several commands share, and those that targets declare."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from convert.targets import TARGETS, declaring, options
from convert.targets.target import Option
from recipes.base.near import meant

Timeout = Annotated[
    float | None,
    typer.Option(
        min=0, help="Give up on a runtime, or on what reads a file, that takes more seconds than this. Default: 300."
    ),
]
RunCode = Annotated[
    bool, typer.Option("--run-code", help="Run programs that are in it, too: of folders that you trust.")
]
Atol = Annotated[
    list[str] | None, typer.Option(help="Set the absolute tolerance: X, or OUTPUT:X for one output; repeat for more.")
]
Rtol = Annotated[list[str] | None, typer.Option(help="Set the relative tolerance: X, or OUTPUT:X; repeat for more.")]
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="A_NAME=B_NAME",
        help="An input or output of the first is this one of the second, where names and shapes do not tell; repeat.",
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="A_NAME",
        help="Compare this output of the first, and leave out what is not named so; repeat. Default: all of both.",
    ),
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more: every case, and each step's time.")]


def words(title: str, values: Iterable[str]) -> Any:
    """A type whose values are these words, for an option that is one of them."""
    return StrEnum(title, {word: word for word in values})


def one_of(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    """Reads one of these words, and tells the nearest of them where it is none."""

    def read(word: str) -> StrEnum:
        if word not in (known := [one.value for one in kind]):
            raise typer.BadParameter(f"{word!r} is not one of {', '.join(known)}{meant(word, known)}")
        return kind(word)

    return read


# Which there are is the targets' to say; a format's name stands for the first of its runtimes.
if TYPE_CHECKING:
    RuntimeChoice: TypeAlias = StrEnum
else:
    RuntimeChoice = words("Runtime", (name for target in TARGETS for name in (*target.runtime_names(), target.name)))
_BY_FORMAT = (f"{', '.join(target.runtime_names())} ({target.title})" for target in TARGETS if target.runtimes)
# What an option has that is one of them, and what its help ends with.
RUNTIME: dict[str, Any] = {"metavar": "RUNTIME", "parser": one_of(RuntimeChoice)}
RUNTIMES = f"There are {'; '.join(_BY_FORMAT)}. Default: the first that is here."


def with_target_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options that targets declare, None where they are not given, as keywords of its own."""
    found = signature(command)
    own = [parameter for parameter in found.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    declared = [
        Parameter(option.name, Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(option))
        for option in options()
    ]
    command.__signature__ = found.replace(parameters=[*own, *declared])  # type: ignore[attr-defined]
    return command


def _annotation(option: Option) -> Any:
    owners = ", ".join(target.title for target in declaring(option))
    kind: Any = option.kind
    told = [option.help]
    of_words: dict[str, Any] = {}
    if isinstance(option.kind, tuple):
        kind = words(option.name, option.kind)
        told.append(f"One of {', '.join(option.kind)}.")
        of_words = {"metavar": option.name.upper(), "parser": one_of(kind)}
    if option.default not in (None, ()):
        told.append(f"Default: {option.default}.")
    shown = typer.Option(
        **of_words,
        help=" ".join(told),
        min=option.least,
        max=option.most,
        rich_help_panel=f"Options of {owners}",
    )
    if option.repeat:
        return Annotated[list[kind] | None, shown]
    return Annotated[kind | None, shown]


def plain(value: Any) -> Any:
    """An option's value without the types that the command line gives it; None for what is not given."""
    if isinstance(value, list):
        return tuple(dict.fromkeys(map(plain, value))) or None
    return value.value if isinstance(value, StrEnum) else value
