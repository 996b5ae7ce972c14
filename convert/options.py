"""Options as the command line has them: those that several commands share, and those that targets declare."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from convert.targets import TARGETS, declaring, options
from convert.targets.target import Option

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


# Which there are is the targets' to say.
if TYPE_CHECKING:
    RuntimeChoice: TypeAlias = StrEnum
else:
    RuntimeChoice = words("Runtime", (name for target in TARGETS for name in (target.name, *target.runtime_names())))


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
    kind = words(option.name, option.kind) if isinstance(option.kind, tuple) else option.kind
    shown = typer.Option(
        help=option.help if option.default in (None, ()) else f"{option.help} Default: {option.default}.",
        min=option.least,
        max=option.most,
        rich_help_panel=f"Options of {owners}",
    )
    if option.repeat:
        return Annotated[list[kind] | None, shown]  # type: ignore[valid-type]
    return Annotated[kind | None, shown]


def plain(value: Any) -> Any:
    """An option's value without the types that the command line gives it; None for what is not given."""
    if isinstance(value, list):
        return tuple(dict.fromkeys(map(plain, value))) or None
    return value.value if isinstance(value, StrEnum) else value
