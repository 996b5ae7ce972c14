"""Shows checks on the page of a CI: the verdict and the tables in GitHub's Markdown (https://github.github.com/gfm/)."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from recipes.base.shown import shown
from validators.report import COLUMNS, WORDS, faults, joined, verdict, worst_cases
from validators.results import Check

# What would be markup where it stands, and stays as it is elsewhere: `_` within a word, a colon that begins no address.
# Escaped it is nothing but itself: https://github.github.com/gfm/#backslash-escapes.
_MARKUP = re.compile(
    r"[\\`*\[\]<|~$#@]|(?<![^\W_])_|_(?![^\W_])|&(?=[#\w])|:(?=//)|(?<=www)\.|^[-+=>](?!\d)", re.IGNORECASE
)
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")


def write(checks: Sequence[Check], warnings: Sequence[str] = (), notes: Sequence[str] = ()) -> str:
    """The verdict, what did not pass, a table per artifact, runtime and precision, and what was assumed.

    Names and messages come out of files that strangers made: none of it is markup, a link or a line of its own.
    """
    parts = [f"### {escaped(verdict(checks))}"]
    if lines := [*_faults(checks), *(f"- {escaped(text)}" for text in warnings)]:
        parts.append("\n".join(lines))
    for key, worst in worst_cases(checks).items():
        rows = [{head: cell(check) for head, cell in COLUMNS.items()} for check in worst]
        parts.append(f"**{escaped(joined(key))}**\n\n{table(list(COLUMNS), rows)}")
    if notes:
        listed = "\n".join(f"- {escaped(note)}" for note in notes)
        parts.append(f"<details><summary>What was assumed</summary>\n\n{listed}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def _faults(checks: Sequence[Check]) -> Iterator[str]:
    for status, line in faults(checks, verbose=False):
        yield f"- **{status.upper()}** {escaped(line)}"


def table(heads: Sequence[str], rows: Sequence[Mapping[str, str]], words: Collection[str] = WORDS) -> str:
    """Rows by head; what is no word stands to the right."""
    aligned = [":--" if head in words else "--:" for head in heads]
    lines = [[escaped(head) for head in heads], aligned, *([escaped(row[head]) for head in heads] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """One line that is shown as it stands."""
    return _NUMBERED.sub(r"\1\\\2", _MARKUP.sub(r"\\\g<0>", shown(text).strip()))
