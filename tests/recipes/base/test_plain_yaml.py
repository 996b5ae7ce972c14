import argparse
import pathlib
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.base.errors import UserError
from recipes.base.plain_yaml import read, text_of

GOOD = """\
name: PANN
on: true
sizes: [527, 1.5]
source:
  file: some.pth
  md5:
"""


def complaint(text: str, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(text, "some.yaml", **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_gives_plain_values_and_the_line_of_each() -> None:
    data, lines = read(GOOD, "some.yaml")
    assert data == {
        "name": "PANN",
        "on": True,
        "sizes": [527, 1.5],
        "source": {"file": "some.pth", "md5": None},
    }
    assert lines == {
        (): 1,
        ("name",): 1,
        ("on",): 2,
        ("sizes",): 3,
        ("sizes", 0): 3,
        ("sizes", 1): 3,
        ("source",): 4,
        ("source", "file"): 5,
        ("source", "md5"): 6,
    }


# Each edit of the good text: what is replaced, by what, and what the complaint says besides the line of the edit.
BAD_TEXTS = {
    "key twice": ("on:", "name:", "the key 'name' stands twice"),
    "key twice deep down": ("  md5:", "  file:", "the key 'file' stands twice"),
    "key that is a list": ("on:", "[a, b]: c\non:", "a key must be a plain name"),
    "key that is a date": ("on:", "2020-12-05:", "a key must be a plain name"),
    "key with a tag": ("on:", "!!python/name:os.system on:", "a key must be a plain name"),
    "merge key": ("on:", "<<: {a: false}\non:", "a key must be a plain name"),
    "python object": (
        "name: PANN",
        "name: !!python/object/apply:os.system [true]",
        "'python/object/apply:os.system', which is not allowed",
    ),
    "python name": ("name: PANN", "name: !!python/name:os.system", "'python/name:os.system'"),
    "python tuple": ("sizes: [", "sizes: !!python/tuple [", "'python/tuple'"),
    "own tag": ("name: PANN", "name: !name PANN", "'!name', which is not allowed"),
    "tag that the value belies": ("[527", "[!!int many", "'many' is not what its tag says"),
    "tag of a number on nothing": ("[527", '[!!int ""', "'' is not what its tag says"),
    "tag of a number on an underscore": ("[527", "[!!float _", "'_' is not what its tag says"),
    "scalar tagged as mapping": ("on: true", "on: !!map true", "'true' is not what its tag says"),
    "date": ("name: PANN", "name: 2020-12-05", "is read as 'timestamp'"),
    "no date either": ("name: PANN", "name: 2020-13-45", "is read as 'timestamp'"),
    "number that Python refuses": ("[527", f"[{'9' * 5000}", "is not what its tag says"),
    "alias": ("name: PANN", "name: *name", "aliases are not allowed"),
    "nesting": ("name: PANN", f"name: {'[' * 300}{']' * 300}", "nested over"),
    "bottomless nesting": ("name: PANN", f"name: {'[' * 60_000}", "nested over"),
    "length": ("name: PANN", f"name: {'x' * 70_000}", "is over 65536 bytes long"),
    "unbalanced bracket": ("1.5]", "1.5", "not valid YAML"),
    "null character": ("name: PANN", "name: \0PANN", "not valid YAML"),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_refuses_and_says_where(case: str) -> None:
    old, new, expected = BAD_TEXTS[case]
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    start = time.perf_counter()
    message = complaint(text)
    assert time.perf_counter() - start < 2
    assert message.startswith("some.yaml: ")
    assert expected in message
    if case in ("null character", "length"):
        return  # PyYAML's reader knows the position in the file alone, and a length is of no line.
    first = text[: text.index(new)].count("\n") + 1
    around = range(first, first + new.count("\n") + 2)
    assert {int(line) for line in re.findall(r"\bline (\d+)", message)} & set(around), message


def test_few_lines_that_stand_for_billions_are_refused_at_once() -> None:
    rows = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    assert "line 2: aliases are not allowed" in complaint("\n".join(rows))


@pytest.mark.parametrize("text", ["", "\n", "# nothing but a comment\n"])
def test_an_empty_text_is_refused(text: str) -> None:
    assert complaint(text) == "some.yaml: the file is empty"


def test_two_documents_are_refused() -> None:
    assert "expected a single document" in complaint(GOOD + "---\n" + GOOD)


NAMESPACE = "python/object:argparse.Namespace"
PATH = "python/object/apply:pathlib.PosixPath"
TAGS: dict[str, type[yaml.Node]] = {NAMESPACE: yaml.MappingNode, PATH: yaml.SequenceNode}
OWN: dict[str, type[yaml.Node]] = {"!own": yaml.ScalarNode, "!other": yaml.MappingNode}


def dumped(**arguments: object) -> str:
    return yaml.dump(argparse.Namespace(**arguments))


def test_tags_that_are_named_are_taken_as_what_they_are_written_as() -> None:
    text = dumped(emb_dim=128, log_dir=pathlib.PosixPath("/runs/a"))
    assert f"!!{NAMESPACE}" in text
    assert read(text, "args.yml", TAGS)[0] == {"emb_dim": 128, "log_dir": ["/", "runs", "a"]}
    assert read("a: !own 12\nb: !other {c: [1]}\n", "some.yaml", OWN)[0] == {"a": "12", "b": {"c": [1]}}


def test_any_other_tag_is_refused_by_name_and_line() -> None:
    text = dumped(emb_dim=128, log_dir=pathlib.PosixPath("/runs/a"))
    assert f"line 1: is read as '{NAMESPACE}'" in complaint(text)
    assert f"line 3: is read as '{PATH}'" in complaint(text, tags_as_data={NAMESPACE: yaml.MappingNode})
    assert f"is read as '{NAMESPACE}'" in complaint(f"a: !!{NAMESPACE} b\n", tags_as_data=TAGS)
    worse = text + "run: !!python/object/apply:os.system [touch /tmp/run]\n"
    assert "'python/object/apply:os.system', which is not allowed" in complaint(worse, tags_as_data=TAGS)


@pytest.mark.parametrize("value", ["!!python/tuple [1, 2]", "2020-12-05", "!own text"])
def test_what_to_do_about_a_tag_is_true_of_what_a_program_dumped_too(value: str) -> None:
    assert complaint(f"a: 1\nb: {value}\n").endswith(
        "nothing but plain values is read: take the key out, or write its value plainly, and text in quotes"
    )
    assert read("a: 1\n", "some.yaml")[0] == {"a": 1}
    assert read("b: [1, 2]\nc: '2020-12-05'\n", "some.yaml")[0] == {"b": [1, 2], "c": "2020-12-05"}


@pytest.mark.parametrize("text", ["a: 0x" + "f" * 5000 + "\n", "a: 18446744073709551616\n", 'a: "\\UFFFFFFFF"\n'])
def test_values_that_python_cannot_hold_or_print_are_refused(text: str) -> None:
    assert len(complaint(text)) < 400


def test_a_file_is_read_no_further_than_it_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "it.yml"
    path.write_text("é" * 100_000, encoding="utf-8")
    assert len(text_of(path)) < 40_000
    assert "is over 65536 bytes long" in complaint(text_of(path))
    path.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\n")
    assert text_of(path) == "a: é\n"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(UserError, match=r"it\.yml: line 2 is not UTF-8"):
        text_of(path)
    with pytest.raises(UserError, match="there is no such file"):
        text_of(tmp_path / "nowhere.yml")


PARTS = [*"a1[]{},!|#~%é\"' \n\0", ": ", "- ", "? ", "!!", "&x ", "*x", "\\U", "---", "0x", "null", "<<", NAMESPACE]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PARTS)).map("".join) | st.text())
def test_any_text_gives_plain_data_or_one_error(text: str) -> None:
    try:
        data, _ = read(text, "it.yml", TAGS)
    except UserError:
        return
    assert plain(data)


def plain(data: object) -> bool:
    if isinstance(data, dict):
        return all(type(key) is str and plain(value) for key, value in data.items())
    return all(map(plain, data)) if isinstance(data, list) else type(data) in (bool, int, float, str, type(None))
