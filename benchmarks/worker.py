"""What a worker costs: its start, and a run or a check of 10 s of sound in it, beside the same in this process."""

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
from recipes.base.tensor import Output
from recipes.base.threads import one_thread
from recipes.base.worker import Worker
from validators.compare import compare_outputs
from validators.runners import onnxruntime, tract
from validators.runners.runner import Runner
from validators.values import Case, check_values

# A start takes a while; of a run little is to be told from much.
_STARTS, _RUNS = 15, 41
# As many as a folder has of this length and more, so that the first and the last, which nothing hides, weigh little.
_CASES, _CHECKS = 8, 15


@dataclass(frozen=True)
class Cost:
    """Seconds: of a start, or of what is done in a worker, and `here` of the same in the command itself."""

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
    """PANN on 10 s of sound, 3.5 MB there and back, on one thread; and such a run with what a check does with it."""
    variant = find("pann")
    model = faithful_model(variant, load(variant.family).synthesize(variant))
    inputs = {variant.input.name: rich(variant.input.default, variant.sample_rate, 1)[None]}
    openers = {"onnxruntime": onnxruntime.open_file, "tract": tract.open_file}
    with tempfile.TemporaryDirectory() as folder, one_thread():
        file = Path(folder) / "model.onnx"
        onnx.save(simplify(export(lower(model, variant), variant)), str(file))
        runtimes = [runtime for runtime in named("onnx").runtimes if runtime.absent() is None]
        pairs = {runtime.name: (runtime.open(file), openers[runtime.name](file)) for runtime in runtimes}
        runs = [_run(name, *pair, inputs) for name, pair in pairs.items()]
        return runs + [_check(name, *pair, inputs, variant.outputs) for name, pair in pairs.items()]


def _run(name: str, apart: Runner, here: Runner, inputs: dict[str, np.ndarray]) -> Cost:
    for output, value in apart.run(inputs).items():
        assert np.array_equal(value, here.run(inputs)[output]), (name, output)
    contenders = {"worker": partial(apart.run, inputs), "here": partial(here.run, inputs)}
    taken = measure(contenders, _RUNS).seconds
    return Cost(f"run: PANN in {name}, 10 s", median(taken["worker"]), median(taken["here"]))


def _check(name: str, apart: Runner, here: Runner, inputs: dict[str, np.ndarray], outputs: tuple[Output, ...]) -> Cost:
    """A case of a check: run and compared, in the command itself one after the other."""
    case = Case("rich", inputs, here.run(inputs))
    tolerances = {output.name: output.tolerances["fp32"] for output in outputs}
    words = {"artifact": "model.onnx", "runtime": name, "precision": "fp32"}

    def after_each_other() -> None:
        for _ in range(_CASES):
            compare_outputs(case.expected, here.run(inputs), outputs, tolerances, case=case.name, **words)

    def checked() -> None:
        check_values(apart, [case] * _CASES, outputs, artifact="model.onnx", precision="fp32")

    taken = measure({"worker": checked, "here": after_each_other}, _CHECKS).seconds
    worker, in_command = (median(taken[side]) / _CASES for side in ("worker", "here"))
    return Cost(f"a case of a check: PANN in {name}, 10 s, run and compared", worker, in_command)


def _answered(needs: tuple[str, ...]) -> None:
    with Worker(needs) as worker:
        worker.call(int, returns=int)


def _one_node() -> onnx.ModelProto:
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch"]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "one", [x], [y])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_operatorsetid("", 17)], ir_version=8)
