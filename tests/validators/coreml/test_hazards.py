"""The float16 report: each kind on a package that shows it, and the front end of a real one."""

from typing import Any

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

from validators.coreml import InputError
from validators.coreml.hazards import Hazard, hazards
from validators.values import Case

ONES = np.ones((1, 4), np.float16)


def case(name: str, **inputs: Any) -> Case:
    return Case(name, {key: np.asarray(value, np.float32) for key, value in inputs.items()}, {})


def kinds(found: list[Hazard]) -> list[tuple[str, str, str, str]]:
    return [(hazard.op, hazard.operand, hazard.case, hazard.kind) for hazard in found]


@pytest.fixture(scope="module")
def square(make_model):
    return make_model(lambda x: mb.mul(x=x, y=x, name="y"), {"x": ONES})


def test_an_overflow_is_seen_where_it_happens(square):
    (found,) = hazards(square, [case("loud", x=[[1, 2, 3, 256]]), case("soft", x=[[1, 2, 3, 255]])])
    assert (found.op, found.op_type, found.case, found.kind, found.figure) == ("y", "mul", "loud", "overflow", 65536)
    assert found.advice


def test_the_largest_number_is_no_overflow(make_model):
    model = make_model(lambda x: mb.relu(x=x, name="y"), {"x": ONES})
    assert hazards(model, [case("edge", x=[[65504, 0, 1, 1]])]) == []


def test_infinity_in_float32_too(make_model):
    model = make_model(lambda x: mb.log(x=x, epsilon=0.0, name="y"), {"x": ONES})
    (found,) = hazards(model, [case("silence", x=[[0, 1, 1, 1]])])
    assert (found.kind, found.figure) == ("overflow", np.inf)


def test_what_vanishes_and_what_survives_imprecisely(square):
    """2**-16 is a subnormal without loss, 1.3 * 2**-23 one that loses a sixth, 2**-26 zero; the fourth is fine."""
    roots = np.sqrt([2.0**-16, 1.3 * 2.0**-23, 2.0**-26, 1.0])
    found = {hazard.kind: hazard.figure for hazard in hazards(square, [case("soft", x=[roots])])}
    assert found == {"vanishes": 0.75, "imprecise": 0.25}


def test_not_a_number(make_model):
    model = make_model(lambda x: mb.log(x=x, name="y"), {"x": ONES})
    (found,) = hazards(model, [case("negative", x=[[-1, 1, 1, 1]])])
    assert (found.kind, found.figure) == ("overflow", np.inf)


def test_zeros_do_not_vanish(square):
    assert hazards(square, [case("silence", x=[[0, 0, 0, 0]])]) == []


def test_the_stated_share_decides_what_is_imprecise(square):
    """(1 + 2**-6)**2 lies 2**-12 beyond what float16 holds."""
    rounded = case("c", x=[[1 + 2**-6, 1 + 2**-6, 1, 1]])
    assert hazards(square, [rounded]) == []
    (found,) = hazards(square, [rounded], loss=2.0**-13)
    assert (found.kind, found.figure) == ("imprecise", 0.5)


def test_a_share_below_the_least_is_left_out(square):
    tiny = case("c", x=[[1e-3, 1, 1, 1]])
    assert ("y", "", "c", "vanishes") in kinds(hazards(square, [tiny], least=0.25))
    assert hazards(square, [tiny], least=0.26) == []


def test_constants_are_reported_once(make_model):
    def build(x):
        return mb.clip(x=x, alpha=np.float16(6e-8), beta=np.float16(np.inf), name="y")

    found = hazards(make_model(build, {"x": ONES}), [case("a", x=ONES), case("b", x=ONES)])
    assert kinds(found) == [("y", "alpha", "a", "vanishes")]


def test_float32_ops_are_none_of_its_business(make_model):
    model = make_model(lambda x: mb.mul(x=x, y=x), {"x": ONES.astype(np.float32)})
    assert hazards(model, [case("loud", x=[[1e4, 1e-6, 1, 1]])]) == []


def test_ops_that_move_values_repeat_nothing(make_model):
    model = make_model(lambda x: mb.transpose(x=mb.mul(x=x, y=x, name="y"), perm=[1, 0]), {"x": ONES})
    assert kinds(hazards(model, [case("loud", x=[[999, 1, 1, 1]])])) == [("y", "", "loud", "overflow")]


def test_rows_of_a_batch_run_one_by_one(square):
    (found,) = hazards(square, [case("batch", x=[[1, 1, 1, 1], [300, 1, 1, 1], [400, 1, 1, 1]])])
    assert found.figure == 160000


def test_cases_that_do_not_fit(square):
    fitting, other = case("fits", x=[[999, 1, 1, 1]]), case("other", x=[[1, 1, 1]])
    assert [hazard.case for hazard in hazards(square, [other, fitting])] == ["fits"]
    with pytest.raises(InputError, match=r"takes none of the cases; it takes x \(1, 4\)"):
        hazards(square, [other])
    with pytest.raises(InputError, match="takes none of the cases"):
        hazards(square, [case("of another input", waveform=[[1, 1, 1, 1]])])


@pytest.fixture(scope="module")
def of_pann(synthetic_pann, pann):
    """Hazards of the synthetic model by precision, on a second of silence and of a full-scale square wave."""
    from exporters.coreml.convert import convert
    from exporters.lowering import lower

    time = np.arange(32000) / 32000
    wave = np.where(np.sin(2 * np.pi * 440 * time) >= 0, 1.0, -1.0)
    cases = [case("silence", waveform=np.zeros((1, 32000))), case("square", waveform=wave[None])]
    return lambda precision: hazards(convert(lower(synthetic_pann, pann), pann, precision=precision).model, cases)


def test_a_float16_front_end_overflows_and_loses_its_floor(of_pann):
    found = {(hazard.op_type, hazard.operand, hazard.case, hazard.kind) for hazard in of_pann("fp16")}
    assert ("mul", "", "square", "overflow") in found
    assert ("clip", "", "silence", "vanishes") in found
    assert ("clip", "alpha", "silence", "vanishes") in found


def test_a_mixed_front_end_does_not(of_pann):
    found = of_pann("mixed")
    assert not [hazard for hazard in found if hazard.kind == "overflow"]
    assert not {"pow", "clip", "log", "linear"} & {hazard.op_type for hazard in found}
