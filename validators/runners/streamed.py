"""A file that is fed chunks, as a runner that is fed whole sounds: the very calls that a host makes, in their order."""

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np

from recipes.base.streaming import Run, Stream, remembering
from recipes.base.tensor import Input
from validators.runners.runner import Arrays, Runner, RunnerError


def of_sounds(runner: Runner, tensor: Input | None) -> Runner:
    """Takes whole sounds whether its file does or, fed `tensor`, takes chunks.

    Then `run` gives the frames of all chunks, one behind the other; each call gets the state that the one before gave,
    or left in the file. It raises RunnerError, too, where a call gives no such state, and other frames than a chunk's
    or than the first call.
    """
    stream = tensor.stream if tensor else None
    if tensor is None or stream is None:
        return runner

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        (sound,) = inputs.values()
        name = first = ""

        def frames(outputs: Arrays) -> np.ndarray:
            nonlocal name, first
            found = ", ".join(f"{name} {value.dtype}{list(value.shape)}" for name, value in outputs.items())
            if len(outputs) != 1 or any(value.shape[2:] != (stream.frames,) for value in outputs.values()):
                raise RunnerError(f"{runner.runtime}: a chunk gives {found or 'nothing'}, not {stream.frames} frames")
            first = first or found
            if found != first:
                raise RunnerError(f"{runner.runtime}: a chunk gives {found}, and the first one gave {first}")
            ((name, given),) = outputs.items()
            return given

        def call(chunk: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            outputs = runner.run({tensor.name: chunk, stream.state: state})
            following = outputs.pop(stream.next_state, None)
            if following is None or following.shape != state.shape or following.dtype != state.dtype:
                raise RunnerError(f"{runner.runtime}: gives no {stream.next_state} of the state's own shape and type")
            return frames(outputs), following

        def remembered() -> Run:
            assert runner.begin is not None
            of_chunk = runner.begin()
            return remembering(lambda chunk: frames(of_chunk({tensor.name: chunk})))

        feeding = Stream(remembered() if runner.begin else call, asdict(stream), len(sound), sound.dtype)
        try:
            found = [*feeding.feed(sound), *feeding.finish()]
        except ValueError as error:
            raise RunnerError(f"{runner.runtime}: {error}") from error
        return {name: np.concatenate(found, axis=2)}

    return replace(runner, run=run)
