"""C: a program as a process that is fed an array and answers with all outputs, on this processor or another."""

from __future__ import annotations

import io
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from recipes.base import files, plain_json
from validators.runners.runner import Arrays, Port, Runner, RunnerError, shortened
from validators.runners.runtime import compiler, emulator, needs_compiler

_DESCRIPTION = "model.json"
_MOST_BYTES = 2**22
_SOURCES = ("tag.c", "model.c", "labels.c", "weights.S")

# Its own example: https://nodejs.org/docs/latest-v20.x/api/wasi.html.
_NODE = """
const { WASI } = require("node:wasi");
const wasi = new WASI({ version: "preview1", args: ["tag", ...process.argv.slice(2)] });
const module = new WebAssembly.Module(require("node:fs").readFileSync(process.argv[1]));
process.exitCode = wasi.start(new WebAssembly.Instance(module, wasi.getImportObject()));
"""


def open_sources(folder: Path) -> Runner:
    """Compiles a folder and runs what comes out; RunnerError where that fails."""
    command = compiler()
    if command is None:
        raise RunnerError(str(needs_compiler()))
    place = TemporaryDirectory()
    program = Path(place.name) / "tag"
    kernels = sorted(path.relative_to(folder).as_posix() for path in (folder / "kernels").glob("*.c"))
    try:
        done = subprocess.run(
            [*command, *os.environ.get("CFLAGS", "-O2").split(), "-o", str(program), *_SOURCES, *kernels, "-lm"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise RunnerError(f"the compiler does not run: {shortened(error)}") from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or [f"code {done.returncode}"]
        raise RunnerError(f"the compiler fails: {errors[0][:300]}")
    if sys.platform != "linux":
        return _runner("c", [str(program)], folder / _DESCRIPTION, kept=place)
    # The worker that this runs in is killed, and would leave the program behind.
    kept = program.open("rb")
    place.cleanup()
    return _runner("c", [f"/proc/self/fd/{kept.fileno()}"], folder / _DESCRIPTION, kept, (kept.fileno(),))


def open_program(path: Path) -> Runner:
    """A program for this processor."""
    return _runner("native", [str(path.resolve())], path.parent / _DESCRIPTION)


def open_x86(path: Path) -> Runner:
    """A program for Linux on x86-64, on that."""
    return _runner("x86_64-linux", [str(path.resolve())], path.parent / _DESCRIPTION)


def open_arm(path: Path) -> Runner:
    """A program for Linux on AArch64: on that, or by QEMU's emulation of it."""
    here = [] if platform.machine() == "aarch64" else [emulator("aarch64") or "qemu-aarch64"]
    return _runner("aarch64-linux", [*here, str(path.resolve())], path.parent / _DESCRIPTION)


def open_wasm(path: Path) -> Runner:
    """A program in WebAssembly, in Node's WASI, which is given no folder."""
    return _runner("node-wasi", node_command(path), path.parent / _DESCRIPTION)


def node_command(path: Path) -> list[str]:
    """How Node runs a program in WebAssembly; its own options may follow."""
    # With V8's fast calls it reads memory that is gone once the program's has grown:
    # https://github.com/nodejs/node/issues/53087.
    return ["node", "--no-warnings", "--no-turbo-fast-api-calls", "-e", _NODE, str(path.resolve())]


def _runner(
    runtime: str, command: Sequence[str], description: Path, kept: object = None, handles: Sequence[int] = ()
) -> Runner:
    """`kept` lives as long as the runner does, and the program has the open `handles`."""
    try:
        described: Any = plain_json.read(files.content(description, _MOST_BYTES))
        (fed,), given = (tuple(map(_port, described[side])) for side in ("inputs", "outputs"))
        metadata = {str(key): str(value) for key, value in described["metadata"].items()}
    except Exception as error:  # whatever is not there, or is something else
        raise RunnerError(f"{description.name} cannot be read: {shortened(error)}") from error

    def run(inputs: Mapping[str, np.ndarray], kept: object = kept) -> Arrays:
        if set(inputs) != {fed.name}:
            raise RunnerError(f"{runtime}: the input is {fed.name}, not {', '.join(inputs)}")
        array = inputs[fed.name]
        if array.ndim != len(fed.axes) or any(
            isinstance(axis, int) and axis != size for axis, size in zip(fed.axes, array.shape, strict=True)
        ):
            raise RunnerError(f"{runtime}: {fed.name} has shape {array.shape}, and {fed.axes} is taken")
        done = _answer(runtime, [*command, "--outputs"], np.ascontiguousarray(array, "<f4").tobytes(), handles)
        stream = io.BytesIO(done)
        try:
            answers = {port.name: np.lib.format.read_array(stream, allow_pickle=False) for port in given}
        except MemoryError:
            raise
        except Exception as error:  # whatever NumPy makes of what is none
            raise RunnerError(f"{runtime}: it writes no arrays: {shortened(error)}") from error
        if stream.read(1):
            raise RunnerError(f"{runtime}: it writes more than its {len(given)} outputs")
        return answers

    return Runner(runtime, (fed,), given, metadata, run)


def _answer(runtime: str, command: list[str], content: bytes, handles: Sequence[int]) -> bytes:
    try:
        # The worker that this runs in has a limit of its own, and what it has started ends with it.
        done = subprocess.run(command, input=content, capture_output=True, pass_fds=handles)
    except OSError as error:
        raise RunnerError(f"{runtime}: it does not run: {shortened(error)}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise RunnerError(f"{runtime}: {said[0][:300] if said else ended}")
    return done.stdout


def _port(described: Any) -> Port:
    axes = tuple(described["axes"])
    if not all(isinstance(axis, (str, int)) for axis in axes):
        raise ValueError("axes that are no names or numbers")
    return Port(str(described["name"]), axes, "float32")
