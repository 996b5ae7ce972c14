"""How contenders take turns, what is repeated, and what their figures become."""

from collections.abc import Callable, Iterator

import pytest

from benchmarks.timing import measure, ratio, spread


class Others:
    """A watch that tells of one round after another what others used."""

    def __init__(self, used: Iterator[float | None]) -> None:
        self.used = used

    def __call__(self) -> "Others":
        return self

    def others(self) -> float | None:
        return next(self.used)


def called(names: list[str]) -> dict[str, Callable[[], object]]:
    """Contenders that note when they are called."""
    return {name: (lambda name=name: names.append(name)) for name in ("a", "b", "c")}


def quickly(names: list[str], *used: float | None, rounds: int) -> object:
    return measure(called(names), rounds, watch=Others(iter(used)), rest=0, least=0)


def test_rounds_go_forwards_and_backwards_in_turn() -> None:
    names: list[str] = []
    quickly(names, 0.0, 0.0, 0.0, rounds=3)
    assert "".join(names[-9:]) == "abc" + "cba" + "abc"


def test_a_disturbed_round_is_taken_again() -> None:
    done = quickly([], 0.0, 0.9, 0.0, 0.05, rounds=3)
    assert (done.others, done.disturbed) == ([0.0, 0.0, 0.05], 0)
    assert {len(seconds) for seconds in done.seconds.values()} == {3}


def test_where_it_never_gets_quiet_the_least_disturbed_rounds_count_and_say_so() -> None:
    done = quickly([], 0.9, 0.5, 0.0, 0.7, rounds=2)
    assert (done.others, done.disturbed) == ([0.5, 0.0], 1)


def test_what_the_system_does_not_tell_is_no_disturbance() -> None:
    done = quickly([], None, None, rounds=2)
    assert (done.others, done.disturbed) == ([None, None], 0)


def test_short_calls_are_repeated_and_long_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    took = {"short": 0.001, "long": 1.0}
    counts = dict.fromkeys(took, 0)

    def call(name: str) -> None:
        nonlocal now
        now += took[name]
        counts[name] += 1

    monkeypatch.setattr("benchmarks.timing.time.perf_counter", lambda: now)
    contenders = {name: (lambda name=name: call(name)) for name in took}
    done = measure(contenders, 1, watch=Others(iter([0.0])), rest=0, least=0.1)
    # Each was called once and timed three times before.
    assert counts["short"] - 4 == pytest.approx(100, abs=1)
    assert counts["long"] - 4 == 1
    assert done.seconds["short"] == [pytest.approx(0.001)]
    assert done.seconds["long"] == [pytest.approx(1.0)]


def test_a_spread_is_the_median_and_the_quartiles() -> None:
    shown = spread([5, 1, 4, 2, 3])
    assert (shown.low, shown.median, shown.high) == (2, 3, 4)
    assert spread([7]).median == 7


def test_a_ratio_is_taken_round_by_round() -> None:
    """Drift that hits both alike leaves it as it is; the ratio of two medians would be 2 / 3."""
    assert ratio([2, 4, 60], [1, 2, 30]).median == 2
    assert ratio([1, 100, 2], [1, 10, 3]).median == 1
