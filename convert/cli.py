"""The `convert` command. Heavy imports happen inside the command that needs them."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from convert import signals
from convert.errors import bugs_told, one_clear_error
from convert.options import plain, with_target_options, words
from convert.reporting import Files, HtmlFile, JsonFlag, JunitFile, MarkdownFile, print_json, report
from convert.targets import TARGETS, asked_for
from recipes.base.errors import UserError
from recipes.base.limits import time_limit
from recipes.base.shown import shown

if TYPE_CHECKING:
    from convert.bisection import Bisection
    from convert.comparison import Found
    from convert.progress import Step
    from validators.page import Evidence
    from validators.results import Check


# Which formats and runtimes there are, and what can be said of them, is theirs to say.
if TYPE_CHECKING:
    _Format: TypeAlias = StrEnum
    _Runtime: TypeAlias = StrEnum
else:
    _Format = words("Format", (target.name for target in TARGETS))
    _Runtime = words("Runtime", (name for target in TARGETS for name in (target.name, *target.runtime_names())))
*_FIRST, _LAST = (target.title for target in TARGETS)
_TITLES = f"{', '.join(_FIRST)} and {_LAST}"
_SUFFIXES = ", ".join(target.suffix for target in TARGETS)
_ALWAYS = " and ".join(target.title for target in TARGETS if target.always)

app = typer.Typer(
    help=f"Convert pretrained audio-tagging models to {_TITLES}, and prove each file right.",
    epilog="Exit codes: 0 passed, 1 failed, 2 usage or bad input, 3 made, but a file was verified by no runtime, 70 a "
    "bug in this command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class WeightsChoice(StrEnum):
    published = "published"
    synthetic = "synthetic"


class PrecisionChoice(StrEnum):
    fp32 = "fp32"
    mixed = "mixed"
    fp16 = "fp16"


Timeout = Annotated[
    float | None,
    typer.Option(
        min=0, help="Give up on a runtime, or on what reads a file, that takes more seconds than this. Default: 300."
    ),
]
RunCode = Annotated[
    bool, typer.Option("--run-code", help="Run programs that are in it, too: of folders that you trust.")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more: every case, and each step's time.")]


@app.command("list")
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


@app.command()
@with_target_options
def recipe(
    name: Annotated[str, typer.Argument(help="A family (its default variant) or a variant; see `convert list`.")],
    to: Annotated[
        list[_Format] | None,
        typer.Option("--to", help=f"What to make; repeat for more. {_ALWAYS} is always made."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Use this checkpoint file instead of the published one.")
    ] = None,
    weights: Annotated[
        WeightsChoice | None,
        typer.Option(help="The published weights (the default), or synthetic ones that need no download."),
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
    atol: Annotated[
        list[str] | None,
        typer.Option(help="Set the absolute tolerance: X, or OUTPUT:X for one output; repeat for more."),
    ] = None,
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
        # Words that fit nothing are told before PyTorch is loaded.
        asked_for(formats, settings)
        folder = output or Path("artifacts") / name
        files = Files(junit, markdown, html)
        # A training run is a folder, beside whose files a page may lie.
        run = checkpoint if checkpoint is None or not checkpoint.is_dir() else None
        files.check(folder, run, labels, config, *(audio or ()))
        from convert.pipeline import make
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
        with interrupts_kept(steps(verbose)) as step:
            made = make(request, step)
            files.write(made.checks, lambda: _gathered(folder, made.checks, step), warnings=made.warnings)
        for warning in made.warnings:
            sys.stderr.write(f"warning: {shown(warning)}\n")
        for note in made.notes if verbose else ():
            sys.stderr.write(f"{shown(note)}\n")
        report(made.checks, as_json, verbose, folder=str(request.output), warnings=made.warnings)


@app.command()
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
        files.write(checks, lambda: _gathered(folder, checks, step))
        report(checks, as_json, verbose, folder=str(folder))


@app.command()
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
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="A_NAME=B_NAME",
            help="An input or output of EXPECTED is this one of GOT, where names and shapes do not tell; repeat.",
        ),
    ] = None,
    runtime: Annotated[
        _Runtime | None, typer.Option(help="Run GOT, or the only model, in this one. Default: the first that is here.")
    ] = None,
    precision: Annotated[
        PrecisionChoice | None,
        typer.Option(
            help="Whose tolerances: the manifest's where EXPECTED lies in a made folder, else atol 0.0001 and rtol "
            "0.0001 for fp32, atol 0.02 and rtol 0.01 for the others. Default: as the models compute, else fp32."
        ),
    ] = None,
    atol: Annotated[
        list[str] | None,
        typer.Option(help="Set the absolute tolerance: X, or OUTPUT:X for one output; repeat for more."),
    ] = None,
    rtol: Annotated[
        list[str] | None, typer.Option(help="Set the relative tolerance: X, or OUTPUT:X; repeat for more.")
    ] = None,
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
            runtime=runtime and runtime.value,
            precision=precision.value if precision else None,
            atol=atol or (),
            rtol=rtol or (),
        )
        files.write(found.checks, lambda: _compared(expected, got, found), notes=found.notes)
        for note in found.notes:
            sys.stderr.write(f"note: {shown(note)}\n")
        report(found.checks, as_json, verbose, expected=str(expected), got=str(got), notes=found.notes)


def _gathered(folder: Path, checks: "list[Check]", step: "Step") -> "Evidence":
    from convert.evidence import gather

    return gather(folder, checks, step)


def _compared(expected: Path, got: Path, found: "Found") -> "Evidence":
    from convert.evidence import compared

    return compared(expected, got, found)


@app.command()
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
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="A_NAME=B_NAME",
            help="An input or output of A is this one of B, where names and shapes do not tell; repeat.",
        ),
    ] = None,
    atol: Annotated[
        list[str] | None,
        typer.Option(help="Set an output's absolute tolerance: X, or OUTPUT:X for one; repeat for more. Of A and B."),
    ] = None,
    rtol: Annotated[
        list[str] | None,
        typer.Option(help="Set an output's relative tolerance: X, or OUTPUT:X; repeat for more. Of A and B."),
    ] = None,
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
        from rich.console import Console, Group

        from convert.progress import interrupts_kept, steps

        of_two = {"--map": names, "--atol": atol, "--rtol": rtol}
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
        with interrupts_kept(steps(verbose)) as step:
            if b is None:
                from convert import stage_report
                from convert.broken import breaks
                from convert.stages import stages

                whole = stages(a, step, checkpoint=checkpoint, on=on, run_code=run_code)
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
                code, told = stage_report.exit_code(whole), stage_report.as_json(whole, broken, advice)
                seen = stage_report.text(whole, broken, advice)
            else:
                from convert import bisection

                found = bisection.bisect(
                    a, b, on=[on] if on else [], names=names or (), atol=atol or (), rtol=rtol or ()
                )
                files.write([], lambda: _bisected(found), page_of_ci=lambda: bisection.as_markdown(found))
                for note in found.notes:
                    sys.stderr.write(f"note: {shown(note)}\n")
                code, told, seen = found.exit_code, found.as_json(), bisection.text(found, verbose)
                if suggest:
                    from convert.stage_report import advised
                    from convert.suggestion import for_package

                    lines, more = advised(for_package(b, step, checkpoint))
                    told, seen = {**told, **more}, Group(seen, *lines)
        if as_json:
            print_json(told)
        else:
            Console().print(seen)
    raise typer.Exit(code)


def _bisected(found: "Bisection") -> "Evidence":
    from convert.evidence import bisected

    return bisected(found)


@app.command()
def inspect(
    package: Annotated[Path, typer.Argument(help="A .mlpackage.")],
    hazards: Annotated[
        bool,
        typer.Option("--hazards", help="Also run the reference cases beside it, and list what float16 cannot hold."),
    ] = False,
    timeout: Timeout = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a Core ML package: inputs, outputs, ops, precision by region, size, and broken rules of the runtime."""
    with one_clear_error(), time_limit(timeout):
        from rich.console import Console

        from convert import inspection

        found = inspection.isolated(package, hazards)
        if as_json:
            print_json(found.as_json())
        else:
            Console().print(inspection.text(found))
    raise typer.Exit(int(found.broken))


