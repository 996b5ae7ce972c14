"""C beside ONNX Runtime and tract: `python -m benchmarks.c FOLDER...`, folders that `convert recipe --to c` made.

All on one thread. ONNX Runtime, tract and the C function are called in turns in this process; programs are timed by a
sound of many windows less one of a few, so that neither their start nor what they read counts.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.timing import measure
from convert import manifest as manifests
from convert.manifest import Manifest
from convert.targets import named
from recipes.base.sound import rich
from validators.runners import onnxruntime, tract
from validators.runners.runner import Arrays

_SECONDS = (1.0, 10.0)
# Windows of a short and of a long sound.
_FEW, _MANY = 2, 22
_ROUNDS = 7


def library(folder: Path, place: Path) -> ctypes.CDLL:
    """The folder's function as a library, compiled as its README says."""
    sources = [*map(str, sorted((folder / "kernels").glob("*.c"))), "model.c", "labels.c"]
    program = place / f"{folder.parent.name}.so"
    subprocess.run(["cc", "-O2", "-w", "-shared", "-fPIC", "-o", program, *sources, "-lm"], cwd=folder, check=True)
    return ctypes.CDLL(str(program))


def function(found: ctypes.CDLL, folder: Path, name: str, outputs: Arrays) -> Callable[[np.ndarray], None]:
    """What runs the C function of a library on (1, ..., length), into arrays like those."""
    memory_of = found[f"{name}_memory"]
    memory_of.restype = ctypes.c_size_t
    weights = np.fromfile(folder / "weights.bin", np.float32)
    memory = np.empty(0, np.uint8)
    given = {output: np.empty_like(array) for output, array in outputs.items()}

    def run(x: np.ndarray) -> None:
        nonlocal memory
        length = ctypes.c_size_t(x.shape[-1])
        if memory.size < memory_of(length):
            memory = np.empty(memory_of(length), np.uint8)
        pointers = (ctypes.c_void_p * len(given))(*(array.ctypes.data for array in given.values()))
        places = [ctypes.c_void_p(array.ctypes.data) for array in (weights, x, memory)]
        found[f"{name}_run"](places[0], places[1], length, places[2], pointers)

    return run


def program(command: list[str], window: np.ndarray, rate: int) -> float:
    """Seconds that a program takes for a window of sound."""
    seconds = window.shape[-1] / rate
    words = [*command, "--raw", "f32", "--hop", f"{seconds!r}", "--window", f"{seconds!r}", "--top", "1"]
    taken: dict[int, list[float]] = {_FEW: [], _MANY: []}
    for _ in range(3):
        for count, times in taken.items():
            sound = np.tile(window.ravel(), count).astype("<f4").tobytes()
            begun = time.perf_counter()
            subprocess.run(words, input=sound, capture_output=True, check=True)
            times.append(time.perf_counter() - begun)
    return (median(taken[_MANY]) - median(taken[_FEW])) / (_MANY - _FEW)


def measured(folder: Path, place: Path) -> list[tuple[str, dict[float, float], float]]:
    """What runs the model, the milliseconds for each length, and the megabytes that ship."""
    manifest = manifests.read(folder)
    tensor, rate = manifest.input, manifest.sample_rate
    lengths: dict[float, int] = (
        {tensor.default / rate: tensor.default} if tensor.fixed else {s: round(s * rate) for s in _SECONDS}
    )
    runners = {
        "ONNX Runtime": onnxruntime.open_file(folder / "model.onnx"),
        "tract": tract.open_file(folder / "model.onnx"),
    }
    own = library(folder / "c", place)
    times: dict[str, dict[float, float]] = {}
    for seconds, length in lengths.items():
        x = rich(length, rate, 1).reshape(tensor.shape(1, length))
        inputs = {tensor.name: x}
        outputs = runners["ONNX Runtime"].run(inputs)
        run = function(own, folder / "c", manifest.variant, outputs)
        contenders: Mapping[str, Callable[[], object]] = {
            **{name: partial(runner.run, inputs) for name, runner in runners.items()},
            "C, cc -O2": partial(run, x),
        }
        for name, taken in measure(contenders, _ROUNDS).seconds.items():
            times.setdefault(name, {})[seconds] = 1e3 * median(taken)
        for path, command in _programs(folder, manifest).items():
            times.setdefault(path, {})[seconds] = 1e3 * program(command, x, rate)
    sizes = {name: (folder / "model.onnx").stat().st_size for name in runners}
    sizes["C, cc -O2"] = (folder / "c" / "weights.bin").stat().st_size
    sizes |= {path: (folder / path).stat().st_size for path in _programs(folder, manifest)}
    return [(name, found, sizes[name] / 1e6) for name, found in times.items()]


def _programs(folder: Path, manifest: Manifest) -> dict[str, list[str]]:
    """How each of the folder's programs is called that runs on this very processor, or in Node."""
    from validators.runners.c import node_command

    found = {}
    for name in manifest.artifacts:
        path = (folder / name).resolve()
        if not name.startswith("c/"):
            continue
        (runtime,) = named("c").runtimes_of(path.name)
        if runtime.name in ("native", "x86_64-linux") and runtime.absent() is None:
            found[name] = [str(path)]
        elif runtime.name == "node-wasi" and runtime.absent() is None:
            found[name] = node_command(path)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    with TemporaryDirectory() as place:
        for folder in parser.parse_args().folders:
            rows = measured(folder, Path(place))
            base = rows[0][1]
            print(f"\n{folder.name}\n\n| runs | {' | '.join(f'ms for {s:.3g} s' for s in base)} | MB |")  # noqa: T201
            print("|---|" + "---|" * (len(base) + 1))  # noqa: T201
            for name, times, size in rows:
                cells = " | ".join(f"{times[s]:.2f} ({times[s] / base[s]:.2f})" for s in base)
                print(f"| {name} | {cells} | {size:.1f} |")  # noqa: T201


if __name__ == "__main__":
    main()
