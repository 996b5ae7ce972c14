"""A trace made in a worker, since what it runs may be anybody's: what crashes or hangs there is one RunnerError."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from recipes.base.worker import Worker, WorkerError
from validators.runners.runner import RunnerError
from validators.traces.trace import Op, Trace

# What goes over at a time, in bytes: an answer may be an eighth of what a worker may take.
_AT_ONCE = 1 << 27


@dataclass(frozen=True)
class Face:
    """A trace without its arrays, and how many bytes each of those has."""

    source: str
    runtime: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ops: tuple[Op, ...]
    values: dict[str, int]
    constants: dict[str, int]


def traced(tracer: str, artifact: Path, inputs: Mapping[str, np.ndarray], needs: tuple[str, ...] = ()) -> Trace:
    """What `tracer`, a "module:function" of a path and inputs, gives in a worker, which needs these modules.

    Raises RunnerError where the file cannot be run.
    """
    with Worker(needs) as worker:
        try:
            face = worker.call(_trace, tracer, artifact, dict(inputs), returns=Face, raises=(RunnerError,))
            held = {
                name: value
                for part in _parts({**face.values, **face.constants})
                for name, value in worker.call(_values, part, raises=(RunnerError,)).items()
            }
        except WorkerError as error:
            raise RunnerError(f"what runs it {error}") from error
    return Trace(
        source=face.source,
        runtime=face.runtime,
        inputs=face.inputs,
        outputs=face.outputs,
        ops=face.ops,
        values={name: held[name] for name in face.values if name in held},
        constants={name: held[name] for name in face.constants if name in held},
    )


def _parts(sizes: Mapping[str, int]) -> list[list[str]]:
    parts: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if not parts or size > room:
            parts.append([])
            room = _AT_ONCE
        parts[-1].append(name)
        room -= size
    return parts


# In the worker alone.
_traces: list[Trace] = []


def _trace(tracer: str, artifact: Path, inputs: dict[str, np.ndarray]) -> Face:
    module, _, function = tracer.partition(":")
    trace: Trace = getattr(import_module(module), function)(artifact, inputs)
    _traces[:] = [trace]
    return Face(
        trace.source,
        trace.runtime,
        trace.inputs,
        trace.outputs,
        trace.ops,
        {name: value.nbytes for name, value in trace.values.items()},
        {name: value.nbytes for name, value in trace.constants.items()},
    )


def _values(names: list[str]) -> dict[str, np.ndarray]:
    held = {**_traces[0].constants, **_traces[0].values}
    return {name: held[name] for name in names}
