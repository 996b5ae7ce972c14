"""What every hostile file is held to: one clear line, within seconds, and without taking the machine's memory."""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

_MOST_BYTES = 1_500_000_000
_MOST_SECONDS = 20


@pytest.fixture
def bounded() -> Iterator[None]:
    """More memory than 1.5 GB is refused, which is an error of the test, and so is more time than 20 s."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done after {_MOST_SECONDS} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    handler = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (used + _MOST_BYTES, before[1]))
    signal.alarm(_MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


@dataclass(frozen=True)
class Said:
    """What a command left with."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def is_one_clear_error(self) -> bool:
        """Exit code 2, nothing on stdout, and one line of plain text on stderr."""
        lines = self.stderr.splitlines()
        clear = len(lines) == 1 and lines[0].startswith("error: ") and lines[0].isprintable()
        return self.exit_code == 2 and self.stdout == "" and clear


@pytest.fixture(scope="session")
def convert() -> Callable[..., Said]:
    """`convert("check", ...)`: the command in this process; an exception that escapes it fails the test."""

    def invoke(*arguments: object) -> Said:
        from typer.testing import CliRunner

        from convert.cli import app

        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture
def folder(made_pann: Any, tmp_path: Path) -> Path:
    """The made folder by hard links: unlink what you change, and write it anew."""
    return copytree(made_pann.path, tmp_path / "pann", copy_function=os.link)
