"""The document and the JSON say what was measured, and nothing else."""

import json

import pytest

from benchmarks.command import Ran
from benchmarks.files import File
from benchmarks.machine import Machine
from benchmarks.report import markdown
from benchmarks.results import Results
from benchmarks.subject import NOT_LOWERED, Settings
from benchmarks.tables import GEMM, LOWERED, NAIVE, Clip, Table, table
from benchmarks.timing import Rounds
from benchmarks.worker import Cost

TEN = Clip(10)


def measured(subject: str, threads: int, others: float = 0.0) -> Table:
    seconds = {NAIVE: [0.020, 0.021, 0.022], LOWERED: [0.010, 0.010, 0.011], GEMM: [0.001, 0.001, 0.001]}
    return table(
        *(subject, TEN, threads, Rounds(seconds, [0.0, others, 0.0]), 0.5),
        errors={LOWERED: {"melspec": 2e-5}},
        macs={NAIVE: 2_000_000, LOWERED: 1_000_000},
        gemm_macs=100_000,
        notes=["tract: refused"],
    )


@pytest.fixture
def results() -> Results:
    return Results(
        Machine("A processor", 2, "Linux", {"torch": "2.13"}),
        Settings(rounds=3),
        tables=[measured("PANN front end", count) for count in (1, 2)],
        rewrites=[
            table(
                "PANN",
                TEN,
                1,
                Rounds({NOT_LOWERED: [0.02], "fold-norms": [0.016], "merge-pools": [0.01]}, [0.0]),
                0.5,
            )
        ],
        files=[File("PANN", LOWERED, 23_500_000, {"10 s": 40_000_000})],
        commands=[Ran("`convert --help`", 0.21, 0.2)],
        workers=[Cost("start: a fork", 0.03), Cost("run: PANN", 0.0112, 0.0103)],
    )


def test_figures_stand_in_their_rows(results: Results) -> None:
    lines = markdown(results).splitlines()
    assert "| naive | 21.0 ± 0.50 (1.00 x) |" in lines
    assert "| lowered | 10.0 ± 0.25 (2.00 x) |" in lines
    assert "| lowered | 2.0e-05 |" in lines
    # 1,000,000 products at 100,000 in a millisecond.
    assert "| lowered | 1 | 1.00 x | 1.00 x |" in lines
    assert "| + merge-pools | 10.0 | 1.60 x | - |  |" in lines
    assert "| PANN | lowered | 23.50 | 40 |" in lines
    assert "| `convert --help` | 0.21 | 0.20 |" in lines
    assert "| start: a fork | 30.0 |  |  |" in lines
    assert "| run: PANN | 11.2 | 10.3 | 0.90 |" in lines
    assert "NOT MEASURED: tract: refused" in lines
    assert any(line.startswith("| PANN front end, 10 s, 1 thread, against naive | 3.50 x") for line in lines)


def test_a_disturbed_round_is_said(results: Results) -> None:
    assert "0 of 3 rounds disturbed" in markdown(results)
    results.tables[0] = measured("PANN front end", 1, others=0.4)
    said = markdown(results)
    assert "others used 0.40 cores at most; 1 of 3 rounds disturbed" in said


def test_what_was_not_measured_has_no_heading(results: Results) -> None:
    results.files, results.commands, results.rewrites = [], [], []
    said = markdown(results)
    assert not any(word in said for word in ("Files", "The command", "Each rewrite"))


def test_of_a_run_of_some_the_bars_of_those_are_shown(results: Results) -> None:
    """What one of them should have and has not is still said."""
    assert {"PANN front end", "PANN", "mn04"} <= {one.bar.subject for one in results.judged()}
    results.whole = False
    judged = results.judged()
    assert {one.bar.subject for one in judged} == {"PANN front end"}
    assert "not measured" in {one.verdict for one in judged}


def test_the_json_holds_every_round_and_every_bar(results: Results) -> None:
    read = json.loads(results.to_json())
    assert read["tables"][0]["rows"][LOWERED]["seconds"] == [0.010, 0.010, 0.011]
    assert {"MISSED", "not measured"} <= {bar["verdict"] for bar in read["bars"]}


def test_charts_are_made_of_what_there_is(results: Results) -> None:
    assert set(results.charts()) == {"speed.svg", "front_end.svg"}
    assert "2.0 x" in results.charts()["speed.svg"]
    results.tables = []
    assert results.charts() == {}
