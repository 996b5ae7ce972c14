"""A run of a model with all its intermediate values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from validators.traces.parameters import Parameter


@dataclass(frozen=True)
class Op:
    """One op of a graph: `inputs` and `outputs` name values, those of its constants among them.

    `name` is unique in its graph; `kind` is what the format calls the op (`Conv`, `batch_norm`, `aten.conv2d`).
    `parameters` are its attributes and small constants.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True)
class Trace:
    """One run: `ops` in the order in which they ran, and `values` by name, the graph's inputs among them.

    `source` names the model to people and `runtime` what ran it. `constants` are values that no input leads to, weights
    among them. An op whose result is no array of numbers has no value.
    """

    source: str
    runtime: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ops: tuple[Op, ...]
    values: Mapping[str, np.ndarray]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def held(self) -> dict[str, np.ndarray]:
        """All values and constants; an output may be either."""
        return {**self.constants, **self.values}


def unreached(ops: Iterable[Op], inputs: set[str]) -> set[str]:
    """Results of ops that no input leads to: constants."""
    led = set(inputs)
    fixed: set[str] = set()
    for op in ops:
        (led if led & set(op.inputs) else fixed).update(op.outputs)
    return fixed - led
