"""Recurrent layers against PyTorch's, and against NumPy where PyTorch has no such option."""

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb

SEQUENCE, BATCH, FEATURES, HIDDEN = 5, 3, 4, 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def x(rng):
    return rng.standard_normal((SEQUENCE, BATCH, FEATURES)).astype(np.float32)


def states(rng, count=1, width=HIDDEN):
    return [rng.standard_normal((BATCH, width)).astype(np.float32) for _ in range(count)]


def reorder(weight, order):
    """Rows of PyTorch's gates in the order of MIL's."""
    parts = np.split(weight.detach().numpy(), len(order))
    return np.concatenate([parts[index] for index in order])


LSTM_ORDER = (0, 1, 3, 2)  # PyTorch has input, forget, cell, output
GRU_ORDER = (0, 2, 1)  # PyTorch has reset, update, new


@pytest.mark.parametrize("sequence", [True, False])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_rnn(execute, rng, x, direction, sequence, activation):
    layer = torch.nn.RNN(FEATURES, HIDDEN, nonlinearity=activation)
    (h,) = states(rng)

    def build(x, h):
        return mb.rnn(
            x=x,
            initial_h=h,
            weight_ih=layer.weight_ih_l0.detach().numpy(),
            weight_hh=layer.weight_hh_l0.detach().numpy(),
            bias=(layer.bias_ih_l0 + layer.bias_hh_l0).detach().numpy(),
            direction=direction,
            output_sequence=sequence,
            activation=activation,
        )

    outputs, last = execute(build, {"x": x, "h": h})
    ordered = x if direction == "forward" else x[::-1].copy()
    with torch.no_grad():
        expected, _ = layer(torch.from_numpy(ordered), torch.from_numpy(h)[None])
    np.testing.assert_allclose(outputs, expected if sequence else expected[-1:], atol=1e-6)
    np.testing.assert_allclose(last, expected[-1], atol=1e-6)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_gru_resets_before_the_product(execute, rng, x, direction):
    """The runtime's form, which the docstring gives otherwise: reset multiplies the state, not the product."""
    w, u, b = (
        rng.uniform(-1, 1, shape).astype(np.float32)
        for shape in ((3 * HIDDEN, FEATURES), (3 * HIDDEN, HIDDEN), 3 * HIDDEN)
    )
    (h,) = states(rng)

    def build(x, h):
        return mb.gru(x=x, initial_h=h, weight_ih=w, weight_hh=u, bias=b, direction=direction, output_sequence=True)

    outputs, last = execute(build, {"x": x, "h": h})
    (w_r, w_o, w_z), (u_r, u_o, u_z), (b_r, b_o, b_z) = np.split(w, 3), np.split(u, 3), np.split(b, 3)
    expected = []
    for step in x if direction == "forward" else x[::-1]:
        r = sigmoid(step @ w_r.T + h @ u_r.T + b_r)
        z = sigmoid(step @ w_z.T + h @ u_z.T + b_z)
        o = np.tanh(step @ w_o.T + (r * h) @ u_o.T + b_o)
        h = (1 - z) * o + z * h
        expected.append(h)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    np.testing.assert_allclose(last, expected[-1], atol=1e-6)


