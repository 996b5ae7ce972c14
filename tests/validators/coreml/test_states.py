"""Stateful models, through the same steps as coremltools' `make_state` and `predict(.., state=..)`."""

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.program import StateTensorPlaceholder

from validators.coreml import CoreMLModel, StateError

X = np.array([1.0, 2.0, 3.0], np.float16)


@pytest.fixture
def accumulator(make_model):
    """memory += x; returns the new memory, and the old one."""

    def build(memory, x):
        before = mb.read_state(input=memory)
        after = mb.coreml_update_state(state=memory, value=mb.add(x=before, y=x))
        return mb.mul(x=after, y=np.float16(1)), mb.mul(x=before, y=np.float16(1))

    state = StateTensorPlaceholder(sym_shape=(3,), dtype=types.fp16, name="memory")
    return CoreMLModel(make_model(build, {"memory": state, "x": X}, "iOS18"))


def test_a_state_starts_at_zero_and_outlives_a_prediction(accumulator):
    state = accumulator.make_state()
    after, before = accumulator.predict({"x": X}, state=state)
    totals = [accumulator.predict({"x": X}, state=state)[after] for _ in range(2)]
    np.testing.assert_array_equal(totals, [X * 2, X * 3])
    np.testing.assert_array_equal(state.read_state("memory"), X * 3)
    np.testing.assert_array_equal(accumulator.predict({"x": X}, state=state)[before], X * 3)


def test_states_are_independent(accumulator):
    first, second = accumulator.make_state(), accumulator.make_state()
    accumulator.predict({"x": X}, state=first)
    np.testing.assert_array_equal(second.read_state("memory"), X * 0)


def test_a_state_is_written_and_rounded_to_its_type(accumulator):
    state = accumulator.make_state()
    state.write_state("memory", np.array([1.0001, 2.0, 70000.0], np.float32))
    value = state.read_state("memory")
    assert value.dtype == np.float16
    np.testing.assert_array_equal(value, [1.0, 2.0, np.inf])


def test_what_is_read_does_not_follow_the_state(accumulator):
    state = accumulator.make_state()
    before = state.read_state("memory")
    accumulator.predict({"x": X}, state=state)
    np.testing.assert_array_equal(before, X * 0)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda model, state: model.predict({"x": X}), "pass state=model.make_state"),
        (lambda model, state: model.predict([{"x": X}], state=state), "not with a batch"),
        (lambda model, state: state.read_state("other"), "no state 'other'; the model has memory"),
        (lambda model, state: state.write_state("memory", np.zeros(4)), r"has shape \(3,\), got \(4,\)"),
    ],
)
def test_misuse_is_named(accumulator, act, message):
    with pytest.raises(StateError, match=message):
        act(accumulator, accumulator.make_state())


def test_a_model_without_states_takes_none(make_model, accumulator):
    plain = CoreMLModel(make_model(lambda x: mb.relu(x=x), {"x": X}))
    with pytest.raises(StateError, match="belongs to another model"):
        plain.predict({"x": X}, state=accumulator.make_state())
