"""What a worker costs: its start, and a run of 10 s of sound in it, beside the same in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import onnx

from benchmarks.timing import measure
from convert.targets import named
from exporters.lowering import lower
from exporters.onnx.export import export
from exporters.onnx.simplify import simplify
from recipes.base import checkpoint, decoding
from recipes.base.config import find
from recipes.base.recipe import faithful_model, load
from recipes.base.sound import rich
from recipes.base.threads import one_thread
from recipes.base.worker import Worker
from validators.runners import onnxruntime, tract
from validators.runners.runner import Runner

# A start takes a while; of a run little is to be told from much.
_STARTS, _RUNS = 15, 41


@dataclass(frozen=True)
class Cost:
    """Seconds: of a start, or of a run in a worker, and `here` of the same run in the command itself."""

    what: str
    worker: float
    here: float | None = None


def starts() -> list[Cost]:
    """Until the first answer. What a fork needs is imported by then, as a command has it anyway."""
    heavy = {"Core ML": named("coreml").needs(), "checkpoints": (checkpoint.__name__,), "sounds": (decoding.__name__,)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "one.onnx"
        onnx.save(_one_node(), str(file))
        contenders: dict[str, Callable[[], object]] = {
            f"start: a fresh interpreter with {runtime.name} and a model of one node": partial(runtime.open, file)
            for runtime in named("onnx").runtimes
            if runtime.absent() is None
        }
        contenders |= {f"start: a fork for {name}": partial(_answered, needs) for name, needs in heavy.items()}
        return [Cost(name, median(taken)) for name, taken in measure(contenders, _STARTS).seconds.items()]


def runs() -> list[Cost]:
    """PANN on 10 s of sound, 3.5 MB there and back, on one thread."""
    variant = find("pann")
    model = faithful_model(variant, load(variant.family).synthesize(variant))
    inputs = {variant.input.name: rich(variant.input.default, variant.sample_rate, 1)[None]}
    openers = {"onnxruntime": onnxruntime.open_file, "tract": tract.open_file}
    with tempfile.TemporaryDirectory() as folder, one_thread():
        file = Path(folder) / "model.onnx"
        onnx.save(simplify(export(lower(model, variant), variant)), str(file))
        runtimes = [runtime for runtime in named("onnx").runtimes if runtime.absent() is None]
        pairs = {runtime.name: (runtime.open(file), openers[runtime.name](file)) for runtime in runtimes}
        return [_run(name, *pair, inputs) for name, pair in pairs.items()]


def _run(name: str, apart: Runner, here: Runner, inputs: dict[str, np.ndarray]) -> Cost:
    for output, value in apart.run(inputs).items():
        assert np.array_equal(value, here.run(inputs)[output]), (name, output)
    contenders = {"worker": partial(apart.run, inputs), "here": partial(here.run, inputs)}
    taken = measure(contenders, _RUNS).seconds
    return Cost(f"run: PANN in {name}, 10 s", median(taken["worker"]), median(taken["here"]))


def _answered(needs: tuple[str, ...]) -> None:
    with Worker(needs) as worker:
        worker.call(int, returns=int)


def _one_node() -> onnx.ModelProto:
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch"]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "one", [x], [y])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_operatorsetid("", 17)], ir_version=8)
