"""`convert inspect` and `convert run`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from convert.errors import one_clear_error
from convert.options import RUNTIME, RUNTIMES, RuntimeChoice, Timeout
from convert.reporting import JsonFlag, print_json
from convert.targets import TARGETS
from recipes.base.errors import UserError
from recipes.base.limits import time_limit
from recipes.base.shown import shown

_PACKAGE = ".mlpackage"
_SUFFIXES = ", ".join(target.suffix for target in TARGETS)


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
        _refuse_others(package)
        from rich.console import Console

        from convert import inspection

        found = inspection.isolated(package, hazards)
        if as_json:
            print_json(found.as_json())
        else:
            Console().print(inspection.text(found))
    raise typer.Exit(int(found.broken))


def _refuse_others(package: Path) -> None:
    """What is no package by its name, before coremltools is imported; it says of other files that they are corrupt."""
    from convert.manifest import artifacts_in

    if held := artifacts_in(package):
        packages = [path for path in held if path.suffix == _PACKAGE]
        what = f"name the package in it: {_listed(packages)}" if packages else "it holds no package; add --to coreml"
        raise UserError(f"{package}: is a folder of `convert recipe`; {what}")
    if not package.exists():
        raise UserError(f"{package}: there is no such file or folder")
    if package.suffix not in (_PACKAGE, ".mlmodel", ".mlmodelc"):
        others = (f"is of the format {target.title}" for target in TARGETS if target.is_of(package.name))
        raise UserError(
            f"{package}: {next(others, 'is no package')}; inspect shows Core ML packages, which end in {_PACKAGE}"
        )


def _listed(paths: list[Path]) -> str:
    return ", ".join(map(str, paths))


def run(
    artifact: Annotated[Path, typer.Argument(help=f"A file or package that ends in {_SUFFIXES}.")],
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="WAV, FLAC, or an .npz of named arrays.")],
    runtime: Annotated[RuntimeChoice | None, typer.Option(**RUNTIME, help=f"Run it in this one. {RUNTIMES}")] = None,
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
        from convert.manifest import artifacts_in

        if held := artifacts_in(artifact):
            raise UserError(f"{artifact}: is a folder of `convert recipe`; name a file in it: {_listed(held)}")

        def tell(window: inference.Window, row: inference.Row) -> None:
            if not as_json:
                (start, end), (label, score) = window, row[0]
                sys.stdout.write(f"{start:.2f} to {end:.2f} s  {score:.4f}  {shown(label)}\n")
                sys.stdout.flush()

        chosen = runtime and runtime.value
        result = inference.run(artifact, source, runtime=chosen, top=top, hop=hop, output=output, tell=tell)
        if result.weights == "synthetic":
            sys.stderr.write(f"note: {shown(str(artifact))}: its weights are synthetic, and recognise nothing\n")
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
