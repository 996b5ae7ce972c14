"""The lowered model against the faithful one: in float32, and in float64, where nothing wrong can pass as rounding.

Both sides are functions from named inputs to named outputs; how they were made is not asked.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recipes.base.tensor import Output, Tolerance
from validators.compare import Sampled, compare_outputs
from validators.results import Check
from validators.runners.runner import Arrays
from validators.values import Case

RUNTIME = "pytorch-lowered"

Answers = Callable[[Mapping[str, NDArray[np.generic]]], Arrays]

# A rewrite regroups sums and products and changes nothing else. In float64 sums of thousands of terms differ by 1e-13
# of their greatest number then, as measured with three families; four digits are left for weights that magnify it.
_REGROUPED = 1e-9


def check_float32(lowered: Answers, cases: Iterable[Case], outputs: Sequence[Output]) -> list[Check]:
    """Every output of every case against what the case expects, at the outputs' own tolerances."""
    tolerances = {output.name: output.tolerances["fp32"] for output in outputs}
    return [check for case in cases for check in _compared(lowered, case, outputs, tolerances, "fp32", "float32")]


def in_float64(faithful: Answers, cases: Iterable[Case]) -> list[Case]:
    """The same inputs in float64, and what `faithful` answers to them; computed once, however often it is held to."""
    doubled = []
    for case in cases:
        inputs = {name: value.astype(np.float64) for name, value in case.inputs.items()}
        doubled.append(Case(case.name, inputs, faithful(inputs)))
    return doubled


def check_float64(
    lowered: Answers, cases: Iterable[Case], outputs: Sequence[Output], *, rounded: bool, note: str = ""
) -> list[Check]:
    """Every output of every case of `in_float64`, one against the other.

    Equal but for the order of sums; `rounded`: where the faithful model has weights that were rounded to float32 and
    `lowered` what they were rounded from, equal to within the fp32 tolerance. That rounding goes through the logarithm
    of a spectrum's quietest places, where no tighter number holds for every sound: 2.4e-4 in logits on a loud tone.
    `note` says in the checks what was held to it.
    """
    checks: list[Check] = []
    for case in cases:
        tolerances = {
            output.name: output.tolerances["fp32"] if rounded else _regrouped(output, case.expected[output.name])
            for output in outputs
        }
        checks += _compared(lowered, case, outputs, tolerances, "fp64", "float64", note)
    return checks


def _compared(
    lowered: Answers,
    case: Case,
    outputs: Sequence[Output],
    tolerances: Mapping[str, Tolerance],
    precision: str,
    dtype: str,
    note: str = "",
) -> list[Check]:
    return compare_outputs(
        case.expected,
        lowered(case.inputs),
        outputs,
        tolerances,
        artifact="",
        runtime=RUNTIME + (f", {note}" if note else ""),
        precision=precision,
        case=case.name,
        dtype=dtype,
    )


def _regrouped(output: Output, expected: NDArray[np.generic] | Sampled) -> Tolerance:
    greatest = float(np.abs(Sampled.of(expected).values).max(initial=1))
    atol = min(_REGROUPED * greatest, output.tolerances["fp32"].atol)
    return Tolerance(atol=atol, rtol=0, reason="In float64 only the order of sums differs")