def test_gru_with_reset_after_is_pytorchs(execute, rng, x):
    layer = torch.nn.GRU(FEATURES, HIDDEN)
    (h,) = states(rng)

    def build(x, h):
        return mb.gru(
            x=x,
            initial_h=h,
            weight_ih=reorder(layer.weight_ih_l0, GRU_ORDER),
            weight_hh=reorder(layer.weight_hh_l0, GRU_ORDER),
            input_bias=reorder(layer.bias_ih_l0, GRU_ORDER),
            bias=reorder(layer.bias_hh_l0, GRU_ORDER),
            reset_after=True,
            output_sequence=True,
        )

    outputs, _ = execute(build, {"x": x, "h": h}, opset="iOS18")
    with torch.no_grad():
        expected, _ = layer(torch.from_numpy(x), torch.from_numpy(h)[None])
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sequence", [True, False])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm(execute, rng, x, direction, sequence, bias):
    both = direction == "bidirectional"
    layer = torch.nn.LSTM(FEATURES, HIDDEN, bidirectional=both, bias=bias)
    h, c = states(rng, 2, HIDDEN * (2 if both else 1))

    def weights(suffix, ending):
        named = {
            "weight_ih" + ending: reorder(getattr(layer, "weight_ih_l0" + suffix), LSTM_ORDER),
            "weight_hh" + ending: reorder(getattr(layer, "weight_hh_l0" + suffix), LSTM_ORDER),
        }
        if bias:
            summed = getattr(layer, "bias_ih_l0" + suffix) + getattr(layer, "bias_hh_l0" + suffix)
            named["bias" + ending] = reorder(summed, LSTM_ORDER)
        return named

    def build(x, h, c):
        arguments = weights("", "") | (weights("_reverse", "_back") if both else {})
        return mb.lstm(x=x, initial_h=h, initial_c=c, direction=direction, output_sequence=sequence, **arguments)

    outputs, last_h, last_c = execute(build, {"x": x, "h": h, "c": c})
    ordered = x[::-1].copy() if direction == "reverse" else x
    split = [torch.from_numpy(np.stack(np.split(state, 2 if both else 1, axis=-1))) for state in (h, c)]
    with torch.no_grad():
        expected, (expected_h, expected_c) = layer(torch.from_numpy(ordered), tuple(split))
    joined_h, joined_c = (np.concatenate(list(state.numpy()), axis=-1) for state in (expected_h, expected_c))
    np.testing.assert_allclose(outputs, expected if sequence else joined_h[None], atol=1e-6)
    np.testing.assert_allclose(last_h, joined_h, atol=1e-6)
    np.testing.assert_allclose(last_c, joined_c, atol=1e-6)


ACTIVATIONS = {
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "scaled_tanh": np.tanh,
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
}


@pytest.mark.parametrize("clip", [50.0, 0.2])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_lstm_peephole_clip_and_activations(execute, rng, x, name, clip):
    w, u, b, p = (
        rng.uniform(-1, 1, shape).astype(np.float32)
        for shape in ((4 * HIDDEN, FEATURES), (4 * HIDDEN, HIDDEN), 4 * HIDDEN, 3 * HIDDEN)
    )
    h, c = states(rng, 2)

    def build(x, h, c):
        return mb.lstm(
            x=x, initial_h=h, initial_c=c, weight_ih=w, weight_hh=u, bias=b, peephole=p, clip=np.float32(clip),
            output_sequence=True, recurrent_activation="sigmoid", cell_activation="tanh", activation=name,
        )  # fmt: skip

    outputs, last_h, last_c = execute(build, {"x": x, "h": h, "c": c})
    p_i, p_f, p_o = np.split(p, 3)
    expected = []
    for step in x:
        i, f, o, g = np.split(step @ w.T + h @ u.T + b, 4, axis=-1)
        c = np.clip(sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g), -clip, clip)
        h = sigmoid(o + p_o * c) * ACTIVATIONS[name](c)
        expected.append(h)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    np.testing.assert_allclose(last_h, h, atol=1e-5)
    np.testing.assert_allclose(last_c, c, atol=1e-5)


def test_float16_results_are_rounded_once(execute, rng, x):
    """Sums and states between the steps stay float32: only the results are float16."""
    layer = torch.nn.RNN(FEATURES, HIDDEN, bias=False).half()
    (h,) = states(rng)
    x, h = x.astype(np.float16), h.astype(np.float16)

    def build(x, h):
        return mb.rnn(
            x=x,
            initial_h=h,
            weight_ih=layer.weight_ih_l0.detach().numpy(),
            weight_hh=layer.weight_hh_l0.detach().numpy(),
            output_sequence=True,
        )

    outputs, _ = execute(build, {"x": x, "h": h})
    with torch.no_grad():
        expected, _ = layer.float()(torch.from_numpy(x).float(), torch.from_numpy(h)[None].float())
    assert outputs.dtype == np.float16
    np.testing.assert_allclose(outputs, expected.numpy().astype(np.float16), atol=5e-4)
