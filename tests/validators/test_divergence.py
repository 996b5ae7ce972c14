"""Two runs are paired by what their values hold, and the first op that goes wrong is named."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from validators.divergence import LIMITS, amplifiers, diverged, grown
from validators.partners import Value, difference, pair, partners, values
from validators.traces import Op, Trace

RANDOM = np.random.RandomState(4)
X = RANDOM.randn(1, 6, 20).astype(np.float32)
WEIGHT = RANDOM.randn(6, 6).astype(np.float32)
Steps = list[tuple[str, str, tuple[str, ...], Callable[..., np.ndarray]]]

# y = relu(W x + b) / std, twice over, with a side path that joins at the end.
STEPS: Steps = [
    ("w", "MatMul", ("x",), lambda x: WEIGHT @ x),
    ("h", "Add", ("w",), lambda w: w + 0.5),
    ("r", "Relu", ("h",), lambda h: np.maximum(h, 0)),
    ("s", "Softmax", ("r",), lambda r: np.exp(r) / np.exp(r).sum(-1, keepdims=True)),
    ("m", "Mul", ("s",), lambda s: 3 * s),
    ("t", "Tanh", ("x",), np.tanh),
    ("y", "Add", ("m", "t"), lambda m, t: m + t),
]


def _trace(steps: Steps = STEPS, outputs: tuple[str, ...] = ("y",), names: Mapping[str, str] | None = None) -> Trace:
    held, ops = {"x": X}, []
    for name, kind, inputs, function in steps:
        held[name] = function(*(held[one] for one in inputs)).astype(np.float32)
        ops.append(Op(f"op_{name}", kind, inputs, (name,)))
    called = names or {}
    values = {called.get(name, name): value for name, value in held.items()}
    renamed = tuple(
        replace(
            op, inputs=tuple(called.get(n, n) for n in op.inputs), outputs=tuple(called.get(n, n) for n in op.outputs)
        )
        for op in ops
    )
    return Trace("model", "test", ("x",), tuple(called.get(name, name) for name in outputs), renamed, values)


def _changed(name: str, function: Callable[..., np.ndarray], kind: str = "") -> Steps:
    return [(n, kind or k if n == name else k, i, function if n == name else f) for n, k, i, f in STEPS]


def test_a_model_does_not_diverge_from_itself() -> None:
    found = diverged(_trace(), _trace())
    assert found.culprit is None
    assert {(one.b, one.a, one.error) for one in found.partners} == {(n, n, 0.0) for n in ("x", *"whrsmty")}
    assert [one.error_out for one in found.growth] == [0.0] * 7


@pytest.mark.parametrize("name", list("whrsty"))
def test_the_op_that_went_wrong_is_named_whatever_its_name(name: str) -> None:
    """In B all is called otherwise, and each op in turn gives noise on top of what it should give."""
    function = next(f for n, _, _, f in STEPS if n == name)
    steps = _changed(name, lambda *inputs: function(*inputs) + 0.1 * RANDOM.randn(1, 6, 20))
    found = diverged(_trace(), _trace(steps, names={n: f"v{ord(n)}" for n in "whrsmty"}))
    assert found.culprit is not None
    assert found.culprit.outputs == (f"v{ord(name)}",)
    assert found.opposite is not None
    assert found.opposite.outputs == (name,)


def test_what_is_taken_apart_otherwise_is_redeemed_by_what_comes_after() -> None:
    """B computes the softmax in three steps, of which A has none, and is wrong only at the end."""
    apart: Steps = [
        ("e", "Exp", ("r",), np.exp),
        ("sum", "ReduceSum", ("e",), lambda e: e.sum(-1, keepdims=True) * np.ones_like(e)),
        ("s", "Div", ("e", "sum"), lambda e, total: e / total),
    ]
    steps = [*STEPS[:3], *apart, *STEPS[4:]]
    assert diverged(_trace(), _trace(steps)).culprit is None
    wrong = [*steps[:-1], ("y", "Add", ("m", "t"), lambda m, t: m + 1.5 * t)]
    found = diverged(_trace(), _trace(wrong)).culprit
    assert found is not None
    assert found.name == "op_y"


def test_a_step_that_only_one_takes_is_no_suspect_beside_one_that_both_take() -> None:
    """The tanh is wrong; the exponential before it in B is of a softmax taken apart, and right."""
    steps: Steps = [
        *STEPS[:3],
        ("e", "Exp", ("r",), lambda r: np.exp(r) + 0.0 * r),
        ("s", "Div", ("e",), lambda e: e / e.sum(-1, keepdims=True)),
        STEPS[4],
        ("t", "Tanh", ("x",), lambda x: np.tanh(1.1 * x)),
        STEPS[6],
    ]
    found = diverged(_trace(), _trace(steps)).culprit
    assert found is not None
    assert found.name == "op_t"


def test_a_small_fault_is_found_where_it_was_made_and_not_where_it_crosses_the_limit() -> None:
    noise = RANDOM.randn(1, 6, 20)
    steps = _changed("w", lambda x: WEIGHT @ x * (1 + 6e-5 * noise))
    found = diverged(_trace(), _trace([*steps[:4], ("m", "Mul", ("s",), lambda s: 3 * s), *steps[5:]]), limit=1e-4)
    assert found.culprit is not None
    assert found.culprit.name == "op_w"


def test_swapped_outputs_are_told_and_not_blamed_on_what_is_right() -> None:
    b = replace(_trace(outputs=("h", "m")), outputs=("first", "second"))
    a = _trace(outputs=("h", "m"))
    held = diverged(a, b, outputs={"h": "m", "m": "h"})
    assert held.culprit is not None
    assert held.culprit.name == "op_h"
    assert any("are they swapped?" in hint for hint in held.hints)


def test_a_transposition_of_right_numbers_is_the_culprit_and_not_what_takes_them() -> None:
    square = RANDOM.randn(1, 6, 6).astype(np.float32)

    def run(axes: tuple[int, ...]) -> Trace:
        moved = square.transpose(axes)
        out = WEIGHT @ moved
        ops = (Op("turn", "Transpose", ("x",), ("t",)), Op("product", "MatMul", ("t",), ("y",)))
        return Trace("model", "test", ("x",), ("y",), ops, {"x": square, "t": moved, "y": out})

    turn = Op("turn", "Transpose", ("x",), ("t",))
    assert diverged(run((0, 2, 1)), run((0, 1, 2))).culprit == turn
    assert diverged(run((0, 1, 2)), run((0, 2, 1))).culprit == turn


def test_an_activation_that_does_nothing_is_the_culprit() -> None:
    found = diverged(_trace(), _trace(_changed("t", lambda x: x))).culprit
    assert found is not None
    assert found.name == "op_t"


def test_an_activation_that_is_an_identity_is_the_culprit_and_the_one_that_is_not_there_is_told() -> None:
    """Of the same graph once with an identity in its place, once without anything."""
    idle = diverged(_trace(), _trace(_changed("s", lambda r: r, "Identity")))
    assert idle.culprit is not None
    assert idle.culprit.outputs == ("s",)
    assert idle.opposite is not None
    assert idle.opposite.kind == "Softmax"
    bare = [(n, k, ("r",) if n == "m" else i, f) for n, k, i, f in STEPS if n != "s"]
    gone = diverged(_trace(), _trace(bare))
    assert gone.culprit is not None
    assert gone.culprit.outputs == ("m",)
    assert "the other model has Softmax op_s before it, which this one has not: left out?" in gone.hints


def test_an_identity_that_a_gate_takes_twice_is_the_culprit() -> None:
    """x * sigmoid(x), and x * x where the sigmoid does nothing."""
    right: Steps = [
        ("w", "MatMul", ("x",), lambda x: WEIGHT @ x),
        ("g", "Sigmoid", ("w",), lambda w: 1 / (1 + np.exp(-w))),
        ("y", "Mul", ("w", "g"), lambda w, g: w * g),
    ]
    wrong = [right[0], ("g", "Identity", ("w",), lambda w: w), right[2]]
    found = diverged(_trace(right), _trace(wrong)).culprit
    assert found is not None
    assert found.outputs == ("g",)


def test_a_linear_op_without_its_bias_is_the_culprit_and_not_what_takes_it() -> None:
    right: Steps = [
        ("w", "MatMul", ("x",), lambda x: WEIGHT @ x),
        ("h", "Add", ("w", "b"), lambda w, b: w + b),
        ("y", "Tanh", ("h",), np.tanh),
    ]
    bias = RANDOM.randn(6, 1).astype(np.float32)
    a = _trace([right[0], ("h", "Add", ("w",), lambda w: w + bias), right[2]])
    a = replace(a, constants={"b": bias}, ops=(a.ops[0], replace(a.ops[1], inputs=("w", "b")), a.ops[2]))
    fused: Steps = [("h", "linear", ("x",), lambda x: WEIGHT @ x + bias), right[2]]
    assert diverged(a, _trace(fused)).culprit is None
    found = diverged(a, _trace([("h", "linear", ("x",), lambda x: WEIGHT @ x), right[2]])).culprit
    assert found is not None
    assert found.kind == "linear"
    # A constant that is added by an op of its own is that op's.
    b = _trace([right[0], ("h", "Add", ("w",), lambda w: w - bias), right[2]])
    b = replace(b, constants={"b": bias}, ops=(b.ops[0], replace(b.ops[1], inputs=("w", "b")), b.ops[2]))
    own = diverged(a, b).culprit
    assert own is not None
    assert own.kind == "Add"


def test_the_first_of_several_ops_that_move_numbers_is_named() -> None:
    """A channel shuffle whose transposition is a reshape."""
    right: Steps = [
        ("w", "MatMul", ("x",), lambda x: WEIGHT @ x),
        ("p", "Reshape", ("w",), lambda w: w.reshape(1, 2, 3, 20)),
        ("q", "Transpose", ("p",), lambda p: p.transpose(0, 2, 1, 3)),
        ("r", "Reshape", ("q",), lambda q: q.reshape(1, 6, 20)),
        ("y", "MatMul", ("r",), lambda r: WEIGHT @ r),
    ]
    wrong = [*right[:2], ("q", "Reshape", ("p",), lambda p: p.reshape(1, 3, 2, 20)), *right[3:]]
    found = diverged(_trace(right), _trace(wrong)).culprit
    assert found is not None
    assert found.outputs == ("q",)


def test_what_is_no_number_in_both_alike_is_no_difference() -> None:
    """A logarithm of zeros, and rounding beside it; and where all is NaN."""
    steps = [*STEPS[:-1], ("y", "Log", ("r",), lambda r: np.log(r))]
    near = [*steps[:-1], ("y", "Log", ("r",), lambda r: np.log(r) * np.float32(1 + 1e-6))]
    with np.errstate(divide="ignore"):
        a, b = _trace(steps), _trace(near)
    assert np.isinf(a.values["y"]).any()
    found = diverged(a, b, used=lambda name, e, a: 0.5 if np.allclose(e, a) else 2.0)
    assert (found.culprit, found.outputs[0].agrees) == (None, True)
    none = {"x": X * np.nan, "y": X * np.nan}
    a = replace(_trace(STEPS[:1], outputs=("y",)), values=none, ops=(Op("op", "Neg", ("x",), ("y",)),))
    assert diverged(a, a, used=lambda name, e, a: float(np.abs(e - a).max()) / 1e-3).culprit is None


@pytest.mark.parametrize(("got", "agrees"), [(0, True), (1e-9, True), (1e-3, False), (np.nan, False), (np.inf, False)])
def test_an_output_of_zeros_is_held_to_its_tolerance(got: float, agrees: bool) -> None:
    """Nothing is a share of a greatest magnitude of 0."""
    a = _trace(_changed("y", lambda m, t: 0 * m))
    b = _trace(_changed("y", lambda m, t: np.full_like(m, got)))
    (one,) = diverged(a, b, used=lambda name, e, a: float(np.abs(e - a).max()) / 1e-4).outputs
    assert (one.agrees, one.of_zeros) == (agrees, 0 < got < 1)


def test_an_output_that_is_a_constant_is_held_to_the_others() -> None:
    a, b = (replace(_trace(outputs=("y", "k")), constants={"k": np.full(9, number, np.float32)}) for number in (1, 2))
    assert diverged(a, a).hints == ()
    found = diverged(a, b)
    assert [(one.b, one.agrees) for one in found.outputs] == [("y", True), ("k", False)]
    assert found.hints == ("the output 'k' is no op's result",)


def test_numbers_that_are_none_are_a_fault_and_are_counted() -> None:
    def broken(r: np.ndarray) -> np.ndarray:
        out = np.exp(r) / np.exp(r).sum(-1, keepdims=True)
        out[0, 0, :3] = np.nan
        return out

    found = diverged(_trace(), _trace(_changed("s", broken)))
    assert found.culprit is not None
    assert found.culprit.name == "op_s"
    assert "3 of 120 values become NaN or infinite here" in found.hints[0]


@pytest.mark.parametrize(
    ("axes", "told"), [((0, 2, 1), "axes 0 2 1"), ((2, 1, 0), "axes 2 1 0"), ((1, 0, 2), "axes 1 0 2")]
)
def test_a_value_is_known_in_any_order_of_its_axes(axes: tuple[int, ...], told: str) -> None:
    array = RANDOM.randn(3, 4, 5).astype(np.float32)
    found = pair(Value("a", 0, array), Value("b", 0, array.transpose(axes)))
    assert found is not None
    assert (found.how, found.error) == (told, 0.0)


def test_a_value_is_known_flattened_turned_and_flattened_and_times_a_factor() -> None:
    array = RANDOM.randn(2, 3, 4).astype(np.float32)
    a = Value("a", 0, array)
    assert pair(a, Value("b", 0, array.reshape(6, 4))).how == "reshaped"  # type: ignore[union-attr]
    assert pair(a, Value("b", 0, array.transpose(2, 0, 1).reshape(-1))).error == 0  # type: ignore[union-attr]
    found = pair(a, Value("b", 0, array.transpose(0, 2, 1) * np.float32(-4.343)), scaled=True)
    assert found is not None
    assert found.how == "axes 0 2 1, times -4.343"
    assert found.factor == pytest.approx(-4.343)


def test_what_cannot_tell_is_nobodys_partner() -> None:
    """Zeros, constants, integers and a handful of numbers are alike by chance."""
    held = {
        "zeros": np.zeros((4, 5), np.float32),
        "ones": np.ones((4, 5), np.float32),
        "sizes": np.arange(20),
        "few": RANDOM.randn(3).astype(np.float32),
        "lost": np.full((4, 5), np.nan, np.float32),
    }
    side = values(Trace("model", "test", (), (), (), held))
    assert partners(side, side) == {}


def test_values_of_equal_statistics_in_another_order_are_no_partners() -> None:
    array = RANDOM.randn(8, 9).astype(np.float32)
    mixed = RANDOM.permutation(array.reshape(-1)).reshape(8, 9)
    assert pair(Value("a", 0, array), Value("b", 0, mixed)) is None


def test_the_ops_that_amplify_rounding_most_are_named_in_order() -> None:
    a = _trace()
    b = replace(
        a, values={n: v + (n == "r") * 0.01 + (n in "sm") * 0.05 + (n == "y") * 0.06 for n, v in a.values.items()}
    )
    names = [one.op.name for one in amplifiers(grown(a, b))]
    assert names[0] == "op_s"
    assert len(names) <= 3


def test_the_limits_tell_rounding_to_float16_from_a_fault() -> None:
    rounded = replace(_trace(), values={n: v.astype(np.float16) for n, v in _trace().values.items()})
    assert diverged(_trace(), rounded).culprit is not None
    assert diverged(_trace(), rounded, limit=LIMITS["float16"]).culprit is None


def test_numbers_that_are_further_apart_than_float64_goes_differ_without_end() -> None:
    far = np.array([1e308, 1.0])
    assert difference(far, -far) == np.inf
