"""What every hostile file is held to: one clear line, within seconds, and without taking the machine's memory."""

import os
import resource
import signal
from collections.abc import Iterator
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


@pytest.fixture
def folder(made_pann: Any, tmp_path: Path) -> Path:
    """The made folder by hard links: unlink what you change, and write it anew."""
    return copytree(made_pann.path, tmp_path / "pann", copy_function=os.link)
