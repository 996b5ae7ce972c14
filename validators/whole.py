"""Frames that were given chunk by chunk, held to those of the whole sound: the same in one runtime but for rounding."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from recipes.base.tensor import Output, Stream
from validators.results import Check
from validators.runners.runner import Arrays, Runner
from validators.values import Case, check_values


def check_whole(
    by_chunks: Runner,
    by_whole: Runner,
    cases: Iterable[Case],
    stream: Stream,
    outputs: Iterable[Output],
    *,
    artifact: str,
) -> list[Check]:
    """One check an output, (batch, bands, frames), and case, at the stream's own tolerance, as that says.

    A sound of a single frame tells nothing: products with one column alone are summed in another order.
    """
    checks: list[Check] = []
    for case in cases:
        expected = by_whole.run(case.inputs)
        if any(value.shape[2] == 1 for value in expected.values()):
            continue

        def run(inputs: Mapping[str, np.ndarray], expected: Arrays = expected) -> Arrays:
            return _before_the_log(by_chunks.run(inputs), expected, stream.unit)

        held = []
        for output in outputs:
            greatest = float(np.abs(expected[output.name]).max()) if stream.unit is None else 1
            tolerance = replace(stream.tolerance, atol=stream.tolerance.atol * greatest)
            held.append(replace(output, tolerances={**output.tolerances, "fp32": tolerance}))
        pair = Case(f"{case.name}, of the whole", case.inputs, _before_the_log(expected, expected, stream.unit))
        checks += check_values(replace(by_chunks, run=run), [pair], tuple(held), artifact=artifact, precision="fp32")
    return checks


def _before_the_log(values: Arrays, expected: Arrays, unit: float | None) -> Arrays:
    """What logarithms are taken of, as parts of each frame's greatest band; as they are where none are taken."""
    if unit is None:
        return values
    found = {}
    for name, value in values.items():
        right = expected.get(name, value)
        if value.shape == right.shape:
            above = value.astype(np.float64) - right.max(axis=1, keepdims=True)
            # What is far too great is infinite then, which never passes.
            with np.errstate(over="ignore"):
                value = np.exp(above / unit).astype(np.float32)
        found[name] = value
    return found
