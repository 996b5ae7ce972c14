"""What is held to what, and what counts as reached."""

import pytest

from benchmarks.bars import BARS, FLOOR, Bar, judge
from benchmarks.tables import LOWERED, NAIVE, Clip, Row, Table

TEN = Clip(10)


def measured(naive: list[float], lowered: list[float], **given: float) -> Table:
    rows = {NAIVE: Row(naive, macs=4000), LOWERED: Row(lowered, {"melspec": given.get("error", 0.0)}, macs=2000)}
    return Table("PANN", TEN, 1, rows, load=0.0, others=[0.0] * len(naive), gemm=given.get("gemm"))


def verdict(bar: Bar, table: Table) -> str:
    (judged,) = judge([table], [bar])
    return judged.verdict


@pytest.mark.parametrize(("lowered", "said"), [(1.0, "aim met"), (1.25, "must met"), (2.0, "MISSED")])
def test_a_ratio_has_to_be_as_great(lowered: float, said: str) -> None:
    assert verdict(Bar("PANN", TEN, 1, NAIVE, must=2, aim=3), measured([3.0], [lowered])) == said


@pytest.mark.parametrize(("lowered", "said"), [(3.0, "aim met"), (4.0, "must met"), (5.0, "MISSED")])
def test_the_floor_is_the_lowered_graph_s_own_products_and_has_to_be_near(lowered: float, said: str) -> None:
    # 2,000 products at 1,000 a second.
    assert verdict(Bar("PANN", TEN, 1, FLOOR, must=2.2, aim=1.6), measured([9.0], [lowered], gemm=1000)) == said


@pytest.mark.parametrize(("error", "said"), [(1e-3, "aim met"), (3e-3, "MISSED"), (float("nan"), "MISSED")])
def test_an_error_has_to_be_as_small(error: float, said: str) -> None:
    bar = Bar("PANN", TEN, 1, "float64", must=2e-3, aim=2e-3, output="melspec")
    assert verdict(bar, measured([1.0], [1.0], error=error)) == said


@pytest.mark.parametrize(
    "bar",
    [
        Bar("mn04", TEN, 1, NAIVE, must=1, aim=1),
        Bar("PANN", Clip(60), 1, NAIVE, must=1, aim=1),
        Bar("PANN", TEN, 2, NAIVE, must=1, aim=1),
        Bar("PANN", TEN, 1, "librosa", must=1, aim=1),
        Bar("PANN", TEN, 1, FLOOR, must=1, aim=1),
    ],
    ids=["subject", "clip", "threads", "contender", "rate of a product"],
)
def test_what_was_not_measured_is_neither_met_nor_missed(bar: Bar) -> None:
    assert verdict(bar, measured([3.0], [1.0])) == "not measured"


def test_every_bar_aims_at_no_less_than_it_must() -> None:
    assert BARS
    assert all(bar.aim <= bar.must if bar.at_most else bar.aim >= bar.must for bar in BARS)
