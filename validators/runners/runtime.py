"""Runtimes before they are loaded: what they are called, and whether they are here."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from recipes.base.tensor import Input
    from recipes.base.worker import Worker
    from validators.runners.runner import Runner
    from validators.traces import Trace


def always() -> None:
    """Of a runtime that comes with the project."""
    return None


def needs_package(name: str) -> Callable[[], str | None]:
    """Of a runtime that is a package of its own."""
    return lambda: None if find_spec(name) else f"{name} is not installed; `pip install {name}` adds it"


def compiler() -> list[str] | None:
    """How a C compiler is called: the system's, or else the package's."""
    if found := shutil.which("cc"):
        return [found]
    return [sys.executable, "-m", "ziglang", "cc"] if find_spec("ziglang") else None


def needs_compiler() -> str | None:
    """Of C sources."""
    return None if compiler() else "no C compiler is here; `apt install gcc` or `pip install ziglang` adds one"


def emulator(machine: str) -> str | None:
    """The program of QEMU that runs those of another processor."""
    return shutil.which(f"qemu-{machine}") or shutil.which(f"qemu-{machine}-static")


def needs_processor(machine: str, package: str = "") -> Callable[[], str | None]:
    """Of a program for Linux on a processor: that, or QEMU, which `package` has."""

    def absent() -> str | None:
        linux = sys.platform == "linux"
        if linux and (platform.machine() == machine or (package and emulator(machine))):
            return None
        adds = f"; `apt install {package}` adds what runs it" if package and linux else ""
        return f"it is for Linux on {machine}, and this is {platform.system()} on {platform.machine()}{adds}"

    return absent


def needs_node() -> str | None:
    """Of a program in WebAssembly."""
    return None if shutil.which("node") else "Node.js is not installed; `apt install nodejs` adds it"


# As Debian, macOS and others call them; the second is what speaks to the first.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DRIVER = "chromedriver"


def needs_browser() -> str | None:
    """Of a page: Chromium or Chrome, its driver, and the package that speaks to that."""
    if not any(map(shutil.which, BROWSERS)) or not shutil.which(DRIVER):
        return "Chromium and its driver are not installed; on Debian `apt install chromium chromium-driver` adds them"
    return needs_package("selenium")()


def needs_macos() -> str | None:
    """Of Apple's own."""
    return None if sys.platform == "darwin" else "Apple's runtime is on macOS only"


@dataclass(frozen=True)
class Runtime:
    """One way to run artifacts of one format.

    `opener` is "module:function", a path to a Runner, imported in the worker that runs it. `needs` are heavy modules
    that it imports. `absent()` says why the runtime cannot run here, or None. `runs` tells artifacts of the format, by
    their file's name, that it is for. `tracer` is "module:function" too, a path and inputs to a Trace, where the
    runtime shows its intermediate values; `unrounded` says that it computes in float32 whatever a file declares.
    """

    name: str
    opener: str
    absent: Callable[[], str | None] = always
    needs: tuple[str, ...] = ()
    runs: Callable[[str], bool] = lambda name: True
    tracer: str = ""
    unrounded: bool = False

    def trace(self, artifact: Path, inputs: Mapping[str, np.ndarray]) -> Trace:
        """A run with all intermediate values, in a worker of its own; RunnerError when the runtime refuses it."""
        from validators.traces.isolated import traced

        # What the tracer's module imports, the worker has from the start.
        return traced(self.tracer, artifact, inputs, (self.tracer.partition(":")[0],) if self.needs else ())

    def open(self, artifact: Path, worker: Worker | None = None, tensor: Input | None = None) -> Runner:
        """Loaded and run in `worker`, or in one of its own; RunnerError when the runtime refuses the artifact.

        A file that is fed `tensor` in chunks is run on whole sounds.
        """
        from recipes.base.worker import Worker
        from validators.runners.isolated import opened

        return opened(self.name, self.opener, artifact, worker or Worker(self.needs), tensor)
