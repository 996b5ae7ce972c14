"""Whose the cores were."""

import sys
import time

import pytest

from benchmarks.machine import Watch, busy, busy_seconds, threads


def test_waiting_is_no_work_and_what_the_host_takes_is() -> None:
    # user nice system idle iowait irq softirq steal guest guest_nice
    assert busy_seconds("cpu  100 20 30 4000 500 6 7 80 90 10", 100) == pytest.approx(2.43)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/stat")
def test_what_this_process_does_itself_is_not_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"wall": 0.0, "own": 0.0, "busy": 0.0}
    monkeypatch.setattr("benchmarks.machine.time.perf_counter", lambda: seconds["wall"])
    monkeypatch.setattr("benchmarks.machine.time.process_time", lambda: seconds["own"])
    monkeypatch.setattr("benchmarks.machine.busy", lambda: seconds["busy"])
    watch = Watch()
    seconds |= {"wall": 2.0, "own": 3.9, "busy": 3.9}
    assert watch.others() == pytest.approx(0)
    seconds["busy"] = 4.9
    assert watch.others() == pytest.approx(0.5)


def test_a_system_that_does_not_tell_is_not_called_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.machine.busy", lambda: None)
    assert Watch().others() is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/stat")
def test_the_machine_counts_what_is_done_on_it() -> None:
    before = busy()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    after = busy()
    assert before is not None
    assert after is not None
    assert after - before >= 0.1


def test_threads_are_as_before_afterwards() -> None:
    import torch

    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
