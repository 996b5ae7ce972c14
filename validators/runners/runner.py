"""The face that all runtimes share."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

Arrays = dict[str, np.ndarray]


class RunnerError(Exception):
    """A runtime refused to load an artifact or to run it on an input; the message is the runtime's own, shortened."""


@dataclass(frozen=True)
class Port:
    """An input or output as the artifact declares it: a name or None for each axis that may change.

    Where the artifact bounds its axes, `bounds` has the least and the greatest size of each, None where that is free;
    `shapes` are all that it takes, where it lists them, and `usual` is the one that it names as its own. What is
    `optional` may be left out.
    """

    name: str
    axes: tuple[str | int | None, ...]
    dtype: str
    bounds: tuple[tuple[int, int | None], ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    usual: tuple[int, ...] = ()
    optional: bool = False

    @property
    def most(self) -> int | None:
        """The greatest size of the last axis, where that is free and the artifact bounds it."""
        return self.bounds[-1][1] if self.bounds and self.axes[-1] is None else None


@dataclass(frozen=True)
class Runner:
    """An artifact that is loaded and ready.

    `run` takes and returns named arrays; it raises RunnerError when the runtime does. `metadata` is what the
    artifact says of itself, without a prefix. `float16` tells that some of what it computes is rounded to that.

    What can be asked without waiting has `ask`, which gives what waits and answers as `run` does; either may raise
    RunnerError. What is asked next waits for the answer before.

    What is `stateful` keeps a state between calls: each `run` has a new one, and `begin` gives a `run` whose calls
    share one. A runner that lives in a worker has no `begin`.
    """

    runtime: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]
    run: Callable[[Mapping[str, np.ndarray]], Arrays]
    float16: bool = False
    stateful: bool = False
    begin: Callable[[], Callable[[Mapping[str, np.ndarray]], Arrays]] | None = None
    ask: Callable[[Mapping[str, np.ndarray]], Callable[[], Arrays]] | None = None


def run_batch(runner: Runner, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """As `runner.run`; where the artifact takes one clip at a time, row by row. Raises RunnerError."""
    rows = _rows(runner, inputs)
    if rows == 1:
        return runner.run(inputs)
    if rows == 0 or any(len(value) != rows for value in inputs.values()):
        given = ", ".join(f"{len(value)} of {name}" for name, value in inputs.items())
        raise RunnerError(f"{runner.runtime} runs this file row by row, and was given {given}")
    each = ({name: value[row : row + 1] for name, value in inputs.items()} for row in range(rows))
    return joined(list(alike(map(runner.run, each), runner.runtime, "row")))


def alike(answers: Iterable[Arrays], runtime: str, what: str) -> Iterator[Arrays]:
    """Each answer as it comes; RunnerError where one has other outputs, dtypes or sizes than the first.

    `what` each is an answer to is for the message. What a stranger's model answers may depend on what it is fed, and
    one behind the other nobody could tell whose numbers are which.
    """
    first: dict[str, str] | None = None
    for number, answer in enumerate(answers):
        found = {name: f"{value.dtype}{list(value.shape)}" for name, value in answer.items()}
        first = found if first is None else first
        for name in {**first, **found}:
            if first.get(name) != found.get(name):
                own, other = (form.get(name, "absent") for form in (first, found))
                raise RunnerError(
                    f"{runtime}: the output {name!r} is {own} for {what} 0 and {other} for {what} {number}; what "
                    f"differs by {what} cannot be put together"
                )
        yield answer


def joined(answers: Sequence[Arrays]) -> Arrays:
    """The rows of answers that are alike, one behind the other; a number is a row of one."""
    return {name: np.concatenate([np.atleast_1d(answer[name]) for answer in answers]) for name in answers[0]}


def ask_batch(runner: Runner, inputs: Mapping[str, np.ndarray]) -> Callable[[], Arrays]:
    """As `run_batch`, begun where the runner can be asked, and done once it is waited for; that raises RunnerError."""
    if runner.ask is None or _rows(runner, inputs) != 1:
        return partial(run_batch, runner, inputs)
    try:
        return runner.ask(inputs)
    except RunnerError as error:
        refusal = error

    def refused() -> Arrays:
        raise refusal

    return refused


def _rows(runner: Runner, inputs: Mapping[str, np.ndarray]) -> int:
    """How many there are that have to run one by one."""
    if not runner.inputs or runner.inputs[0].axes[:1] != (1,) or not all(np.ndim(value) for value in inputs.values()):
        return 1
    return len(next(iter(inputs.values()), (0,)))


def shortened(error: BaseException) -> str:
    """The first line of a runtime's message: the rest is often a stack trace of native code."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
