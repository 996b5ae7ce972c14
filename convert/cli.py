"""The `convert` command: which commands there are, and how it ends."""

import typer

from convert import signals
from convert.commands import checking, looking, making
from convert.errors import bugs_told
from convert.options import with_target_options
from convert.targets import TARGETS

*_FIRST, _LAST = (target.title for target in TARGETS)
_TITLES = f"{', '.join(_FIRST)} and {_LAST}"

app = typer.Typer(
    help=f"Convert pretrained audio-tagging models to {_TITLES}, and prove each file right.",
    epilog="Exit codes: 0 passed, 1 failed, 2 usage or bad input, 3 made, but a file was verified by no runtime, 70 a "
    "bug in this command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("list")(making.list_command)
app.command()(with_target_options(making.recipe))
app.command()(checking.check)
app.command()(checking.compare)
app.command()(checking.bisect)
app.command()(looking.inspect)
app.command()(looking.run)


def run_app() -> None:
    """The command; whatever ends it, it ends in one line and without a traceback."""
    with bugs_told(), signals.raised():
        app()
