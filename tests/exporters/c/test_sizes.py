"""Sizes as polynomials of the length."""

import pytest

from exporters.c.sizes import Size, Sizes

N = Size.named("n")


def test_the_same_size_is_equal_however_it_came_about() -> None:
    assert (N + 2) * 3 - 6 == N * 3
    assert Size.of(0) == N * N - N * N
    assert (N + 1) * (N - 1) == N * N - 1


def test_a_size_in_c() -> None:
    assert Size.of(7).text() == "7"
    assert Size.of(0).text() == "0"
    assert (N * 3).text() == "3 * n"
    assert (N * 3 + 4).text() == "(3 * n + 4)"
    # What is taken away comes last: these are numbers without a sign.
    assert (Size.of(5) - N).text() == "(5 - n)"
    assert (N - 1).text() == "(n - 1)"


def test_an_exact_quotient() -> None:
    assert (N * 12 + 24).exactly(Size.of(12)) == N + 2
    assert (N * N * 6).exactly(N * 2) == N * 3
    assert (N * 3).exactly(Size.of(2)) is None
    assert (N + 1).exactly(N) is None
    assert (N + 1).exactly(N + 1) == Size.of(1)


@pytest.mark.parametrize("length", [1, 5, 16, 99, 320])
def test_a_floor_is_computed_ahead_and_named_once(length: int) -> None:
    sizes = Sizes({"n": length}, {})
    frames = sizes.floor(N + 9, 4, "frames")
    assert sizes.value(frames) == (length + 9) // 4
    assert sizes.floor(N + 9, 4, "others") == frames
    # The same division, with a rest or with greater numbers.
    assert sizes.floor(N + 13, 4, "others") == frames + 1
    assert sizes.floor(N * 2 + 18, 8, "others") == frames
    assert list(sizes.floors) == ["frames"]
    assert sizes.value(sizes.floor(frames, 3, "frames")) == (length + 9) // 4 // 3
    assert list(sizes.floors) == ["frames", "frames_2"]


@pytest.mark.parametrize("length", [420, 575, 576, 577, 1000, 12345])
def test_a_floor_of_a_floor_is_one_of_what_was_divided_first(length: int) -> None:
    sizes = Sizes({"n": length}, {})
    frames = sizes.floor(N - 400, 160, "frames") + 1
    # Rows of 16, and windows of 25 rows, 10 apart.
    rows = sizes.floor(N - 16, 16, "rows") + 1
    assert sizes.floor(rows - 25, 10, "others") + 1 == frames
    assert sizes.value(frames) == (length - 400) // 160 + 1
    # Of what is divided otherwise it is another.
    assert sizes.floor(rows - 24, 10, "others") + 1 != frames
    assert sizes.floor(rows * 2 - 50, 10, "others") + 1 != frames


def test_a_floor_that_needs_no_name() -> None:
    sizes = Sizes({"n": 5}, {})
    assert sizes.floor(N * 6 + 13, 6, "x") == N + 2
    assert sizes.floor(Size.of(17), 5, "x") == Size.of(3)
    assert sizes.floor(N, 1, "x") == N
    assert not sizes.floors
