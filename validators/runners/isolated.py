"""A runtime in a worker: native code that crashes, hangs or takes all memory has failed one run, and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np

from recipes.base.tensor import Input
from recipes.base.worker import Worker, WorkerDiedError, WorkerError
from validators.runners.runner import Arrays, Port, Runner, RunnerError
from validators.runners.streamed import of_sounds

# What both sides of the pipe can hold: numbers and truth values.
_KINDS = "biuf"
# A file on which a runtime dies again is not worth the time that each of its other cases would take.
_MOST_DEATHS = 2


@dataclass(frozen=True)
class Face:
    """What is known of a runner that lives in a worker; `number` is its place there."""

    number: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: dict[str, str]
    float16: bool
    stateful: bool


def opened(name: str, opener: str, artifact: Path, worker: Worker, tensor: Input | None = None) -> Runner:
    """The runner that `opener` gives of the artifact, loaded and run in `worker`; RunnerError where that fails.

    It is called `name`, whatever its opener calls it: checks are told apart by that.
    Where the file is fed `tensor` in chunks, a run is of a whole sound, and has the time of one.
    After a crash, or a run that took too long, the next run loads the artifact again; after two no other is tried.
    """
    deaths: list[RunnerError] = []

    def failed(error: WorkerError) -> RunnerError:
        failure = RunnerError(f"{name} {error}")
        # However often somebody waits for one answer, it died once.
        if isinstance(error, WorkerDiedError) and all(death.__cause__ is not error for death in deaths):
            deaths.append(failure)
        return failure

    def load() -> Face:
        try:
            return worker.call(_open, name, opener, artifact, tensor, returns=Face, raises=(RunnerError,))
        except WorkerError as error:
            raise failed(error) from error
        except RunnerError:
            # What it has left behind would count against the next runtime.
            worker.close_if_full()
            raise

    face = load()
    place = worker.starts, face.number

    def ask(inputs: Mapping[str, np.ndarray]) -> Callable[[], Arrays]:
        nonlocal place
        # Its process may not be there any more.
        worker.settle()
        if len(deaths) == _MOST_DEATHS:
            raise RunnerError(f"not run, since {name} died {_MOST_DEATHS} times on this file: {deaths[-1]}")
        if worker.starts != place[0] or not worker.alive:
            number = load().number
            place = worker.starts, number
        answer = worker.ask(_run, place[1], dict(inputs), raises=(RunnerError,))

        def wait() -> Arrays:
            try:
                arrays: Arrays = answer()
            except WorkerError as error:
                raise failed(error) from error
            return arrays

        return wait

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        return ask(inputs)()

    return Runner(name, face.inputs, face.outputs, face.metadata, run, face.float16, face.stateful, ask=ask)


# In the worker alone.
_runners: list[Runner] = []


def _open(name: str, opener: str, artifact: Path, tensor: Input | None) -> Face:
    module, _, function = opener.partition(":")
    runner: Runner = replace(getattr(import_module(module), function)(artifact), runtime=name)
    _runners.append(of_sounds(runner, tensor))
    number = len(_runners) - 1
    return Face(number, runner.inputs, runner.outputs, dict(runner.metadata), runner.float16, runner.stateful)


def _run(number: int, inputs: Arrays) -> Arrays:
    runner = _runners[number]
    outputs = runner.run(inputs)
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in _KINDS:
            found = f"of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
            raise RunnerError(f"{runner.runtime}: the output {name!r} is {found}, and no array of numbers")
    return outputs
