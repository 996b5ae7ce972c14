"""Progress on stderr: a spinner and the time of each step, on a terminal; plain lines elsewhere if asked for."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from convert import signals

Step = Callable[[str], AbstractContextManager[None]]


def steps(verbose: bool) -> Step:
    """A function that makes a context manager for a named step."""
    if not sys.stderr.isatty():
        return _plain if verbose else _silent

    from rich.console import Console

    console = Console(stderr=True)

    @contextmanager
    def step(name: str) -> Iterator[None]:
        started = time.perf_counter()
        with console.status(name):
            yield
        console.print(f"[green]✓[/green] {name} [dim]{time.perf_counter() - started:.1f} s[/dim]")

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
    sys.stderr.write(f"{name}: {time.perf_counter() - started:.1f} s\n")


@contextmanager
def _silent(name: str) -> Iterator[None]:
    yield


def download_bar(done: int, total: int) -> None:
    """One line that counts megabytes, rewritten in place and wiped at the end; on a terminal only."""
    if sys.stderr.isatty():
        text = f"download {done / 1e6:.1f} of {total / 1e6:.1f} MB" if done < total else ""
        sys.stderr.write(f"\r\x1b[2K{text}")
