"""Holding back what third parties print and a user can do nothing about."""

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Silence warnings, progress bars and the named loggers below ERROR; all of it is restored afterwards.

    Errors are raised as ever. What matters to the user is said by the caller, once, in this project's words.
    """
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silence what native code writes to the process's standard error by itself, as decoders of sound do."""
    try:
        kept = os.dup(2)
    except OSError:  # It is closed.
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
