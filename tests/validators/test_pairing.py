"""What stands against what: by name, by shape where only one fits, and never by a guess."""

import numpy as np
import pytest

from recipes.base.errors import UserError
from validators.compare import Sampled
from validators.dumps import Dump, Flat, Tensor, Tensors
from validators.pairing import Match, by_values, cases, pair, squeezed
from validators.pairing import match as match_dumps


def _array(*shape: int) -> Sampled:
    return Sampled.of(np.random.RandomState(4).randn(*shape).astype(np.float32))


def _flat(count: int) -> Flat:
    return Flat(np.arange(count, dtype=np.float32))


def match(expected: Tensors, got: Tensors, **kind: bool) -> Match:
    return match_dumps(Dump({"": expected}, **kind), Dump({"": got}, **kind), expected, got)


def test_names_come_first() -> None:
    tensors = {"a": _array(1, 5), "b": _array(1, 5)}
    assert match(tensors, dict(reversed(tensors.items()))) == Match({"a": "a", "b": "b"}, frozenset(), (), ())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (_array(1, 5), _array(1, 5)),
        (_array(1, 5), _flat(5)),
        (_flat(5), _array(1, 5)),
        (_flat(5), _flat(5)),
        (_array(1, 2, 3, 4), _array(1, 3, 4, 2)),
        (_array(1, 3, 4, 2), _array(1, 2, 3, 4)),
    ],
)
def test_then_the_shape(ours: Tensor, theirs: Tensor) -> None:
    matched = match({"kept": _array(7), "x": ours}, {"Identity": theirs, "kept": _array(7)})
    assert matched == Match({"kept": "kept", "x": "Identity"}, frozenset({"x"}), (), ())


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ({"a": _array(1, 5), "b": _array(1, 5)}, {"x": _array(1, 5), "y": _array(1, 5)}),
        ({"a": _array(1, 5), "b": _array(1, 5)}, {"x": _array(1, 5)}),
        ({"a": _array(1, 5)}, {"x": _array(1, 5), "y": _array(1, 5)}),
        ({"a": _array(1, 5), "b": _array(5)}, {"x": _flat(5)}),
        ({"a": _array(1, 5)}, {"x": _array(5, 1)}),
        ({"a": _array(1, 5)}, {"x": _array(5)}),
        ({"a": _array(1, 2, 3, 4)}, {"x": _array(1, 2, 4, 3)}),
        ({"a": _array(2, 3, 4)}, {"x": _array(3, 4, 2)}),
    ],
    ids=["two and two", "two and one", "one and two", "a count", "turned", "an axis less", "no NHWC", "three axes"],
)
def test_what_is_ambiguous_is_left_over(expected: dict[str, Tensor], got: dict[str, Tensor]) -> None:
    assert match(expected, got) == Match({}, frozenset(), tuple(expected), tuple(got))


def test_the_same_shape_goes_before_another_order_of_it() -> None:
    matched = match({"a": _array(1, 2, 3, 4)}, {"x": _array(1, 3, 4, 2), "y": _array(1, 2, 3, 4)})
    assert matched == Match({"a": "y"}, frozenset({"a"}), (), ("x",))


def test_a_simulator_may_add_axes() -> None:
    assert match({"a": _array(1, 5)}, {"x": _array(1, 1, 1, 5)}, simulator=True).names == {"a": "x"}
    assert match({"a": _array(1, 5)}, {"x": _array(1, 1, 1, 5)}).names == {}


def test_of_all_layers_names_alone_tell() -> None:
    expected, got = {"a": _array(1, 5), "b": _array(7)}, {"x": _array(1, 5), "b": _array(7)}
    assert match(expected, got, layers=True) == Match({"b": "b"}, frozenset(), ("a",), ("x",))
    outputs_only = match_dumps(Dump({"": expected}), Dump({"": got}, layers=True), expected, got)
    assert outputs_only.names == {"a": "x", "b": "b"}


def test_bare_numbers_take_the_other_sides_shape() -> None:
    shaped = _array(2, 3)
    assert pair(shaped, _flat(6)).actual.shape == (2, 3)
    assert not pair(shaped, _flat(6)).flat
    assert pair(_flat(6), shaped).expected.shape == (2, 3)
    assert pair(_flat(6), shaped).flat
    for other in (_flat(5), _flat(7)):
        assert pair(shaped, other).actual.shape == (len(other.values),)
        assert pair(other, shaped).expected.shape == (len(other.values),)


