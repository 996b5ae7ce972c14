"""What a worker costs: its start, and a run of 10 s of sound in it, beside the same in this process."""

import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

from convert.targets import named
from exporters.lowering import lower
from exporters.onnx.export import export
from exporters.onnx.simplify import simplify
from recipes.base import checkpoint
from recipes.base.config import find
from recipes.base.recipe import faithful_model, load
from recipes.base.sound import rich
from recipes.base.threads import one_thread
from recipes.base.worker import Worker
from validators.runners import onnxruntime, tract

_ROUNDS = 9


def medians(contenders: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds that each takes, the median of a few times after one to warm up; in turns, so that drift hits all."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(_ROUNDS + 1):
        for name, call in contenders.items():
            begun = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begun)
    return {name: median(values[1:]) for name, values in times.items()}


def answered(needs: tuple[str, ...]) -> None:
    """From nothing to the first answer; the heavy modules are imported by then, as a command has them anyway."""
    with Worker(needs) as worker:
        worker.call(int, returns=int)


def one_node() -> onnx.ModelProto:
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch"]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "one", [x], [y])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_operatorsetid("", 17)], ir_version=8)


def main() -> None:
    variant = find("pann")
    model = faithful_model(variant, load(variant.family).synthesize(variant))
    inputs = {variant.input.name: rich(variant.input.default, variant.sample_rate, 1)[None]}
    runtimes = [runtime for runtime in named("onnx").runtimes if runtime.absent() is None]
    heavy = {"Core ML": named("coreml").needs(), "checkpoints": (checkpoint.__name__,)}

    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        least, file = Path(folder) / "one.onnx", Path(folder) / "model.onnx"
        onnx.save(one_node(), str(least))
        starts: dict[str, Callable[[], object]] = {
            f"a fresh interpreter with {runtime.name} and a model of one node": partial(runtime.open, least)
            for runtime in runtimes
        }
        starts |= {f"a fork for {name}": partial(answered, needs) for name, needs in heavy.items()}
        shown = Table("to start a worker", "ms", box=None, pad_edge=False)
        for name, taken in medians(starts).items():
            shown.add_row(name, f"{1000 * taken:.0f}")
        console.print(shown)

        onnx.save(simplify(export(lower(model, variant), variant)), str(file))
        openers = {"onnxruntime": onnxruntime.open_file, "tract": tract.open_file}
        here = {name: opener(file) for name, opener in openers.items()}
        apart = {runtime.name: runtime.open(file) for runtime in runtimes}
        for name, runner in apart.items():
            for output, value in runner.run(inputs).items():
                assert np.array_equal(value, here[name].run(inputs)[output]), (name, output)
        runs = {f"{name} here": partial(here[name].run, inputs) for name in apart}
        runs |= {f"{name} apart": partial(runner.run, inputs) for name, runner in apart.items()}
        seconds = medians(runs)
    shown = Table("10 s of sound", "in this process, ms", "in a worker, ms", "", box=None, pad_edge=False)
    for name in apart:
        own, other = seconds[f"{name} here"], seconds[f"{name} apart"]
        shown.add_row(name, f"{1000 * own:.1f}", f"{1000 * other:.1f}", f"{other / own:.3f} x")
    console.print(shown)


if __name__ == "__main__":
    with one_thread():
        main()
