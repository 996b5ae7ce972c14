"""States, which outlive a prediction (coremltools `iOS18/states.py` and its `coreml_update_state` dialect op).

A state arrives as the cell that holds its current value.
"""

from typing import Protocol

from torch import Tensor

from validators.coreml.registry import kernel


class Cell(Protocol):
    """Holds the current value of a state."""

    value: Tensor


@kernel("read_state", opset="iOS18")
def read_state(*, input: Cell) -> Tensor:
    """The state's value, which later writes do not change."""
    return input.value


@kernel("coreml_update_state", opset="iOS18")
def coreml_update_state(*, state: Cell, value: Tensor) -> Tensor:
    """Writes `value` into the state and returns it."""
    state.value = value
    return value
