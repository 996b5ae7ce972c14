"""Inputs stand against each other by name, by type and shape, and never by a guess; axes of size 1 come and go."""

import numpy as np
import pytest

from recipes.base.errors import UserError
from validators.matching import Slots, adapted, aligned, slots, split
from validators.runners.runner import Port

Axes = tuple[str | int | None, ...]


def _port(name: str, *axes: str | int | None, dtype: str = "float32") -> Port:
    return Port(name, axes, dtype)


def _names(found: Slots) -> list[tuple[str, str]]:
    return [tuple("" if port is None else port.name for port in (slot.expected, slot.got)) for slot in found.slots]  # type: ignore[misc]


def test_names_come_first() -> None:
    ours = [_port("a", 1, 5), _port("b", 1, 5)]
    found = slots(ours, ours[::-1], {})
    assert _names(found) == [("a", "a"), ("b", "b")]
    assert found.notes == ()


def test_then_shapes_where_just_one_fits() -> None:
    ours = [_port("sound", "batch", "time"), _port("state", 2, "batch", 128)]
    theirs = [_port("memory", 2, 1, 128), _port("audio", 1, 576)]
    found = slots(ours, theirs, {})
    assert _names(found) == [("sound", "audio"), ("state", "memory")]
    assert found.notes[0] == "GOT's input 'audio' is fed what EXPECTED's 'sound' is, the only one that fits its shape"


def test_a_type_tells_as_well() -> None:
    ours = [_port("ids", "batch", "words", dtype="int64"), _port("mask", "batch", "words")]
    theirs = [_port("a", 1, 8), _port("b", 1, 8, dtype="int32")]
    assert _names(slots(ours, theirs, {})) == [("ids", "b"), ("mask", "a")]


def test_axes_of_one_are_left_aside_and_told() -> None:
    found = slots([_port("waveform", "batch", "samples")], [_port("x", 1, 1, None)], {})
    assert _names(found) == [("waveform", "x")]
    assert "is GOT's 'x' float32 [1, 1, ?] but for axes of 1" in found.notes[-1]


def test_what_is_ambiguous_stays_alone() -> None:
    ours, theirs = [_port("a", 1, 5), _port("b", 1, 5)], [_port("x", 1, 5), _port("y", 1, 5)]
    assert _names(slots(ours, theirs, {})) == [("a", ""), ("b", ""), ("", "x"), ("", "y")]
    # What is said of one tells the other.
    assert _names(slots(ours, theirs, {"a": "y"})) == [("a", "y"), ("b", "x")]


def test_a_map_stands_over_names() -> None:
    ours = [_port("a", 1, 5), _port("b", 1, 5)]
    assert _names(slots(ours, ours, {"a": "b", "b": "a"})) == [("a", "b"), ("b", "a")]
    with pytest.raises(UserError, match="GOT has an input 'a' of its own"):
        slots(ours[:1], ours, {"a": "b"})


def test_what_its_model_can_do_without_is_left_out() -> None:
    extra = Port("length", (1,), "int32", optional=True)
    assert _names(slots([_port("a", 1, 5)], [_port("a", 1, 5), extra], {})) == [("a", "a")]


@pytest.mark.parametrize("text", ["a", "a=", "=b", ""])
def test_a_map_of_one_name_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="as A_NAME=B_NAME"):
        split([text])


def test_a_name_is_mapped_once() -> None:
    assert split(["a=x", "b=y"]) == {"a": "x", "b": "y"}
    with pytest.raises(UserError, match="map each once"):
        split(["a=x", "b=x"])
    with pytest.raises(UserError, match="map each once"):
        split(["a=x", "a=y"])


@pytest.mark.parametrize(
    ("shape", "axes", "wanted"),
    [
        ((2, 5), ("batch", 5), (2, 5)),
        ((1, 16), (1, 1, None), (1, 1, 16)),
        ((1, 1, 16), ("batch", "samples"), (1, 16)),
        ((16,), (1, "samples"), (1, 16)),
        ((1, 64, 9), (1, 1, 64, None), (1, 1, 64, 9)),
        ((1, 64, 9, 1), (1, 64, None), (1, 64, 9)),
        ((1,), (), ()),
        ((), (1,), (1,)),
        ((1, 5), (1, 6), None),
        ((2, 5), (1, 5), None),
        ((5, 2), (2, 5), None),
    ],
)
def test_an_array_takes_the_shape_of_an_input(shape: tuple[int, ...], axes: Axes, wanted: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.float64).reshape(shape)
    found = adapted(array, Port("x", axes, "float32"))
    if wanted is None:
        assert found is None
    else:
        assert found is not None
        assert (found.shape, found.dtype) == (wanted, np.float32)
        assert found.reshape(-1).tolist() == array.reshape(-1).tolist()


def test_a_batch_goes_row_by_row_where_somebody_runs_it_so() -> None:
    port = Port("x", (1, 5), "float32")
    found = adapted(np.zeros((3, 5)), port, rows=True)
    assert found is not None
    assert found.shape == (3, 5)


def test_bounds_and_listed_shapes_are_kept() -> None:
    bounded = Port("x", (1, None), "float32", bounds=((1, 1), (8, 16)))
    assert adapted(np.zeros((1, 16)), bounded) is not None
    assert adapted(np.zeros((1, 17)), bounded) is None
    listed = Port("x", (1, None), "float32", bounds=((1, 1), (8, 16)), shapes=((1, 8), (1, 16)))
    assert adapted(np.zeros((1, 9)), listed) is None


def test_fixed_axes_stand_against_fixed_ones() -> None:
    assert aligned([(1, 1), (64, 64), (1, None)], [(1, 1), (1, 1), (64, 64), (1, None)]) in (
        [(0, 0), (None, 1), (1, 2), (2, 3)],
        [(None, 0), (0, 1), (1, 2), (2, 3)],
    )
    assert aligned([(3, 3)], [(4, 4)]) is None
    assert aligned([], []) == []


def test_of_very_many_names_alone_tell() -> None:
    """Each of one side against each of the other would take hours."""
    ours, theirs = ([_port(f"{side}{place}", 1, place) for place in range(5000)] for side in "ab")
    found = slots([*ours, _port("same", 1)], [*theirs, _port("same", 1)], {})
    assert sum(not slot.alone for slot in found.slots) == 1
