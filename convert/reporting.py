"""What a command leaves: tables or JSON on stdout, the files of --junit, --markdown and --html, and its exit code."""

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recipes.base.errors import UserError
from recipes.base.shown import shown

if TYPE_CHECKING:
    from convert.progress import Step
    from validators.page import Evidence
    from validators.results import Check

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
JunitFile = Annotated[Path | None, typer.Option(help="Also write the results as JUnit XML to this file.")]
MarkdownFile = Annotated[
    Path | None,
    typer.Option(
        "--markdown",
        metavar="FILE",
        help="Also write the verdict and the tables as Markdown to this file, for a CI's page.",
    ),
]
HtmlFile = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help='Also write one page to this file, with pictures of what differs; pip install "soundport\\[report]".',
    ),
]


@dataclass(frozen=True)
class Files:
    """The files that were asked for beside what is printed."""

    junit: Path | None
    markdown: Path | None
    html: Path | None

    def check(self, *sources: Path | None) -> None:
        """UserError, before anything is computed, where one cannot be written, or no page can be made.

        `sources` are all that is read, None what was not given; none of it is replaced, and no folder of it added to.
        """
        from convert.folder import check_file

        flags: dict[Path, str] = {}
        for flag, path in (("--junit", self.junit), ("--markdown", self.markdown), ("--html", self.html)):
            if path is None:
                continue
            check_file(path, *filter(None, sources))
            other = flags.setdefault(path.resolve(), flag)
            if other != flag:
                raise UserError(f"{path}: {other} and {flag} would write the same file; give each a name of its own")
        if self.html is not None:
            from validators import page

            if reason := page.missing():
                raise UserError(f"--html: {reason}")

    def write(
        self,
        checks: "Sequence[Check]",
        evidence: "Callable[[], Evidence]",
        *,
        warnings: Sequence[str] = (),
        notes: Sequence[str] = (),
        page_of_ci: "Callable[[], str] | None" = None,
    ) -> None:
        """All of them; `evidence` is gathered for a page alone. Notes are of what was assumed.

        `page_of_ci` gives the Markdown where that is not of the checks.
        """
        from validators import markdown, report

        if self.junit is not None:
            _written(self.junit, report.junit(checks))
        if self.markdown is not None:
            _written(self.markdown, page_of_ci() if page_of_ci else markdown.write(checks, warnings, notes))
        if self.html is not None:
            from validators import page

            _written(self.html, page.write(checks, evidence(), _command(), warnings))


def _written(path: Path, text: str) -> None:
    from convert.folder import replaced

    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _command() -> str:
    """What was typed."""
    return shlex.join(["convert", *sys.argv[1:]])


def print_json(data: dict[str, Any] | list[dict[str, Any]]) -> None:
    """In ASCII: names of strangers' files may control a terminal, or be no text that stdout can write."""
    sys.stdout.write(json.dumps(data, indent=1, ensure_ascii=True, allow_nan=False) + "\n")


def report(checks: "Sequence[Check]", as_json: bool, verbose: bool, **more: Any) -> None:
    """Prints the results and leaves with the exit code that they add up to."""
    from rich.console import Console

    from validators import report
    from validators.results import exit_code

    code = exit_code(checks)
    if as_json:
        print_json({**more, "exit_code": code, **report.as_json(checks)})
    else:
        Console().print(report.table(checks, verbose))
        for check in checks:
            if check.kind == "rules" and check.status == "passed" and check.message:
                warning = f"{check.artifact}: {check.message}; `convert inspect` says why"
                sys.stderr.write(f"warning: {shown(warning)}\n")
        if "folder" in more:
            sys.stdout.write(f"{shown(more['folder'])}\n")
    raise typer.Exit(code)


def gathered(folder: Path, checks: "list[Check]", step: "Step") -> "Evidence":
    """What a page shows of a made folder; only who asks for one waits for its imports."""
    from convert.evidence import gather

    return gather(folder, checks, step)
