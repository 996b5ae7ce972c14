"""`convert list` and `convert recipe`."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from convert.errors import one_clear_error
from convert.options import Atol, Timeout, Verbose, one_of, plain, words
from convert.reporting import Files, HtmlFile, JsonFlag, JunitFile, MarkdownFile, gathered, print_json, report
from convert.targets import TARGETS, asked_for
from recipes.base.errors import UserError
from recipes.base.limits import time_limit
from recipes.base.shown import shown

# Which formats there are, and what can be said of them, is theirs to say.
if TYPE_CHECKING:
    _Format: TypeAlias = StrEnum
else:
    _Format = words("Format", (target.name for target in TARGETS))
_FORMATS = ", ".join(target.name for target in TARGETS)
_ALWAYS = " and ".join(target.title for target in TARGETS if target.always)


class WeightsChoice(StrEnum):
    published = "published"
    synthetic = "synthetic"


def list_command(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Show all that is known of this variant, or of a family's default one.", show_default=False
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the variants and what each costs, how good it is, its licence, and whether its checkpoint is cached."""
    with one_clear_error():
        from rich.console import Console

        from convert import catalogue
        from recipes.base.config import find, variants

        shown = variants() if name is None else (find(name),)
        if as_json:
            entries = [catalogue.entry(variant) for variant in shown]
            print_json(entries if name is None else entries[0])
        else:
            Console().print(catalogue.table(shown) if name is None else catalogue.details(*shown), crop=False)


def recipe(
    name: Annotated[str, typer.Argument(help="A family (its default variant) or a variant; see `convert list`.")],
    to: Annotated[
        list[_Format] | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            parser=one_of(_Format),
            help=f"What to make: {_FORMATS}; repeat for more. {_ALWAYS} is always made.",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Use this checkpoint file instead of the published one.")
    ] = None,
    weights: Annotated[
        WeightsChoice | None,
        typer.Option(
            metavar="published|synthetic",
            parser=one_of(WeightsChoice),
            help="The published weights (the default), or synthetic ones that need no download.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output-dir", help="Default: artifacts/NAME.")] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="What the model is fed, by name; see `convert list`. Repeat to make files for both."
        ),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            help="What the files give, by name; nothing else is computed. Repeat for more. Default: all; see "
            "`convert list`.",
        ),
    ] = None,
    input_name: Annotated[
        str | None, typer.Option(help="Call the input so, for toolchains that want a certain name.")
    ] = None,
    output_names: Annotated[
        list[str] | None,
        typer.Option("--output-name", help="Call an output so: NAME, or OUTPUT:NAME where there are several; repeat."),
    ] = None,
    numbers: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a number of a front end that has no checkpoint (family mel); `convert list NAME` names them. "
            "Repeat for more.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Such numbers in a file; --set stands over it.")
    ] = None,
    streaming: Annotated[
        int | None,
        typer.Option(
            metavar="CHUNK",
            min=1,
            help="Also make files that take sound in chunks of so many hops, with a state (family mel).",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Names of the checkpoint's own classes: a text file, one a line, or .json or .csv."),
    ] = None,
    no_lowering: Annotated[
        bool, typer.Option("--no-lowering", help="Ship the authors' graph as it is, without the rewrites for speed.")
    ] = False,
    audio: Annotated[list[Path] | None, typer.Option(help="Also check on this sound; repeat for more.")] = None,
    atol: Atol = None,
    timeout: Timeout = None,
    junit: JunitFile = None,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    as_json: JsonFlag = False,
    verbose: Verbose = False,
    **options: Any,
) -> None:
    """Make the files that ship from a checkpoint, and check each against PyTorch."""
    with one_clear_error(), time_limit(timeout):
        if checkpoint is not None and weights is not None:
            raise UserError("--checkpoint and --weights both say where the weights are from; leave one out")
        formats = tuple(format_.value for format_ in to or ())
        settings = {option: plain(value) for option, value in options.items()}
        # What fits nothing is told before PyTorch is loaded, here and where the request is whole.
        asked_for(formats, settings)
        folder = output or Path("artifacts") / name
        files = Files(junit, markdown, html)
        # A training run is a folder, beside whose files a page may lie.
        run = checkpoint if checkpoint is None or not checkpoint.is_dir() else None
        files.check(folder, run, labels, config, *(audio or ()))
        from convert.progress import interrupts_kept, steps
        from convert.request import Request

        request = Request(
            name=name,
            formats=formats,
            checkpoint=checkpoint,
            weights=weights.value if weights else "published",
            output=folder,
            inputs=tuple(dict.fromkeys(inputs or ())),
            outputs=tuple(dict.fromkeys(outputs or ())),
            config=config,
            numbers=tuple(numbers or ()),
            labels=labels,
            audio=tuple(audio or ()),
            atol=tuple(atol or ()),
            input_name=input_name,
            output_names=tuple(output_names or ()),
            lowering=not no_lowering,
            options=settings,
            streaming=streaming,
        )
        request.variant()
        from convert.pipeline import make

        with interrupts_kept(steps(verbose)) as step:
            made = make(request, step)
            files.write(made.checks, lambda: gathered(folder, made.checks, step), warnings=made.warnings)
        for warning in made.warnings:
            sys.stderr.write(f"warning: {shown(warning)}\n")
        for note in made.notes if verbose else ():
            sys.stderr.write(f"{shown(note)}\n")
        report(made.checks, as_json, verbose, folder=str(request.output), warnings=made.warnings)
