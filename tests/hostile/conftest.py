"""What every hostile file is held to: one clear line, within seconds, and without taking the machine's memory."""

import json
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from tests.hostile.page import page

_ROOT = Path(__file__).resolve().parents[2]
_MOST_BYTES = 1_500_000_000
_MOST_SECONDS = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--page", help="write what was tried to this file, in Markdown")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if path := config.getoption("--page", None):
        reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
        Path(path).write_text(page(reports), encoding="utf-8")


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    """More memory than 1.5 GB is refused, which is an error of the test."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MOST_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def bounded(bounded_memory: None) -> Iterator[None]:
    """Neither more memory than that, nor more time than 20 s."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done after {_MOST_SECONDS} s")

    handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


@pytest.fixture
def folder(made_pann: Any, tmp_path: Path) -> Path:
    """The made folder by hard links: unlink what you change, and write it anew."""
    return copytree(made_pann.path, tmp_path / "pann", copy_function=os.link)


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it took: seconds, and the peak of the largest of its processes in bytes."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    peak: int


class Commands:
    """The command as a user runs it, a process each time, but for the seconds that PyTorch takes to import.

    Those of `modules` too.
    """

    def __init__(self, folder: Path, *modules: str) -> None:
        self._said = folder
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.zygote", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=_ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def run(self, *words: object) -> Ended:
        """Killed after 20 s, which its exit code then says."""
        return self.run_until(lambda _: None, *words)

    def run_until(self, act: "Callable[[Running], None]", *words: object) -> Ended:
        """`act` is called once it runs."""
        assert self._zygote.stdin is not None
        stdout, stderr = self._said / "stdout", self._said / "stderr"
        for path in (stdout, stderr):
            path.write_bytes(b"")
        request = {"words": list(map(str, words)), "stdout": str(stdout), "stderr": str(stderr)}
        self._zygote.stdin.write(json.dumps(request) + "\n")
        running = Running(self._answer()["process"], stderr)
        try:
            act(running)
        except BaseException:
            os.kill(running.process, signal.SIGKILL)
            self._answer()
            raise
        assert self._zygote.stdout is not None
        if not select.select([self._zygote.stdout], [], [], _MOST_SECONDS)[0]:
            os.kill(running.process, signal.SIGKILL)
        ended = self._answer()
        return Ended(stdout=stdout.read_text("utf-8"), stderr=stderr.read_text("utf-8"), **ended)

    def _answer(self) -> dict[str, Any]:
        assert self._zygote.stdout is not None
        answer: dict[str, Any] = json.loads(self._zygote.stdout.readline())
        return answer

    def close(self) -> None:
        self._zygote.kill()
        self._zygote.wait()


@dataclass(frozen=True)
class Running:
    """A command that runs: its process, and where its stderr goes."""

    process: int
    stderr: Path


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    started = Commands(tmp_path_factory.mktemp("said"))
    yield started
    started.close()


@pytest.fixture
def noted(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """`noted(name, value)`: for the page that `--page` asks for."""
    return lambda name, value: request.node.user_properties.append((name, value))


@pytest.fixture
def refused(commands: Commands, noted: Callable[[str, object], None]) -> Callable[..., str]:
    """`refused("run", ...)`: what the command says, in one clear line, within 20 s and 1.5 GB, with exit code 2."""

    def run(*words: object) -> str:
        ended = commands.run(*words)
        noted("seconds", ended.seconds)
        noted("peak", ended.peak)
        assert (ended.exit_code, ended.stdout) == (2, ""), ended
        (line,) = ended.stderr.splitlines()
        assert line.startswith("error: ")
        assert line.isprintable()
        assert ended.seconds < _MOST_SECONDS
        assert ended.peak < _MOST_BYTES
        return line

    return run
