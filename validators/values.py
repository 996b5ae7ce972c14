"""Holds what a runtime answers to what PyTorch answered, case by case."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from recipes.base.errors import UserError
from recipes.base.tensor import Input, Output, Precision
from validators.compare import Sampled, compare_outputs
from validators.results import Check
from validators.runners.runner import Arrays, Runner, RunnerError, ask_batch


@dataclass(frozen=True)
class Case:
    """Named inputs, and the outputs that are expected of them.

    `inner` are arrays in between, which some artifact is fed and none gives.
    """

    name: str
    inputs: Mapping[str, np.ndarray]
    expected: Mapping[str, "np.ndarray | Sampled"]
    inner: Mapping[str, np.ndarray] = field(default_factory=dict)


def fed(cases: Iterable[Case], tensor: Input) -> list[Case]:
    """The cases of an artifact that is fed what the whole model makes as `tensor.name`, an output or not.

    What is fed sound in chunks has the cases of the whole model.
    Raises UserError for a case that holds only a part of it: left out, it would be neither passed nor failed.
    """
    if tensor.stream:
        return list(cases)
    derived = []
    for case in cases:
        whole = Sampled.of({**case.inner, **case.expected}[tensor.name])
        if whole.stride != 1:
            raise UserError(
                f"case {case.name}: holds {tensor.name} in part, and a file is fed it; make the folder again"
            )
        array = whole.values.reshape(tensor.shape(whole.shape[0], whole.shape[-1]))
        rest = {name: value for name, value in case.expected.items() if name != tensor.name}
        derived.append(Case(case.name, {tensor.name: array}, rest))
    return derived


def check_values(
    runner: Runner, cases: Iterable[Case], outputs: tuple[Output, ...], *, artifact: str, precision: Precision
) -> list[Check]:
    """Every output of every case that the artifact's fixed axes admit, at the outputs' tolerances for `precision`.

    A runtime that raises has failed the case. An artifact that admits no case at all is not verified. One case is
    compared while a runtime in a worker is at the next: what goes there and back costs no time.
    """
    checks: list[Check] = []
    tolerances = {output.name: output.tolerances[precision] for output in outputs}
    for case, actual in _one_ahead(runner, (case for case in cases if _admits(runner, case.inputs))):
        if isinstance(actual, RunnerError):
            checks.append(
                Check(artifact, runner.runtime, precision, case.name, "", "values", "failed", message=str(actual))
            )
            continue
        checks += compare_outputs(
            case.expected,
            actual,
            outputs,
            tolerances,
            artifact=artifact,
            runtime=runner.runtime,
            precision=precision,
            case=case.name,
        )
    if not checks:
        reason = "no case has the length that this file is fixed to; make it again with the same --seconds"
        checks.append(Check(artifact, runner.runtime, precision, "", "", "values", "not verified", message=reason))
    return checks


def _one_ahead(runner: Runner, cases: Iterable[Case]) -> Iterator[tuple[Case, Arrays | RunnerError]]:
    """Each case and its answer, or why there is none; the next one is asked for by then."""
    begun: tuple[Case, Callable[[], Arrays]] | None = None
    for case in chain(cases, (None,)):
        answered = None if begun is None else (begun[0], _answer(begun[1]))
        begun = None if case is None else (case, ask_batch(runner, case.inputs))
        if answered is not None:
            yield answered


def _answer(wait: Callable[[], Arrays]) -> Arrays | RunnerError:
    try:
        return wait()
    except RunnerError as error:
        return error


def _admits(runner: Runner, inputs: Mapping[str, np.ndarray]) -> bool:
    """Whether the lengths fit the fixed ones; rows of a batch may run one by one.

    An input of another name or rank is for the runtime to refuse: it is no matter of length.
    """
    known = [(port.axes, inputs[port.name].shape) for port in runner.inputs if port.name in inputs]
    return all(
        axis in (size, None) or isinstance(axis, str)
        for axes, shape in known
        if len(axes) == len(shape)
        for axis, size in zip(axes[1:], shape[1:], strict=True)
    )
