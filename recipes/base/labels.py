"""The classes that the models tell apart."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from recipes.base import files
from recipes.base.errors import UserError
from recipes.base.spec import LabelSet

# str.splitlines would also end a line at a form feed or U+2028, which stand within texts.
_LINE_END = re.compile(r"\r\n|\r|\n")
# A hundred times what the names of 527 classes take.
_MOST_BYTES = 2**22
_JSON_FORM = '["NAME", ...] or [{"index": 0, "mid": "MID", "name": "NAME"}, ...], mid if there is one'
_CSV_FORM = "index, mid (if there is one) and display_name or name"
_CSV_HEADERS = [sorted(["index", name, *mid]) for name in ("display_name", "name") for mid in ([], ["mid"])]


@dataclass(frozen=True)
class Label:
    """`index` is the place on the class axis, `mid` AudioSet's machine id; many names hold commas."""

    index: int
    mid: str
    name: str


def read(path: Path, classes: int) -> tuple[Label, ...]:
    """A user's labels, by index, from a file in UTF-8 of one of three forms, told apart by its suffix.

    .json: a list of names in order, or of rows {"index", "mid", "name"} as `convert recipe` writes them.
    .csv: a header and rows of index, mid and display_name or name, as AudioSet's `class_labels_indices.csv`.
    Any other: a name a line, in order.
    Rows may come in any order, and may lack the mid. Blank lines at the end of a text do not count.

    Raises UserError where the file cannot be read so, a name is missing or holds a control character, the n rows do
    not have each index from 0 to n - 1 once, or there are not `classes` of them.
    """
    try:
        text = files.content(path, _MOST_BYTES).decode("utf-8-sig").rstrip(" \t\r\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = len(_LINE_END.split(error.object[: error.start].decode("latin-1")))
        raise UserError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None
    form = {".json": _from_json, ".csv": _from_csv}.get(path.suffix.lower(), _from_lines)
    found = sorted(form(path, text), key=lambda label: label.index)
    for place, label in enumerate(found):
        if label.index != place:
            wrong = f"{place} is missing" if label.index > place else f"{label.index} stands twice"
            raise UserError(f"{path}: index {wrong}; number the {len(found)} rows from 0, each index once")
    if len(found) != classes:
        raise UserError(f"{path}: names {len(found)} classes and the checkpoint has {classes}; name each class once")
    return tuple(found)


def _from_lines(path: Path, text: str) -> Iterator[Label]:
    for index, line in enumerate(_LINE_END.split(text)):
        yield _label(f"{path}: line {index + 1}", index, "", line.strip(" \t"))


def _from_json(path: Path, text: str) -> Iterator[Label]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: is no JSON: {error}; write {_JSON_FORM}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, lists nested as deep
        raise UserError(f"{path}: is no list of labels; write {_JSON_FORM}") from None
    if not isinstance(rows, list) or not all(isinstance(row, str | dict) for row in rows):
        raise UserError(f"{path}: is no list of labels; write {_JSON_FORM}")
    for place, row in enumerate(rows):
        fields = {"index": place, "name": row} if isinstance(row, str) else row
        yield _label(f"{path}: entry [{place}]", fields.get("index"), fields.get("mid", ""), fields.get("name"))


def _from_csv(path: Path, text: str) -> Iterator[Label]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if sorted(rows.fieldnames or []) not in _CSV_HEADERS:
            raise UserError(f"{path}: line 1 must name the columns {_CSV_FORM}, with commas between")
        for row in rows:
            where = f"{path}: line {rows.line_num}"
            if None in row:
                raise UserError(f"{where}: has more fields than the header; put a name that holds commas in quotes")
            index = int(row["index"]) if re.fullmatch("[0-9]{1,9}", row["index"] or "") else None
            yield _label(where, index, row.get("mid", ""), row.get("display_name", row.get("name")))
    except csv.Error as error:
        raise UserError(f"{path}: line {rows.reader.line_num} is no CSV: {error}; check its quotes") from None


def _label(where: str, index: object, mid: object, name: object) -> Label:
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise UserError(f"{where}: the index is missing or no whole number; number the rows from 0")
    if not isinstance(mid, str):
        raise UserError(f"{where}: the mid must be text; leave it out where there is none")
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"{where}: the name is missing, empty or no text; every class needs one")
    for character in mid + name:
        if unicodedata.category(character) in ("Cc", "Cs"):  # control characters; halves of a surrogate pair
            code = f"U+{ord(character):04X}"
            raise UserError(f"{where}: holds the control character {code}; take it out, and save the file as UTF-8")
    return Label(index, mid, name.strip())


def numbered(classes: int) -> tuple[Label, ...]:
    """Stand-ins where nobody has said what the classes are."""
    return tuple(Label(index, "", f"class {index}") for index in range(classes))


@cache
def load(labels: LabelSet) -> tuple[Label, ...]:
    """All labels of a set, by index.

    audioset: the 527 classes of Gemmeke et al., "Audio Set: An ontology and human-labeled dataset for audio events",
    2017 (https://research.google.com/audioset/), in the order of its `class_labels_indices.csv`.
    esc50: Piczak, "ESC: Dataset for Environmental Sound Classification", 2015
    (https://github.com/karolpiczak/ESC-50), by `target` and with the names in `category` of its `esc50.csv`.
    urban8k: Salamon et al., "A Dataset and Taxonomy for Urban Sound Research", 2014
    (https://urbansounddataset.weebly.com/urbansound8k.html), by `classID` and with the names in `class`.
    speechcommands: the 35 words of version 2 of Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech
    Recognition", 2018 (https://arxiv.org/abs/1804.03209), sorted.
    """
    text = resources.files("recipes.base").joinpath(f"{labels}.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(Label(int(row["index"]), row.get("mid", ""), row["name"]) for row in rows)
