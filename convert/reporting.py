"""What a command leaves: tables or JSON on stdout, files for machines and for people, and its exit code."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from recipes.base.errors import UserError
from recipes.base.shown import shown

if TYPE_CHECKING:
    from validators.page import Evidence
    from validators.results import Check


def print_json(data: dict[str, Any] | list[dict[str, Any]]) -> None:
    """In ASCII: names of strangers' files may control a terminal, or be no text that stdout can write."""
    sys.stdout.write(json.dumps(data, indent=1, ensure_ascii=True, allow_nan=False) + "\n")


def write_junit(checks: list[Check], path: Path | None) -> None:
    """JUnit XML, where it was asked for."""
    if path is None:
        return
    from convert.folder import replaced
    from validators import report as reports

    with replaced(path) as partial:
        partial.write_text(reports.junit(checks), encoding="utf-8")


def check_files(junit: Path | None, html: Path | None, *sources: Path) -> None:
    """UserError, before anything is computed, where one cannot be written, or no page can be made."""
    from convert.folder import check_file

    for path in (junit, html):
        if path is not None:
            check_file(path, *sources)
    if html is None:
        return
    from validators import page

    if reason := page.missing():
        raise UserError(f"--html: {reason}")
    if junit is not None and html.resolve() == junit.resolve():
        raise UserError(f"{html}: --junit and --html would write the same file; give each a name of its own")


def write_page(path: Path, checks: list[Check], evidence: Evidence, warnings: Sequence[str] = ()) -> None:
    """One page of HTML."""
    from convert.folder import replaced
    from validators import page

    text = page.write(checks, evidence, shlex.join(["convert", *sys.argv[1:]]), warnings)
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")


def report(checks: list[Check], as_json: bool, verbose: bool, **more: Any) -> None:
    """Prints the results and leaves with the exit code that they add up to."""
    from rich.console import Console

    from validators import report as reports
    from validators.results import exit_code

    code = exit_code(checks)
    if as_json:
        print_json({**more, "exit_code": code, **reports.as_json(checks)})
    else:
        Console().print(reports.table(checks, verbose))
        for check in checks:
            if check.kind == "rules" and check.status == "passed" and check.message:
                warning = f"{check.artifact}: {check.message}; `convert inspect` says why"
                sys.stdout.write(f"warning: {shown(warning)}\n")
        if "folder" in more:
            sys.stdout.write(f"{shown(more['folder'])}\n")
    raise typer.Exit(code)
