"""Folders and files that appear whole or not at all, and never in the place of somebody's work."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convert import manifest as manifests
from convert.folder import check_target, listing, replaced, written_whole
from recipes.base.errors import UserError


def test_a_folder_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "made"
    with written_whole(target) as partial:
        (partial / "a.txt").write_text("a")
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["a.txt"]
    assert [path.name for path in target.parent.iterdir()] == ["made"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_nothing_is_left_after_an_error(tmp_path: Path, error: BaseException) -> None:
    def write() -> None:
        with written_whole(tmp_path / "made") as partial:
            (partial / "a.txt").write_text("a")
            raise error

    with pytest.raises(type(error)):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def made(made_pann: Any, tmp_path: Path) -> Path:
    """What an earlier run leaves, as far as it matters here."""
    folder = tmp_path / "made"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "old.txt").write_text("old")
    manifest = manifests.read(made_pann.path)
    manifests.write(replace(manifest, files=manifest.files | listing(folder)), folder)
    return folder


def test_what_an_earlier_run_made_is_replaced_whole(tmp_path: Path, made: Path) -> None:
    with written_whole(made) as partial:
        (partial / "new.txt").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "new.txt"]


def test_what_an_earlier_run_made_stays_if_this_one_fails(tmp_path: Path, made: Path) -> None:
    with pytest.raises(ValueError, match="broken"), written_whole(made):
        raise ValueError("broken")
    assert (made / "sub" / "old.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_the_old_folder_comes_back_if_the_new_one_cannot_be_put_there(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output"), written_whole(made) as partial:
        (partial / "new.txt").write_text("new")
    assert (made / "sub" / "old.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    check_target(tmp_path / "made")
    check_target(tmp_path / "nowhere")


def test_a_file_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("precious")
    with pytest.raises(UserError, match="is a file; choose a folder with -o"):
        check_target(tmp_path / "made")


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "precious"},
        {"deep/notes.txt": "precious"},
        {"manifest.json": '{"manifest_version": 3, "name": "a browser extension"}', "index.js": "precious"},
        {"manifest.json": "no JSON"},
    ],
    ids=["file", "deep file", "manifest of another tool", "damaged manifest"],
)
def test_foreign_files_are_never_destroyed(tmp_path: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (tmp_path / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made" / name).write_text(content)
    with pytest.raises(UserError, match="which this command did not make"), written_whole(tmp_path / "made"):
        pytest.fail("got as far as writing")
    assert {name: (tmp_path / "made" / name).read_text() for name in files} == files


def test_a_file_beside_the_made_ones_is_never_destroyed(made: Path) -> None:
    (made / "sub" / "notes.txt").write_text("precious")
    with pytest.raises(UserError, match=r"holds sub/notes\.txt, which this command did not make"):
        check_target(made)


@pytest.mark.parametrize("target", [".", "..", "../here"])
def test_the_current_folder_is_not_pulled_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    (tmp_path / "up" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "up" / "here")
    with pytest.raises(UserError, match="the current folder cannot be replaced"):
        check_target(Path(target))


def test_new_files_have_the_rights_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with written_whole(tmp_path / "made") as partial:
            (partial / "a.txt").write_text("a")
        with replaced(tmp_path / "b.txt") as file:
            file.write_text("b")
    finally:
        os.umask(before)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "b.txt").stat().st_mode & 0o777 == 0o640


def test_a_file_is_replaced_or_stays(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")

    def write() -> None:
        with replaced(target) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert target.read_text() == "old"
    with replaced(target) as partial:
        partial.write_text("new")
    assert target.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_the_listing_names_every_file_but_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "manifest.json").write_text("")
    (tmp_path / "manifest.json").write_text("")
    (tmp_path / "b.txt").write_text("abc")
    found = listing(tmp_path)
    assert list(found) == ["b.txt", "sub/manifest.json"]
    # The SHA-256 of "abc" is the example of FIPS 180-2.
    assert (found["b.txt"].size, found["b.txt"].sha256[:16]) == (3, "ba7816bf8f01cfea")
