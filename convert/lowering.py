"""The form of a model that ships: as its authors have it, or lowered, with the proof that its answers are the same."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from convert.subject import Branch
from exporters.lowering import REWRITES, UNROUNDED, Applied, LoweringError, lowered, shipped
from exporters.lowering.shipped import Shipped
from recipes.base.errors import UserError
from recipes.base.worker import Worker, WorkerError
from validators.lowered import RUNTIME, Answers, check_float32, check_float64, in_float64
from validators.results import Check
from validators.runners.runner import Arrays, Runner
from validators.runners.streamed import of_sounds
from validators.values import Case


@dataclass(frozen=True)
class Form:
    """The module that every target takes, and what was applied to make it."""

    module: Shipped
    applied: tuple[Applied, ...] = ()


@dataclass(frozen=True)
class Proof:
    """How a lowered module fared against the faithful model."""

    checks: list[Check]
    warnings: list[str]


def faithful_form(branch: Branch) -> Form:
    return Form(shipped(branch.model, branch.variant))


def lowered_form(branch: Branch) -> Form:
    """Raises UserError where a rewrite does not cope with the model."""
    try:
        done = lowered(branch.model, branch.variant)
    except LoweringError as error:
        raise UserError(f"{branch.variant.name}: {error}; --no-lowering ships the authors' graph") from error
    return Form(done.module, done.applied)


def prover(branch: Branch, form: Form) -> Callable[[], Proof]:
    """What proves a lowered form in a process of its own, beside whatever else is made, and waits for that.

    That raises UserError where the process died, of a lack of memory above all. It works on our own data, and takes
    what it needs.
    """
    # As they are now: while a module is exported, it is another. And what is needed of the branch can be sent.
    sent = pickle.dumps((replace(branch, size=int, recordings={}), form), protocol=5)
    worker = Worker((__name__,), limited=False)
    # A fork of this process, which is to be made here: where no other thread is amid its work.
    worker.start()

    def prove() -> Proof:
        try:
            with worker:
                return worker.call(_proved, sent, returns=Proof)
        except WorkerError as error:
            fault = f"what proves the lowered model {error}"
            raise UserError(f"{branch.variant.name}: {fault}; --no-lowering ships the authors' graph") from error

    return prove


def _proved(sent: bytes) -> Proof:
    return proved(*pickle.loads(sent))


def proved(branch: Branch, form: Form) -> Proof:
    """The lowered module held to the faithful model: on every case and the sweep, in float64 too but for its longest.

    Where that fails, a warning names the rewrite.
    """
    double = deepcopy(branch.model).double()
    cases = [*_named(branch, branch.cases), *_named(branch, branch.sweep)]
    checks = check_float32(_answers(form.module, branch), cases, branch.variant.outputs)
    rewrites = list(dict.fromkeys(step.rewrite for step in form.applied))
    doubled = in_float64(_answers(shipped(double, branch.variant), branch), _cases_in_float64(branch))
    checks += _in_float64(branch, double, rewrites, doubled)
    exact = [name for name in rewrites if name not in UNROUNDED]
    if exact != rewrites:
        without = " and ".join(name for name in rewrites if name in UNROUNDED)
        checks += _in_float64(branch, double, exact, doubled, f"without {without}")
    failed = any(check.status == "failed" for check in checks)
    return Proof(checks, [_blamed(branch, double, rewrites, doubled)] if failed else [])


def held(branch: Branch, own: Shipped, plain: Shipped, note: str) -> list[Check]:
    """A form for one runtime alone held to the plain one in float64, on every case and the sweep but its longest."""
    before, after = (_answers(deepcopy(module).double(), branch) for module in (plain, own))
    doubled = in_float64(before, _cases_in_float64(branch))
    return check_float64(after, doubled, branch.variant.outputs, rounded=False, note=note)


def _cases_in_float64(branch: Branch) -> list[Case]:
    """All but the sweep's longest: the usual length is among the cases."""
    short = [case for case in branch.sweep if _length(case) != branch.variant.input.default]
    return [*_named(branch, branch.cases), *_named(branch, short)]


def _length(case: Case) -> int:
    (fed,) = case.inputs.values()
    return int(fed.shape[-1])


def _named(branch: Branch, cases: Iterable[Case]) -> Iterable[Case]:
    """The cases of a branch that is not the whole model say what it is fed: no artifact's name tells its checks."""
    for case in cases:
        name = case.name if branch.stem == "model" else f"{case.name}, fed {branch.variant.input.name}"
        yield replace(case, name=name)


def _in_float64(
    branch: Branch, double: nn.Module, rewrites: list[str], cases: Iterable[Case], note: str = ""
) -> list[Check]:
    """The checks of these rewrites alone."""
    chosen = {name: REWRITES[name] for name in rewrites}
    module = lowered(double, branch.variant, chosen).module
    return check_float64(
        _answers(module, branch),
        cases,
        branch.variant.outputs,
        rounded=any(name in UNROUNDED for name in rewrites),
        note=note,
    )


def _blamed(branch: Branch, double: nn.Module, rewrites: list[str], cases: list[Case]) -> str:
    """Names the first rewrite after which float64 differs, found by applying one more at a time."""
    for count in range(1, len(rewrites) + 1):
        checks = _in_float64(branch, double, rewrites[:count], cases)
        if any(check.status == "failed" for check in checks):
            worst = f"with the rewrite {rewrites[count - 1]} answers are over their tolerance in float64"
            break
    else:
        worst = "the lowered model is right in float64, and rounds more in float32 than the tolerance allows"
    return f"{worst}; --no-lowering ships the authors' graph"


def _answers(module: nn.Module, branch: Branch) -> Answers:
    tensor = branch.variant.input
    names = list(tensor.given(branch.variant.outputs))

    def run(inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        fed = [torch.from_numpy(inputs[name]) for name in tensor.fed()]
        with torch.inference_mode():
            return {name: value.numpy() for name, value in zip(names, module(*fed), strict=True)}

    return of_sounds(Runner(RUNTIME, (), (), {}, run), tensor).run
