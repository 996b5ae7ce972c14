"""What a file weighs, and what memory a process takes that runs it once.

`python -m benchmarks.files FILE AXIS...` is that process: it prints the bytes that loading the file and running it on
zeros of that shape, with one thread, added to the memory of Python and ONNX Runtime, at their greatest.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from benchmarks.sessions import run, session


@dataclass(frozen=True)
class File:
    """Bytes: of the file, and the peak of memory by what is fed; none where the system does not tell it."""

    subject: str
    contender: str
    size: int
    memory: dict[str, int]


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())


def weighed(subject: str, contender: str, model: onnx.ModelProto, fed: dict[str, tuple[int, ...]]) -> File:
    """`fed` are shapes by what to call them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        onnx.save(model, str(file))
        peaks = {name: peak(file, shape) for name, shape in fed.items()}
        return File(subject, contender, size(file), {name: bytes_ for name, bytes_ in peaks.items() if bytes_})


def peak(file: Path, shape: tuple[int, ...]) -> int | None:
    command = [sys.executable, "-m", "benchmarks.files", str(file), *map(str, shape)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return int(said) if said.isdigit() else None


def _memory(key: str) -> int | None:
    """VmRSS, now, or VmHWM, the most so far, in bytes. Of getrusage the most would be that of the parent."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), None)


def main(words: list[str]) -> None:
    file, *axes = words
    before = _memory("VmRSS")
    model = session(Path(file), 1)
    run(model, np.zeros([int(axis) for axis in axes], np.float32))
    after = _memory("VmHWM")
    sys.stdout.write(f"{after - before}\n" if before and after else "unknown\n")


if __name__ == "__main__":
    main(sys.argv[1:])
