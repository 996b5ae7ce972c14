"""Holding back what third parties print and a user can do nothing about."""

import io
import logging
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