@app.command()
def run(
    artifact: Annotated[Path, typer.Argument(help=f"A file or package that ends in {_SUFFIXES}.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="WAV, FLAC, or an .npz of named arrays.")],
    runtime: Annotated[_Runtime | None, typer.Option(help="Default: the first that is here.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write all outputs to this .npz.")] = None,
    top: Annotated[
        int, typer.Option(help="How many classes to print; with --hop a line a window has its best one.", min=1)
    ] = 10,
    hop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Move a window of the file's fixed length over the whole sound, by so many seconds; a line a window, "
            "with its best class. --json has as many classes as --top says.",
        ),
    ] = None,
    timeout: Timeout = None,
    as_json: JsonFlag = False,
) -> None:
    """Run an artifact on a sound and print its top classes, or write all its outputs."""
    with one_clear_error(), time_limit(timeout):
        from convert import inference

        def tell(window: inference.Window, row: inference.Row) -> None:
            if not as_json:
                (start, end), (label, score) = window, row[0]
                sys.stdout.write(f"{start:.2f} to {end:.2f} s  {score:.4f}  {shown(label)}\n")
                sys.stdout.flush()

        chosen = runtime and runtime.value
        result = inference.run(artifact, source, runtime=chosen, top=top, hop=hop, output=output, tell=tell)
        if result.remark:
            sys.stderr.write(f"note: {shown(f'{source}: {result.remark}')}\n")
        if as_json:
            print_json(result.as_json())
            return
        for index, row in enumerate(result.top if not result.windows else ()):
            if len(result.top) > 1:
                sys.stdout.write(f"row {index}\n")
            for label, score in row:
                sys.stdout.write(f"{score:.4f}  {shown(label)}\n")
        for name, (dtype, shape) in result.outputs.items() if not result.top else ():
            sys.stdout.write(f"{shown(name)}  {dtype}{shape}\n")


def run_app() -> None:
    """The command; whatever ends it, it ends in one line and without a traceback."""
    with bugs_told(), signals.raised():
        app()
