"""`convert check`, `convert compare` and `convert bisect`."""

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from convert.errors import one_clear_error
from convert.options import (
    RUNTIME,
    RUNTIMES,
    Atol,
    Names,
    Outputs,
    Rtol,
    RunCode,
    RuntimeChoice,
    Timeout,
    Verbose,
    one_of,
)
from convert.reporting import Files, HtmlFile, JsonFlag, JunitFile, MarkdownFile, gathered, print_json, report
from recipes.base.errors import UserError
from recipes.base.limits import time_limit
from recipes.base.shown import shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from convert.bisection import Bisection
    from convert.comparison import Found
    from convert.progress import Step
    from validators.page import Evidence


class PrecisionChoice(StrEnum):
    fp32 = "fp32"
    mixed = "mixed"
    fp16 = "fp16"


def check(
    folder: Annotated[Path, typer.Argument(help="A folder that `convert recipe` made.")],
    run_code: RunCode = False,
    timeout: Timeout = None,
    junit: JunitFile = None,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    as_json: JsonFlag = False,
    verbose: Verbose = False,
) -> None:
    """Verify a made folder again, from its own files alone, in every runtime that is here."""
    with one_clear_error(), time_limit(timeout):
        files = Files(junit, markdown, html)
        files.check(folder)
        from convert.progress import steps
        from convert.verify import verify

        step = steps(verbose)
        checks = verify(folder, step, run_code=run_code)
        files.write(checks, lambda: gathered(folder, checks, step))
        report(checks, as_json, verbose, folder=str(folder))


def compare(
    expected: Annotated[
        Path,
        typer.Argument(
            metavar="EXPECTED",
            help="What is right: a model, .onnx or .mlpackage, anybody's; a dump; or a folder that `convert recipe` "
            "made, which is what PyTorch answered.",
        ),
    ],
    got: Annotated[
        Path,
        typer.Argument(
            metavar="GOT",
            help="A model, or a made folder, whose models are run; or what a simulator or a device answered: .npy, "
            ".npz, .json in the reference format, .txt of numbers, .bin or .raw of float32, a dump of SigmaStar's "
            "tools, or a folder of them, one per output.",
        ),
    ],
    case: Annotated[str | None, typer.Option(help="Compare this case alone; needed where one side names none.")] = None,
    on: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SOUND|NPZ",
            help="Feed models this sound, or these arrays named as their inputs; repeat for more. Default: the "
            "reference of a made folder, else what is generated to fit.",
        ),
    ] = None,
    names: Names = None,
    outputs: Outputs = None,
    runtime: Annotated[
        RuntimeChoice | None,
        typer.Option(**RUNTIME, help=f"Run GOT, or the only model, in this one. {RUNTIMES}"),
    ] = None,
    precision: Annotated[
        PrecisionChoice | None,
        typer.Option(
            metavar="fp32|mixed|fp16",
            parser=one_of(PrecisionChoice),
            help="Whose tolerances: the manifest's where EXPECTED lies in a made folder, else none for integers "
            "(a text has no type), atol 0.0001 and rtol 0.0001 for fp32, atol 0.02 and rtol 0.01 for the others. "
            "Default: as the models compute, else fp32.",
        ),
    ] = None,
    atol: Atol = None,
    rtol: Rtol = None,
    timeout: Timeout = None,
    junit: JunitFile = None,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    as_json: JsonFlag = False,
    verbose: Verbose = False,
) -> None:
    """Hold any model, or what a device answered, to what is right, output by output; NHWC is undone."""
    with one_clear_error(), time_limit(timeout):
        from convert import comparison
        from convert.models import homes

        files = Files(junit, markdown, html)
        files.check(expected, got, *(on or ()), *homes(expected, got))
        found = comparison.compare(
            expected,
            got,
            case=case,
            on=on or (),
            names=names or (),
            outputs=outputs or (),
            runtime=runtime and runtime.value,
            precision=precision.value if precision else None,
            atol=atol or (),
            rtol=rtol or (),
        )
        files.write(found.checks, lambda: _compared(expected, got, found), notes=found.notes)
        for note in found.notes:
            sys.stderr.write(f"note: {shown(note)}\n")
        report(found.checks, as_json, verbose, expected=str(expected), got=str(got), notes=found.notes)


def _compared(expected: Path, got: Path, found: "Found") -> "Evidence":
    from convert.evidence import compared

    return compared(expected, got, found)


