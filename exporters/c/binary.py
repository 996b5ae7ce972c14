"""Programs of the folder's sources, linked with nothing: by the compiler that comes as the package `ziglang`."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

from recipes.base.errors import UserError

TARGETS = ("x86_64-linux-musl", "aarch64-linux-musl", "wasm32-wasi", "native")

_SOURCES = ("tag.c", "model.c", "labels.c", "weights.S")
_SECONDS = 600


def file_name(target: str) -> str:
    """What the program for a target is called."""
    return {"native": "tag", "wasm32-wasi": "tag-wasm32-wasi.wasm"}.get(target, f"tag-{target}")


def target_of(name: str) -> str | None:
    """The target that a program is called after; None for what is no program."""
    return next((target for target in TARGETS if file_name(target) == name), None)


def build(folder: Path, target: str, program: Path) -> None:
    """The program for a target, of the sources in a folder; the same sources and compiler give the same bytes.

    Raises UserError with what the compiler says.
    """
    kernels = sorted(path.relative_to(folder).as_posix() for path in (folder / "kernels").glob("*.c"))
    command = [sys.executable, "-m", "ziglang", "cc", *_flags(target), "-O2", "-s", "-o", str(program.resolve())]
    try:
        done = subprocess.run(
            [*command, *_SOURCES, *kernels, "-lm"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"--binary {target}: the compiler does not run: {error}") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[0]
        raise UserError(f"--binary {target}: the compiler fails: {said[:300]}; leave the target out")


def _flags(target: str) -> list[str]:
    if target == "wasm32-wasi":
        return ["-target", target, "-msimd128"]
    if target != "native":
        return ["-target", target, "-static"]
    if sys.platform == "linux":
        # The system's own C library would not be a part of the program.
        return ["-target", f"{platform.machine()}-linux-musl", "-mcpu=native", "-static"]
    return []
