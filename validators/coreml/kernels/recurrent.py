"""Recurrent layers (coremltools `iOS15/recurrent.py`, `iOS17/recurrent.py`, `iOS18/recurrent.py`).

Inputs are (sequence, batch, features), initial states (batch, directions * hidden). Weights stack one block of `hidden`
rows per gate. "reverse" runs over the flipped sequence and leaves the output in that order: its last step comes last.
The backward half of "bidirectional" is put back into the order of the input.
Where the runtime and the docstrings differ, the runtime is followed, as the numerical tests of coremltools record it.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from validators.coreml.registry import kernel

Activation = Callable[[Tensor], Tensor]
# One step: the input's share of the gates (batch, gates * hidden) and the states before -> the states after; the first
# state is the output.
Step = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]

# The parameters are those Core ML takes where an op gives none: scaled_tanh has alpha = beta = 1.
_ACTIVATIONS: dict[str, Activation] = {
    "tanh": torch.tanh,
    "scaled_tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "sigmoid_hard": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "relu": torch.relu,
    "linear": lambda x: x,
}


def _activation(name: str) -> Activation:
    if name.lower() not in _ACTIVATIONS:
        raise ValueError(f"activation {name!r} is not one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name.lower()]


def _scan(gates: Tensor, states: tuple[Tensor, ...], step: Step) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Outputs (sequence, batch, hidden) of `step` over `gates`, and the states after the last step."""
    outputs = []
    for gate in gates:
        states = step(gate, states)
        outputs.append(states[0])
    return torch.stack(outputs), states


def _sequence(outputs: Tensor, output_sequence: Tensor | None) -> Tensor:
    return outputs if output_sequence is not None and bool(output_sequence) else outputs[-1:]


@kernel("rnn")
def rnn(
    *,
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: Tensor | None = None,
    activation: str = "tanh",
) -> tuple[Tensor, Tensor]:
    """Elman network; `bias` (hidden,) is the sum of both biases."""
    act = _activation(activation)

    def step(gate: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (act(gate + functional.linear(states[0], weight_hh)),)

    ordered = x.flip(0) if direction == "reverse" else x
    outputs, (hidden,) = _scan(functional.linear(ordered, weight_ih, bias), (initial_h,), step)
    return _sequence(outputs, output_sequence), hidden


@kernel("gru")
def gru(
    *,
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: Tensor | None = None,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: Tensor | None = None,
    input_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Gated recurrent unit, gates in the order reset, output, update.

    The reset gate multiplies the hidden state before the matrix product; with `reset_after` (iOS 18) it multiplies the
    product and its `bias`, as PyTorch's GRU does, and `input_bias` joins the input's side.
    """
    inner, outer = _activation(recurrent_activation), _activation(activation)
    size = weight_hh.shape[1]
    hidden_reset, hidden_output, hidden_update = weight_hh.split(size)
    biases = torch.zeros(3 * size) if bias is None else bias
    bias_reset, bias_output, bias_update = biases.split(size)
    after = reset_after is not None and bool(reset_after)

    def step(gate: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (hidden,) = states
        gate_reset, gate_output, gate_update = gate.split(size, dim=-1)
        reset = inner(gate_reset + functional.linear(hidden, hidden_reset, bias_reset))
        update = inner(gate_update + functional.linear(hidden, hidden_update, bias_update))
        if after:
            recurrent = reset * functional.linear(hidden, hidden_output, bias_output)
        else:
            recurrent = functional.linear(reset * hidden, hidden_output, bias_output)
        return ((1 - update) * outer(gate_output + recurrent) + update * hidden,)

    ordered = x.flip(0) if direction == "reverse" else x
    outputs, (hidden,) = _scan(functional.linear(ordered, weight_ih, input_bias), (initial_h,), step)
    return _sequence(outputs, output_sequence), hidden


@kernel("lstm")
def lstm(
    *,
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    peephole: Tensor | None = None,
    weight_ih_back: Tensor | None = None,
    weight_hh_back: Tensor | None = None,
    bias_back: Tensor | None = None,
    peephole_back: Tensor | None = None,
    direction: str = "forward",
    output_sequence: Tensor | None = None,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory, gates in the order input, forget, output, cell.

    `peephole` (3 * hidden,) weighs the cell state into the input and forget gates (before the step) and the output gate
    (after it). `clip` bounds the cell state.
    """
    inner, cell_act, outer = map(_activation, (recurrent_activation, cell_activation, activation))

    def run(
        ordered: Tensor,
        states: tuple[Tensor, ...],
        weights: tuple[Tensor, Tensor],
        bias: Tensor | None,
        peephole: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        size = weights[1].shape[1]
        zeros = torch.zeros(3 * size) if peephole is None else peephole
        peep_input, peep_forget, peep_output = zeros.split(size)

        def step(gate: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            hidden, cell = states
            mixed = gate + functional.linear(hidden, weights[1])
            to_input, to_forget, to_output, to_cell = mixed.split(size, dim=-1)
            forgotten = inner(to_forget + peep_forget * cell) * cell
            cell = forgotten + inner(to_input + peep_input * cell) * cell_act(to_cell)
            if clip is not None:
                cell = torch.clamp(cell, -clip, clip)
            return inner(to_output + peep_output * cell) * outer(cell), cell

        return _scan(functional.linear(ordered, weights[0], bias), states, step)

    if direction != "bidirectional":
        ordered = x.flip(0) if direction == "reverse" else x
        outputs, (hidden, cell) = run(ordered, (initial_h, initial_c), (weight_ih, weight_hh), bias, peephole)
        return _sequence(outputs, output_sequence), hidden, cell

    if weight_ih_back is None or weight_hh_back is None:
        raise ValueError("a bidirectional lstm needs weight_ih_back and weight_hh_back")
    (h_ahead, h_back), (c_ahead, c_back) = initial_h.chunk(2, dim=-1), initial_c.chunk(2, dim=-1)
    ahead, ahead_states = run(x, (h_ahead, c_ahead), (weight_ih, weight_hh), bias, peephole)
    back, back_states = run(x.flip(0), (h_back, c_back), (weight_ih_back, weight_hh_back), bias_back, peephole_back)
    if output_sequence is not None and bool(output_sequence):
        outputs = torch.cat([ahead, back.flip(0)], dim=-1)
    else:
        outputs = torch.cat([ahead[-1:], back[-1:]], dim=-1)
    hidden, cell = (torch.cat(pair, dim=-1) for pair in zip(ahead_states, back_states, strict=True))
    return outputs, hidden, cell