def bisect(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A",
            help="The model that is right, .onnx or .mlpackage, anybody's; or alone, a folder of `convert recipe`.",
        ),
    ],
    b: Annotated[Path | None, typer.Argument(metavar="B", help="The model in question, .onnx or .mlpackage.")] = None,
    on: Annotated[
        Path | None,
        typer.Option(
            metavar="SOUND|NPZ",
            help="Feed this sound, or to two models these arrays named as their inputs. Default: the reference of a "
            "made folder, else what is generated to fit.",
        ),
    ] = None,
    names: Names = None,
    outputs: Outputs = None,
    atol: Atol = None,
    rtol: Rtol = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The checkpoint that a folder was made of, where the cache does not have it.")
    ] = None,
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest",
            help="Where rounding fails a Core ML package of a made folder, find ops to keep in float32, and try them.",
        ),
    ] = False,
    run_code: RunCode = False,
    timeout: Timeout = None,
    markdown: MarkdownFile = None,
    html: HtmlFile = None,
    as_json: JsonFlag = False,
    verbose: Verbose = False,
) -> None:
    """Find where a model first goes wrong: the op at which B goes another way than A, or a folder's stage and the op.

    Rounding is told from faults.
    """
    with one_clear_error(), time_limit(timeout):
        of_two = {"--map": names, "--output": outputs, "--atol": atol, "--rtol": rtol}
        wrong = [flag for flag, given in of_two.items() if given] if b is None else ["--run-code"] * run_code
        if wrong:
            raise UserError(f"{wrong[0]}: is of {'two models' if b is None else 'a folder'}; leave it out")
        if b is not None and checkpoint is not None and not suggest:
            raise UserError("--checkpoint: is of a folder, or of --suggest; leave it out")
        if b is None and (not a.is_dir() or a.suffix == ".mlpackage"):
            raise UserError(f"{a}: is no folder that `convert recipe` made; name the model in question behind it, as B")
        files = Files(None, markdown, html)
        from convert.models import homes

        given = [path for path in (a, b) if path is not None]
        files.check(*given, on, checkpoint if checkpoint is None or not checkpoint.is_dir() else None, *homes(*given))
        if b is not None and suggest and not (b.suffix == ".mlpackage" and homes(b)):
            raise UserError(
                f"--suggest: {b} is no .mlpackage in a folder that `convert recipe` made; leave it out, or name one"
            )
        from rich.console import Console

        from convert.progress import interrupts_kept, steps

        with interrupts_kept(steps(verbose)) as step:
            if b is None:
                code, told, seen = _of_folder(a, step, files, checkpoint, on, run_code=run_code, suggest=suggest)
            else:
                how = {"names": names or (), "outputs": outputs or (), "atol": atol or (), "rtol": rtol or ()}
                code, told, seen = _of_two(a, b, step, files, checkpoint, on, how, suggest=suggest, verbose=verbose)
        if as_json:
            print_json(told)
        else:
            Console().print(seen)
    raise typer.Exit(code)


# What a bisection leaves: the exit code, what --json says, and what people see.
_Left: TypeAlias = "tuple[int, dict[str, Any], RenderableType]"


def _of_folder(
    folder: Path,
    step: "Step",
    files: Files,
    checkpoint: Path | None,
    on: Path | None,
    *,
    run_code: bool,
    suggest: bool,
) -> _Left:
    from convert import stage_report
    from convert.broken import breaks
    from convert.stages import stages

    whole = stages(folder, step, checkpoint=checkpoint, on=on, run_code=run_code)
    broken = breaks(whole, step)
    advice = None
    if suggest:
        from convert.suggestion import suggestions

        advice = suggestions(whole, broken, step)
    files.write(
        [],
        lambda: stage_report.evidence(whole, broken, advice),
        page_of_ci=lambda: stage_report.as_markdown(whole, broken, advice),
    )
    found = whole, broken, advice
    return stage_report.exit_code(whole), stage_report.as_json(*found), stage_report.text(*found)


def _of_two(
    a: Path,
    b: Path,
    step: "Step",
    files: Files,
    checkpoint: Path | None,
    on: Path | None,
    how: Mapping[str, Sequence[str]],
    *,
    suggest: bool,
    verbose: bool,
) -> _Left:
    from convert import bisection, bisection_report

    found = bisection.bisect(a, b, on=[on] if on else [], **how)
    told, seen = found.as_json(), bisection_report.text(found, verbose)
    lines: list[str] = []
    if suggest:
        from rich.console import Group

        from convert.stage_report import advised, in_words
        from convert.suggestion import for_package

        advice = for_package(b, step, checkpoint)
        lines = in_words(advice)
        more_seen, more_told = advised(advice)
        told, seen = {**told, **more_told}, Group(seen, *more_seen)
    files.write([], lambda: _bisected(found, lines), page_of_ci=lambda: bisection_report.as_markdown(found, lines))
    for note in found.notes:
        sys.stderr.write(f"note: {shown(note)}\n")
    return found.exit_code, told, seen


def _bisected(found: "Bisection", advice: list[str]) -> "Evidence":
    from convert.evidence import bisected

    return bisected(found, advice)
