"""All that one run measured, as JSON, and what its charts show of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from benchmarks.bars import Judged, judge
from benchmarks.charts import Group, chart
from benchmarks.command import Ran
from benchmarks.files import File
from benchmarks.machine import Machine
from benchmarks.subject import Settings
from benchmarks.tables import LOWERED, NAIVE, Clip, Table
from benchmarks.worker import Cost

_SHOWN = Clip(10)


@dataclass
class Results:
    """`tables` hold all that was measured in turn; `rewrites` the graphs with one rewrite more each.

    `whole` is a run of every subject on every clip, which has every bar; any other has those of its tables.
    """

    machine: Machine
    settings: Settings
    whole: bool = True
    tables: list[Table] = field(default_factory=list)
    rewrites: list[Table] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    commands: list[Ran] = field(default_factory=list)
    workers: list[Cost] = field(default_factory=list)

    def judged(self) -> list[Judged]:
        taken = {(table.subject, table.clip, table.threads) for table in self.tables}
        judged = judge(self.tables)
        return [one for one in judged if self.whole or (one.bar.subject, one.bar.clip, one.bar.threads) in taken]

    def to_json(self) -> str:
        judged = [{**asdict(one.bar), "measured": one.measured, "verdict": one.verdict} for one in self.judged()]
        return json.dumps({**asdict(self), "bars": judged}, indent=1) + "\n"

    def charts(self) -> dict[str, str]:
        """SVG by file name; only those that there are figures for."""
        found = {"speed.svg": self._speed(), "front_end.svg": self._front_end()}
        return {name: svg for name, svg in found.items() if svg}

    def _speed(self) -> str:
        shown = [table for table in self.tables if table.clip == _SHOWN and {NAIVE, LOWERED} <= table.rows.keys()]
        counts = sorted({table.threads for table in shown})
        groups = []
        for subject in dict.fromkeys(table.subject for table in shown):
            own = {table.threads: table.ratio(NAIVE, LOWERED).median for table in shown if table.subject == subject}
            values = [own.get(count) for count in counts]
            groups.append(Group(subject, values, [f"{value:.1f} x" if value else "" for value in values]))
        if not groups:
            return ""
        title = "How many times as fast as the naive export, 10 s of sound"
        return chart(title, [_threads(count) for count in counts], groups, mark=1)

    def _front_end(self) -> str:
        tables = [table for table in self.tables if table.subject == "PANN front end" and table.clip == _SHOWN]
        if not tables:
            return ""
        names = sorted(tables[0].rows, key=lambda name: -tables[0].rows[name].spread.median)
        groups = []
        for name in names:
            values = [1000 * table.rows[name].spread.median for table in tables]
            groups.append(Group(name, values, [f"{value:.1f} ms" for value in values]))
        return chart(
            "Log-mel spectrogram of 10 s of sound at 32 kHz: milliseconds",
            [_threads(table.threads) for table in tables],
            groups,
        )


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"
