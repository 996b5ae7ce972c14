"""What the figures are measured on, and whether others used it meanwhile."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("torch", "onnxruntime", "onnx", "onnxsim", "tract", "coremltools", "librosa", "numpy")
_STAT = Path("/proc/stat")
# Of the first line of /proc/stat, in order (man 5 proc): what is no work of this machine's. Guests are in `user` too.
_IDLE = (3, 4, 8, 9)


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int
    system: str
    versions: dict[str, str]


def describe() -> Machine:
    return Machine(
        _cpu(),
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        dict(_versions()),
    )


def _cpu() -> str:
    """The model's name, with the numbers that tell it where a virtual machine hides them in the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    name = said.get("model name", platform.machine())
    numbers = [f"{word} {said[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in said]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


class Watch:
    """How much of the machine others use while this process measures."""

    def __init__(self) -> None:
        self._wall, self._own, self._busy = time.perf_counter(), time.process_time(), busy()

    def others(self) -> float | None:
        """Cores that other processes, or other guests of the same host, used on average since this was made.

        None where the system does not tell.
        """
        now = busy()
        if now is None or self._busy is None:
            return None
        wall = time.perf_counter() - self._wall
        return max(0.0, now - self._busy - (time.process_time() - self._own)) / max(wall, 1e-9)


def busy() -> float | None:
    """Seconds that all cores together have worked, or were taken by the host, since the machine started."""
    try:
        first = _STAT.read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return None
    return busy_seconds(first, os.sysconf("SC_CLK_TCK"))


def busy_seconds(line: str, ticks: int) -> float:
    """Of the first line of /proc/stat, with that many ticks a second."""
    numbers = [int(word) for word in line.split()[1:]]
    return sum(number for place, number in enumerate(numbers) if place not in _IDLE) / ticks


def load() -> float:
    """The load average of the last minute, this process in it."""
    return os.getloadavg()[0]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch's and NumPy's; sessions of ONNX Runtime have their own."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
