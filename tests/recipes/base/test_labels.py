import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recipes.base import config, labels
from recipes.base.errors import UserError


@pytest.fixture(scope="module")
def published() -> str:
    """The bytes of AudioSet's class_labels_indices.csv, https://research.google.com/audioset/download.html."""
    rows = [f'{label.index},{label.mid},"{label.name}"\n' for label in labels.load("audioset")]
    return "".join(["index,mid,display_name\n", *rows])


def test_audioset_is_the_published_table(published: str) -> None:
    digest = hashlib.sha256(published.encode()).hexdigest()
    assert digest == "cdd1049833c4b86127c2773ac0d14a2754b6a6d0d1798002ed5c66e699708429"


def test_audioset() -> None:
    audioset = labels.load("audioset")
    assert [label.index for label in audioset] == list(range(527))
    assert len({label.mid for label in audioset}) == 527
    assert len({label.name for label in audioset}) == 527
    assert audioset[0] == labels.Label(0, "/m/09x0r", "Speech")
    assert audioset[1].name == "Male speech, man speaking"
    assert audioset[384].name == "Typing"


@pytest.mark.parametrize(
    ("name", "classes", "some"),
    [
        ("esc50", 50, {0: "dog", 9: "crow", 10: "rain", 20: "crying_baby", 30: "door_wood_knock", 49: "hand_saw"}),
        ("urban8k", 10, {0: "air_conditioner", 3: "dog_bark", 5: "engine_idling", 9: "street_music"}),
        ("speechcommands", 35, {0: "backward", 8: "follow", 18: "no", 34: "zero"}),
    ],
)
def test_other_sets(name: Any, classes: int, some: dict[int, str]) -> None:
    found = labels.load(name)
    assert [label.index for label in found] == list(range(classes))
    assert len({label.name for label in found}) == classes
    assert {index: found[index].name for index in some} == some
    assert not any(label.mid for label in found)


def test_the_words_of_speech_commands_are_sorted() -> None:
    """As the trainer numbers their folders."""
    names = [label.name for label in labels.load("speechcommands")]
    assert names == sorted(names)


WITH_LABELS = [variant for variant in config.variants() if variant.labels]


@pytest.mark.parametrize("variant", WITH_LABELS, ids=lambda variant: variant.name)
def test_every_variant_has_a_label_per_class(variant: config.Variant) -> None:
    assert len(labels.load(variant.labels)) == variant.classes


def read(folder: Path, name: str, content: str | bytes, classes: int = 3) -> tuple[labels.Label, ...]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return labels.read(path, classes)


THREE = (labels.Label(0, "", "knock"), labels.Label(1, "", "ring, ring"), labels.Label(2, "", "silence"))
WITH_MIDS = tuple(labels.Label(label.index, f"/m/{label.index}", label.name) for label in THREE)
ROWS = [{"index": label.index, "mid": label.mid, "name": label.name} for label in WITH_MIDS]
SHUFFLED = [ROWS[2], ROWS[0], ROWS[1]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("three.txt", "knock\nring, ring\nsilence\n"),
        ("three.txt", "knock\nring, ring\nsilence"),
        ("three", "knock \r\n\tring, ring\r\nsilence\r\n"),
        ("three.txt", "knock\rring, ring\rsilence\r"),
        ("three.txt", "knock\nring, ring\nsilence\n\n  \r\n\t\n"),
        ("three.txt", "\ufeffknock\nring, ring\nsilence\n"),
        ("three.json", '["knock", "ring, ring", "silence"]'),
        ("three.json", '\ufeff["knock", "ring, ring", "silence"]\n'),
        (
            "three.json",
            '[{"index": 2, "name": "silence"}, {"index": 0, "name": "knock"}, {"index": 1, "name": "ring, ring"}]',
        ),
        ("three.csv", 'index,name\n0,knock\n1,"ring, ring"\n2,silence\n'),
        ("three.csv", '\ufeffdisplay_name,index\r\nsilence,2\r\nknock,0\r\n"ring, ring",1\r\n\r\n'),
    ],
)
def test_read_names_alone(tmp_path: Path, name: str, content: str) -> None:
    assert read(tmp_path, name, content) == THREE


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.json", json.dumps(ROWS)),
        ("labels.JSON", json.dumps(SHUFFLED, indent=1)),
        ("labels.csv", 'index,mid,display_name\n2,/m/2,"silence"\n1,/m/1,"ring, ring"\n0,/m/0,"knock"\n'),
        ("labels.CSV", 'index,mid,name\r0,/m/0,knock\r1,/m/1,"ring, ring"\r2,/m/2,silence\r'),
    ],
)
def test_read_puts_rows_in_the_order_of_their_index(tmp_path: Path, name: str, content: str) -> None:
    assert read(tmp_path, name, content) == WITH_MIDS


