"""The command's own time: `convert recipe` against the bare library calls inside it, and `convert --help`.

Every command is a process of its own, as a user starts it, imports and all, on all cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_HELPS = 5


@dataclass(frozen=True)
class Ran:
    """Seconds by the clock, and of all cores together."""

    what: str
    wall: float
    cpu: float


def recipe(variant: str, inputs: Sequence[str] = ()) -> Ran:
    """The whole command, its reference and every check with it."""
    fed = f", fed {' and '.join(inputs)}" if inputs else ""
    with tempfile.TemporaryDirectory() as folder:
        words = ["recipe", variant, "--to", "coreml", "--weights", "synthetic", "-o", str(Path(folder) / "made")]
        words += [word for name in inputs for word in ("--input", name)]
        return _run(f"`convert recipe {variant} --to coreml`{fed}", ["-m", "convert", *words])


def bare(variant: str) -> Ran:
    """The same files by the library calls alone."""
    with tempfile.TemporaryDirectory() as folder:
        files = ["-o", str(Path(folder) / "naive.onnx"), "--coreml", str(Path(folder) / "naive.mlpackage")]
        what = f"{variant} by torch.onnx.export, onnxsim and coremltools alone"
        return _run(what, ["-m", "benchmarks.naive", variant, *files])


def help_() -> Ran:
    """The median of a few."""
    runs = [_run("`convert --help`", ["-m", "convert", "--help"]) for _ in range(_HELPS)]
    return Ran(runs[0].what, median(ran.wall for ran in runs), median(ran.cpu for ran in runs))


def _run(what: str, words: Sequence[str]) -> Ran:
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([sys.executable, *words], stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        # 3: made, and some file runs nowhere here.
        if process.returncode not in (0, 3):
            said.seek(0)
            raise RuntimeError(f"{what} ended with {process.returncode}: {said.read().decode()[-2000:]}")
    return Ran(what, wall, usage.ru_utime + usage.ru_stime)
