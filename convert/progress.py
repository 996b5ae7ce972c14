"""Progress on stderr: a spinner and the time of each step, on a terminal; plain lines elsewhere if asked for."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from convert import signals
from recipes.base.shown import shown

Step = Callable[[str], AbstractContextManager[None]]


def steps(verbose: bool) -> Step:
    """A function that makes a context manager for a named step; a name may come out of a stranger's manifest."""
    if not sys.stderr.isatty():
        return _plain if verbose else _silent

    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)

    @contextmanager
    def step(name: str) -> Iterator[None]:
        started = time.perf_counter()
        # A text, for a string would be read as Rich's markup.
        with console.status(Text(shown(name))):
            yield
        took = f"{time.perf_counter() - started:.1f} s"
        console.print(Text.assemble(("✓", "green"), f" {shown(name)} ", (took, "dim")))

    return step


@contextmanager
def interrupts_kept(step: Step) -> Iterator[Step]:
    """The same steps, each ending in Interrupted if a signal came during it and somebody swallowed what it raised.

    Tracing does: what is raised in a callback from native code, or below a bare `except`, is lost.
    """
    with signals.raised() as came:

        @contextmanager
        def kept(name: str) -> Iterator[None]:
            with step(name):
                yield
                if came:
                    raise signals.Interrupted(came[0])

        yield kept


@contextmanager
def _plain(name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    sys.stderr.write(f"{shown(name)}: {time.perf_counter() - started:.1f} s\n")


@contextmanager
def _silent(name: str) -> Iterator[None]:
    yield


def download_bar(done: int, total: int) -> None:
    """One line that counts megabytes, rewritten in place and wiped at the end; on a terminal only."""
    if sys.stderr.isatty():
        text = f"download {done / 1e6:.1f} of {total / 1e6:.1f} MB" if done < total else ""
        sys.stderr.write(f"\r\x1b[2K{text}")