def test_read_takes_the_published_table(published: str, tmp_path: Path) -> None:
    (tmp_path / "class_labels_indices.csv").write_text(published)
    assert labels.read(tmp_path / "class_labels_indices.csv", 527) == labels.load("audioset")


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x1c", "\x85"])
def test_read_ends_no_line_within_a_name(tmp_path: Path, character: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"line 1: holds the control character U+{ord(character):04X}")):
        read(tmp_path, "labels.txt", f"kn{character}ock\nring\nsilence\n")


def test_read_keeps_names_of_any_script_and_names_that_stand_twice(tmp_path: Path) -> None:
    names = ["s\u2028t", "犬", "犬"]
    assert [label.name for label in read(tmp_path, "labels.txt", "\n".join(names))] == names
    assert [label.name for label in read(tmp_path, "labels.json", json.dumps(names))] == names


def rows_but(place: int, **fields: object) -> str:
    return json.dumps([*ROWS[:place], ROWS[place] | fields, *ROWS[place + 1 :]])


def rows_without(place: int, key: str) -> str:
    return json.dumps([{k: v for k, v in row.items() if (i, k) != (place, key)} for i, row in enumerate(ROWS)])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "knock\n", ": names 1 classes and the checkpoint has 3"),
        ("a.txt", "knock\n\nsilence\n", ": line 2: the name is missing, empty"),
        ("a.txt", "\nknock\nsilence\n", ": line 1: the name is missing, empty"),
        ("a.txt", "", ": line 1: the name is missing, empty"),
        ("a.txt", "knock\nring\tring\nsilence\n", ": line 2: holds the control character U+0009"),
        ("a.txt", "knock\nring\nsil\0ence\n", ": line 3: holds the control character U+0000"),
        ("a.txt", "knock\nring\nsil\x1bence\n", ": line 3: holds the control character U+001B"),
        ("a.txt", "knock\nring\nsilence\n".encode("utf-16"), ": line 1 is not UTF-8; save the file as UTF-8"),
        ("a.txt", "knock\nring\nsilence\n".encode("utf-16-le"), "save the file as UTF-8"),
        ("a.txt", "knock\r\nring\r\nsilencé\r\n".encode("latin-1"), ": line 3 is not UTF-8; save the file as UTF-8"),
        ("a.txt", b"\xef\xbb\xbfknock\r\xff\r", ": line 2 is not UTF-8; save the file as UTF-8"),
        ("a.txt", b"\xef\xbb", ": line 1 is not UTF-8; save the file as UTF-8"),
        ("a.json", '["knock",\n"é"]'.encode("latin-1"), ": line 2 is not UTF-8; save the file as UTF-8"),
        ("a.json", "[" * 100_000, ": is no list of labels"),
        ("a.json", "[" * 100_000 + "]" * 100_000, ": is no list of labels"),
        ("a.json", '{"":' * 100_000, ": is no list of labels"),
        ("a.json", "[" + "1" * 5000 + "]", ": is no list of labels"),
        ("a.json", '["knock",\n}', ": is no JSON: Expecting value: line 2"),
        ("a.json", "", ": is no JSON"),
        ("a.json", '{"0": "knock"}', ": is no list of labels"),
        ("a.json", '"abc"', ": is no list of labels"),
        ("a.json", '["knock", "ring", 3]', ": is no list of labels"),
        ("a.json", "[]", ": names 0 classes and the checkpoint has 3"),
        ("a.json", '["knock", "ring", ""]', ": entry [2]: the name is missing, empty"),
        ("a.json", '["knock", "ring", "\\u001b"]', ": entry [2]: holds the control character U+001B"),
        ("a.json", '["knock", "ring", "\\ud800"]', ": entry [2]: holds the control character U+D800"),
        ("a.json", rows_but(1, name=None), ": entry [1]: the name is missing, empty or no text"),
        ("a.json", rows_but(1, name=7), ": entry [1]: the name is missing, empty or no text"),
        ("a.json", rows_but(1, name=["a"]), ": entry [1]: the name is missing, empty or no text"),
        ("a.json", rows_without(1, "name"), ": entry [1]: the name is missing, empty or no text"),
        ("a.json", rows_but(2, mid=None), ": entry [2]: the mid must be text"),
        ("a.json", rows_but(2, mid=4), ": entry [2]: the mid must be text"),
        ("a.json", rows_but(2, mid="\n"), ": entry [2]: holds the control character U+000A"),
        ("a.json", rows_without(2, "index"), ": entry [2]: the index is missing or no whole number"),
        ("a.json", rows_but(1, index=True), ": entry [1]: the index is missing or no whole number"),
        ("a.json", rows_but(1, index=1.0), ": entry [1]: the index is missing or no whole number"),
        ("a.json", rows_but(1, index="1"), ": entry [1]: the index is missing or no whole number"),
        ("a.json", rows_but(1, index=-1), ": entry [1]: the index is missing or no whole number"),
        ("a.json", rows_but(2, index=1), ": index 1 stands twice"),
        ("a.json", rows_but(0, index=2), ": index 0 is missing"),
        ("a.json", rows_but(1, index=3), ": index 1 is missing"),
        ("a.json", rows_but(2, index=10**4000), ": index 2 is missing"),
        ("a.csv", "", ": line 1 must name the columns index, mid (if there is one) and display_name or name"),
        ("a.csv", "knock\nring\nsilence\n", ": line 1 must name the columns"),
        ("a.csv", "index;name\n0;knock\n", ": line 1 must name the columns"),
        ("a.csv", "index,mid\n0,/m/0\n", ": line 1 must name the columns"),
        ("a.csv", "index,name,display_name\n0,a,b\n", ": line 1 must name the columns"),
        ("a.csv", "index,name,name\n0,a,b\n", ": line 1 must name the columns"),
        ("a.csv", "0,/m/0,knock\n", ": line 1 must name the columns"),
        ("a.csv", "index,name\n0,knock\n1,ring, ring\n2,silence\n", ": line 3: has more fields than the header"),
        ("a.csv", "index,name\n0,knock\n1\n2,silence\n", ": line 3: the name is missing"),
        ("a.csv", "index,name\n0,knock\n1,\n2,silence\n", ": line 3: the name is missing"),
        ("a.csv", "name,index\nknock,0\nring\n", ": line 3: the index is missing or no whole number"),
        ("a.csv", "index,name\n0,knock\nx,ring\n", ": line 3: the index is missing or no whole number"),
        ("a.csv", "index,name\n0,knock\n²,ring\n", ": line 3: the index is missing or no whole number"),
        ("a.csv", "index,name\n" + "1" * 5000 + ",knock\n", ": line 2: the index is missing or no whole number"),
        ("a.csv", "index,name\n0,knock\n1,ring\n1,silence\n", ": index 1 stands twice"),
        ("a.csv", "index,name\n1,knock\n2,ring\n3,silence\n", ": index 0 is missing"),
        ("a.csv", "index,name\n0,knock\n", ": names 1 classes and the checkpoint has 3"),
        ("a.csv", 'index,name\n0,"knock\n1,ring\n2,silence\n', ": line 4 is no CSV"),
        ("a.csv", 'index,name\n0,"kn\nock"\n1,ring\n2,silence\n', ": line 3: holds the control character U+000A"),
        ("a.csv", "index,name\n0," + "k" * 200_000 + "\n", ": line 2 is no CSV: field larger"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_read_says_what_is_wrong_and_where(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, name, content)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_read_says_that_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.txt: cannot be read: No such file"):
        labels.read(tmp_path / "none.txt", 3)


PARTS = [b"index,name\n", b'"index":', b'"mid":', b'"name":', b"null", b"0", b"1", b"-", b'"', b",", b":"]
PARTS += [b"[", b"]", b"{", b"}", b"\\", b"\n", b"\r", b"\t", b" ", b"\0", b"\xff"]


@pytest.mark.parametrize("suffix", [".txt", ".json", ".csv"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.binary() | st.text().map(str.encode) | st.lists(st.sampled_from(PARTS)).map(b"".join),
    classes=st.integers(1, 3),
)
def test_read_gives_labels_or_one_error_for_any_bytes(
    tmp_path: Path, suffix: str, content: bytes, classes: int
) -> None:
    try:
        found = read(tmp_path, f"any{suffix}", content, classes)
    except UserError:
        return
    assert [label.index for label in found] == list(range(classes))
    assert all(label.name.strip() and label.name.encode() for label in found)
