"""What is generated fits all that both models declare, is the same every time, and is never a guess of a meaning."""

import numpy as np
import pytest

from recipes.base.errors import UserError
from validators.feeds import NoFitError, completed, feed, generated, sound, sound_slot
from validators.matching import Slot, slots
from validators.runners.runner import Port


def _port(name: str, *axes: str | int | None, dtype: str = "float32") -> Port:
    return Port(name, axes, dtype)


def _slots(ours: list[Port], theirs: list[Port]) -> tuple[Slot, ...]:
    return slots(ours, theirs, {}).slots


def _shapes(ours: list[Port], theirs: list[Port]) -> list[list[tuple[int, ...]]]:
    feeds = generated(_slots(ours, theirs), rate=100)
    for one in feeds:
        for left, right in zip(one.expected.values(), one.got.values(), strict=True):
            assert left.reshape(-1).tolist() == right.reshape(-1).tolist()
    return [[value.shape for value in one.got.values()] for one in feeds]


def test_free_axes_have_two_sizes() -> None:
    sound = _port("x", "batch", "samples")
    assert _shapes([sound], [sound]) == [[(1, 100)], [(2, 63)]]
    frames = _port("x", None, None, 80)
    assert _shapes([frames], [frames]) == [[(1, 100, 80)], [(2, 151, 80)]]


def test_one_side_that_fixes_an_axis_fixes_both() -> None:
    assert _shapes([_port("x", "batch", "samples")], [_port("x", 1, 1, 40)]) == [[(1, 1, 40)], [(1, 1, 40)]]


def test_bounds_of_core_ml_hold() -> None:
    bounded = Port("x", (1, None), "float32", bounds=((1, 1), (120, 200)), usual=(1, 150))
    assert _shapes([_port("x", "batch", "samples")], [bounded]) == [[(1, 150)], [(1, 120)]]
    listed = Port("x", (1, None), "float32", bounds=((1, 1), (8, 16)), shapes=((1, 8), (1, 16)))
    assert _shapes([_port("x", "batch", "samples")], [listed]) == [[(1, 8)], [(1, 16)]]


def test_axes_of_one_name_have_one_size() -> None:
    ours = [_port("ids", "batch", "words", dtype="int64"), _port("mask", "batch", "words"), _port("h", 2, "batch", 7)]
    theirs = [_port("ids", "n", "t", dtype="int64"), _port("mask", "n", 20), _port("h", 2, "n", 7)]
    assert _shapes(ours, theirs) == [[(1, 20), (1, 20), (2, 1, 7)], [(2, 20), (2, 20), (2, 2, 7)]]


def test_sizes_that_exclude_each_other_are_told() -> None:
    ours = [_port("a", "batch", "time"), _port("b", "batch", "time")]
    with pytest.raises(UserError, match=r"no size fits axis 1 of .*\(5\) and axis 1 of .*\(6\)"):
        generated(_slots(ours, [_port("a", 1, 5), _port("b", 1, 6)]))
    with pytest.raises(UserError, match="take no shape in common; say which input is which with --map"):
        generated(_slots([_port("a", 1, 5)], [_port("a", 1, 6)]))


def test_whole_numbers_are_ones_that_any_table_has() -> None:
    ports = [_port("ids", 1, 32, dtype="int64"), _port("on", 1, 32, dtype="bool"), _port("count", dtype="int32")]
    for one in generated(_slots(ports, ports)):
        assert set(one.got["ids"].reshape(-1).tolist()) == {0, 1}
        assert [value.dtype for value in one.got.values()] == [np.int64, bool, np.int32]
        assert one.got["count"] == 1


def test_the_same_every_time_and_another_in_each_case_and_input() -> None:
    ports = [_port("a", 1, 300), _port("b", 1, 300), _port("c", 1, 5)]
    first, again = (generated(_slots(ports, ports)) for _ in range(2))
    arrays = [value for one in first for value in one.got.values()]
    for mine, other in zip(arrays, (value for one in again for value in one.got.values()), strict=True):
        assert np.array_equal(mine, other)
    assert len({array.tobytes() for array in arrays}) == len(arrays)
    assert all(np.isfinite(array).all() and array.any() for array in arrays)


def test_an_input_without_a_partner_is_not_guessed() -> None:
    found = _slots([_port("x", 1, 5), _port("sr", dtype="int64")], [_port("x", 1, 5)])
    with pytest.raises(UserError, match=r"input 'sr' int64 \[\] has no partner .*--map sr=NAME.*as the array 'sr'"):
        generated(found)
    one = completed(found, "mine", {"sr": np.array(16000)})
    assert (one.expected["sr"], list(one.got)) == (16000, ["x"])
    assert one.notes == ("mine does not hold x: generated",)


def test_one_model_alone_is_fed_all_that_it_takes() -> None:
    (first, _) = generated(_slots([], [_port("x", 1, 5), _port("n", dtype="int64")]))
    assert (list(first.expected), list(first.got)) == ([], ["x", "n"])


def test_a_given_size_binds_what_is_generated() -> None:
    ports = [_port("x", "batch", "samples"), _port("mask", "batch", "samples", dtype="bool")]
    one = completed(_slots(ports, ports), "mine", {"x": np.zeros((2, 77), np.float32)})
    assert one.got["mask"].shape == (2, 77)


def test_an_array_that_fits_no_input_is_told() -> None:
    with pytest.raises(NoFitError, match=r"mine: x has the shape \[1, 6\], and GOT takes float32 \[1, 5\]"):
        feed(_slots([_port("x", 1, None)], [_port("x", 1, 5)]), "mine", {"x": np.zeros((1, 6))})


def test_sound_goes_where_sound_can_go() -> None:
    state = _port("state", 2, 1, 128)
    audio = _port("audio", 1, 1, None)
    slot = sound_slot(_slots([_port("x", "batch", "time"), state], [audio, state]))
    assert slot.name == "x"
    array, said = sound(slot, np.zeros(900, np.float32), "a.wav")
    assert (array.shape, said) == ((1, 900), "")
    with pytest.raises(UserError, match="none takes it"):
        sound_slot(_slots([], [state]))
    with pytest.raises(UserError, match="several inputs may take it: a, b"):
        sound_slot(_slots([], [_port("a", 1, None), _port("b", 1, None)]))


def test_sound_is_cut_to_a_fixed_length_and_never_filled_up() -> None:
    (slot,) = _slots([_port("x", "batch", "time")], [_port("x", 1, 512)])
    array, said = sound(slot, np.arange(900, dtype=np.float32), "a.wav")
    assert (array.shape, said) == ((1, 512), "a.wav: used the first 512 of 900 samples")
    with pytest.raises(UserError, match=r"has 500 samples, and .* takes 512 or more"):
        sound(slot, np.zeros(500, np.float32), "a.wav")


def test_what_nobody_has_room_for_is_not_generated() -> None:
    for size in (2**20, 2**62):
        huge = _port("x", size, size)
        with pytest.raises(UserError, match=r"takes \d+x\d+ numbers, more than are generated; give smaller ones"):
            generated(_slots([huge], [huge]))
