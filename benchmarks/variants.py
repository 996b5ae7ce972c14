"""Converts variants, each with a command of its own, and prints as Markdown what that cost and how far off it is.

`python -m benchmarks.variants mn04_as=mn04_as.pt dymn04_as` takes the weights of the first from a file and synthetic
ones for the second, and shows every case; without a name: all variants, with synthetic weights, and the worst case.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from recipes.base.config import find, variants
from recipes.base.spec import Variant

_STEPS = ("export", "simplify", "Core ML")
_SECONDS = re.compile(rf"^({'|'.join(_STEPS)}): ([0-9.]+) s$", re.MULTILINE)

# The unit of the peak memory that the system tells of a process.
_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024

_RUNTIMES = ("onnxruntime", "tract", "executor", "executor-float32")


@dataclass(frozen=True)
class Converted:
    """What one command made: seconds, peak resident memory and file sizes in bytes, and its checks against PyTorch.

    `fed` names the input of each artifact.
    """

    variant: Variant
    weights: str
    seconds: float
    steps: dict[str, float]
    memory: int
    sizes: dict[str, int]
    fed: dict[str, str]
    verdict: str
    checks: list[dict[str, Any]]


def main(words: list[str]) -> None:
    chosen = [word.partition("=") for word in words] or [(variant.name, "", "") for variant in variants()]
    done = []
    for name, _, checkpoint in chosen:
        done.append(_convert(find(name), checkpoint))
        sys.stderr.write(f"{name}: {done[-1].seconds:.0f} s, {done[-1].verdict}\n")
    tables = [_costs(done), _worst(done), *(_cases(one) for one in done if words)]
    sys.stdout.write("\n\n".join("\n".join(lines) for lines in tables) + "\n")


def _convert(variant: Variant, checkpoint: str) -> Converted:
    """Runs `convert recipe` for every input that the variant has."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, out, err = (Path(temporary) / name for name in ("made", "out", "err"))
        words = ["recipe", variant.name, "--to", "coreml", "-o", str(folder), "--json", "-v"]
        if variant.trained:
            words += ["--checkpoint", checkpoint] if checkpoint else ["--weights", "synthetic"]
        for tensor in (variant.input, *variant.alternative_inputs):
            words += ["--input", tensor.name]
        started = time.perf_counter()
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen([sys.executable, "-m", "convert", *words], stdout=stdout, stderr=stderr)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        said = err.read_text()
        if not folder.is_dir():
            raise SystemExit(f"{variant.name}: {said}")
        result = json.loads(out.read_text())
        manifest = json.loads((folder / "manifest.json").read_text())
        steps = dict.fromkeys(_STEPS, 0.0)
        for name, taken in _SECONDS.findall(said):
            steps[name] += float(taken)
        return Converted(
            variant=variant,
            weights=manifest["weights"],
            seconds=seconds,
            steps=steps,
            memory=usage.ru_maxrss * _MEMORY_UNIT,
            sizes={name: _size(folder / name) for name in manifest["artifacts"]},
            verdict=", ".join(f"{count} {status}" for status, count in result["counts"].items() if count),
            fed={name: artifact["input"] for name, artifact in manifest["artifacts"].items()},
            checks=[check for check in result["checks"] if _is_against_pytorch(check)],
        )


def _is_against_pytorch(check: dict[str, Any]) -> bool:
    """Not of form, and not the simplified graph against the exported one."""
    of_values = check["comparison"] is not None or check["status"] == "failed"
    return bool(of_values and check["output"] and not check["case"].endswith(", simplified"))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def _costs(done: Iterable[Converted]) -> Iterator[str]:
    """The seconds are of all inputs together, those of the whole command with its checks."""
    files = ("model.onnx", "model.mlpackage")
    yield from _heading("variant", "weights", *(f"{step}, s" for step in _STEPS), "whole, s", "peak memory, GB")
    for one in done:
        seconds = (f"{one.steps[step]:.1f}" for step in _STEPS)
        yield _line(one.variant.name, one.weights, *seconds, f"{one.seconds:.0f}", f"{one.memory / 1e9:.1f}")
    yield ""
    yield from _heading("variant", *(f"{file}, MB" for file in files), "verdict")
    for one in done:
        yield _line(one.variant.name, *(f"{one.sizes[file] / 1e6:.1f}" for file in files), one.verdict)


def _worst(done: Iterable[Converted]) -> Iterator[str]:
    yield from _heading("variant", "output", *_RUNTIMES)
    for one in done:
        for output in one.variant.outputs:
            found = [check for check in one.checks if check["output"] == output.name]
            yield _line(one.variant.name, output.name, *_differences(found))


def _cases(one: Converted) -> Iterator[str]:
    """Of the first output, the model's answer."""
    answer = one.variant.outputs[0].name
    yield f"{one.variant.name}, {one.weights} weights, {answer}:\n"
    yield from _heading("input", "case", *_RUNTIMES)
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for check in one.checks:
        if check["output"] == answer:
            rows.setdefault((one.fed[check["artifact"]], check["case"]), []).append(check)
    for key, checks in rows.items():
        yield _line(*key, *_differences(checks))


def _differences(checks: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The greatest absolute difference in each runtime, infinite where there is no telling."""
    worst: dict[str, float] = {}
    for check in checks:
        difference = check["comparison"]["max_abs"] if check["comparison"] else inf
        worst[check["runtime"]] = max(worst.get(check["runtime"], 0.0), difference)
    return (f"{worst[name]:.1e}" if name in worst else "-" for name in _RUNTIMES)


def _heading(*cells: str) -> tuple[str, str]:
    return _line(*cells), "|" + "---|" * len(cells)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(sys.argv[1:])