@pytest.mark.parametrize(("ours", "theirs"), [(1, 5), (5, 1), (3, 2), (4, 6), (7, 7)])
def test_samples_keep_what_they_have_in_common(ours: int, theirs: int) -> None:
    array = np.random.RandomState(5).randn(4, 25).astype(np.float32)
    found = pair(Sampled.of(array, ours), Sampled.of(array, theirs))
    assert found.expected.stride == np.lcm(ours, theirs)
    assert len(found.expected.values) == -(-100 // np.lcm(ours, theirs))
    np.testing.assert_array_equal(found.expected.values, found.expected.sampled(found.actual))
    assert found.whole == (theirs == 1)


def test_axes_of_one_are_put_aside_and_nothing_else() -> None:
    found = squeezed(pair(_array(1, 5, 2), _array(1, 1, 5, 2)))
    assert found is not None
    assert found.actual.shape == (1, 5, 2)
    assert squeezed(pair(_array(1, 5, 2), _array(1, 1, 2, 5))) is None
    assert squeezed(pair(_array(1, 5), _array(1, 5))) is None


RICH, ODD = {"a": _array(1)}, {"a": _array(2)}


def test_cases_of_the_same_names() -> None:
    expected, got = Dump({"rich": RICH, "odd": ODD}), Dump({"odd": ODD, "silence": RICH})
    assert cases(expected, got, None) == [("rich", RICH, None), ("odd", ODD, ODD), ("silence", None, RICH)]
    assert cases(expected, got, "odd") == [("odd", ODD, ODD)]


def test_a_single_case_needs_no_name() -> None:
    assert cases(Dump({"": RICH}), Dump({"": ODD}), None) == [("", RICH, ODD)]
    assert cases(Dump({"rich": RICH}), Dump({"": ODD}), None) == [("rich", RICH, ODD)]
    assert cases(Dump({"": RICH}), Dump({"rich": ODD}), None) == [("rich", RICH, ODD)]
    assert cases(Dump({"rich": RICH, "odd": ODD}), Dump({"": ODD}), "odd") == [("odd", ODD, ODD)]


def test_a_case_that_must_be_chosen() -> None:
    several, one = Dump({"rich": RICH, "odd": ODD}), Dump({"": RICH})
    with pytest.raises(
        UserError, match=r"GOT holds one case and does not say which, .* rich, odd; choose one with --case"
    ):
        cases(several, one, None)
    with pytest.raises(UserError, match="EXPECTED holds one case and does not say which"):
        cases(one, several, None)
    with pytest.raises(UserError, match="--case silence: EXPECTED has no such case; it has rich, odd"):
        cases(several, one, "silence")
    with pytest.raises(UserError, match="--case rich: GOT has no such case; it has odd"):
        cases(several, Dump({"odd": ODD}), "rich")


def test_values_that_two_arrays_are_near_tell_nothing() -> None:
    values = np.arange(6, dtype=np.float32)
    ours: Tensors = {"a": Sampled.of(values), "b": Sampled.of(-values)}
    twins: Tensors = {"x": Sampled.of(values), "y": Sampled.of(values), "z": Sampled.of(-values)}
    assert by_values([(match(ours, twins), ours, twins)]) == {"b": "z"}
    # What is no number in any case is near nothing.
    unknown: Tensors = {"x": Sampled.of(np.full(6, np.nan, np.float32)), "z": Sampled.of(-values)}
    alike: Tensors = {"x": Sampled.of(values), "z": Sampled.of(-values)}
    both = [(match(ours, theirs), ours, theirs) for theirs in (alike, unknown)]
    assert by_values(both) == {"b": "z"}


def test_of_very_many_no_values_tell() -> None:
    ours, theirs = ({f"{side}{place}": Sampled.of(np.full(4, place)) for place in range(300)} for side in "ab")
    assert by_values([(match(ours, theirs), ours, theirs)]) == {}
    few, others = ({name: tensors[name] for name in list(tensors)[:9]} for tensors in (ours, theirs))
    assert by_values([(match(few, others), few, others)]) == {f"a{place}": f"b{place}" for place in range(9)}
