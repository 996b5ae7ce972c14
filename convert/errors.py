"""How a command ends that cannot do what it was asked to: in one line on stderr, and with the exit code of its kind."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from convert import signals
from recipes.base.errors import UserError
from recipes.base.shown import shown

# A longer message is no line any more.
_MOST_OF_A_BUG = 300


@contextmanager
def one_clear_error() -> Iterator[None]:
    """Turns what the user can put right into one line on stderr and exit code 2."""
    try:
        yield
    except UserError as error:
        _complain(str(error))
        raise typer.Exit(2) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _complain(f"{place}{error.strerror or error}; free space or check the path and its rights, then run it again")
        raise typer.Exit(2) from None
    except MemoryError:
        _complain("there is not enough memory for this; give it a smaller input, or a machine with more")
        raise typer.Exit(2) from None
    except KeyboardInterrupt as error:
        code, what = signals.told(error)
        _complain(f"{what}; nothing half-written is left")
        raise typer.Exit(code) from None


@contextmanager
def bugs_told() -> Iterator[None]:
    """Turns what nobody foresaw into one line and exit code 70 (EX_SOFTWARE).

    Where the reader of the output goes away, as `head` does, there is nobody to tell.
    """
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        if os.environ.get("SOUNDPORT_DEBUG"):
            traceback.print_exc()
        else:
            what = " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_OF_A_BUG]
            _complain(f"{what}; this is a bug in soundport; run with SOUNDPORT_DEBUG=1 for the traceback")
        raise SystemExit(os.EX_SOFTWARE) from None


def _complain(message: str) -> None:
    sys.stderr.write(f"error: {shown(message)}\n")
