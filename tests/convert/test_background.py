"""Checks in the background: in order, under the limits of where they were asked for, and never waited for in vain."""

import threading

import pytest

from convert.background import in_background
from recipes.base import limits
from recipes.base.errors import UserError
from validators.results import Check


def _check(name: str) -> Check:
    return Check("file", "runtime", "fp32", name, "out", "values", "passed")


def test_results_are_those_of_what_was_submitted() -> None:
    with in_background() as submit:
        waiting = [submit(lambda name=name: [_check(name)]) for name in "abc"]
        assert [wait()[0].case for wait in waiting] == ["a", "b", "c"]


def test_the_block_goes_on_meanwhile() -> None:
    gate = threading.Event()

    def check() -> list[Check]:
        assert gate.wait(10)
        return []

    with in_background() as submit:
        wait = submit(check)
        gate.set()
        assert wait() == []


def test_the_time_limit_holds_there() -> None:
    with limits.time_limit(7), in_background() as submit:
        seconds: list[float] = []
        submit(lambda: seconds.append(limits.seconds()) or [])()
    assert seconds == [7]


def test_an_error_comes_where_the_checks_are_asked_for() -> None:
    def check() -> list[Check]:
        raise UserError("no")

    with in_background() as submit:
        wait = submit(check)
        with pytest.raises(UserError, match="no"):
            wait()


def test_an_interruption_waits_for_nothing() -> None:
    gate, begun = threading.Event(), threading.Event()

    def check() -> list[Check]:
        begun.set()
        gate.wait(10)
        return []

    def interrupted(later: list[str]) -> None:
        with in_background() as submit:
            submit(check)
            submit(lambda: later.append("ran") or [])
            assert begun.wait(10)
            raise KeyboardInterrupt

    later: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(later)
    assert not gate.is_set()
    gate.set()
    assert later == []
