"""Folders and files that appear whole or not at all, and never in the place of somebody's work."""

import errno
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from convert import folder, signals
from convert import manifest as manifests
from convert.folder import check_file, check_target, listing, replaced, written_whole
from recipes.base.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody can make another")
def test_an_error_names_what_the_user_named() -> None:
    with pytest.raises(OSError, match="'/proc/made'") as told, written_whole(Path("/proc/made")):
        pass
    assert told.value.filename == "/proc/made"


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


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["before the first", "after the first", "before the second"])
def test_the_old_folder_comes_back_if_the_new_one_cannot_be_put_there(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, step: str
) -> None:
    """Where the system cannot let two folders change places, and something comes between the two renames."""
    rename, steps = Path.rename, iter(("first", "second"))

    def fail(self: Path, target: Path) -> Path:
        number = next(steps, "a later one")
        if step == f"before the {number}":
            raise error
        renamed = rename(self, target)
        if step == f"after the {number}":
            raise error
        return renamed

    monkeypatch.setattr("convert.folder._exchanged", lambda *_: False)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(type(error)), written_whole(made) as partial:
        (partial / "new.txt").write_text("new")
    assert (made / "sub" / "old.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_two_renames_do_where_folders_cannot_change_places(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convert.folder._exchanged", lambda *_: False)
    with written_whole(made) as partial:
        (partial / "new.txt").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "new.txt"]


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_signal_comes_between_the_old_folder_and_the_new_one(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch, number: int, times: int, exchanges: bool
) -> None:
    """Before, between and after the renames, and while what is left is removed; once, or again amid the first."""

    def signalled(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            for _ in range(times):
                signal.raise_signal(number)
            done = function(*arguments, **named)
            for _ in range(times):
                signal.raise_signal(number)
            return done

        return call

    if not exchanges:
        monkeypatch.setattr("convert.folder._exchanged", lambda *_: False)
    monkeypatch.setattr(Path, "rename", signalled(Path.rename))
    monkeypatch.setattr("convert.folder._exchanged", signalled(folder._exchanged))
    monkeypatch.setattr("shutil.rmtree", signalled(shutil.rmtree))
    with signals.raised(), pytest.raises(KeyboardInterrupt), written_whole(made) as partial:
        (partial / "new.txt").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "new.txt"]


def test_the_old_folder_is_kept_where_it_cannot_be_put_back(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls = Path.rename, iter([True, False, False])

    def fail(self: Path, target: Path) -> Path:
        if next(calls):
            return rename(self, target)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("convert.folder._exchanged", lambda *_: False)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output"), written_whole(made):
        pass
    assert not made.exists()
    monkeypatch.setattr(Path, "rename", rename)
    with written_whole(tmp_path / "made") as partial:
        assert (made / "sub" / "old.txt").read_text() == "old"
        (partial / "new.txt").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "new.txt"]


def killed(code: str, folder: Path) -> None:
    """Runs Python that kills itself in the middle."""
    lines = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom convert.folder import *\nfrom convert import folder\n"
    )
    done = run([sys.executable, "-c", lines + code, folder], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


KILL = "os.kill(os.getpid(), signal.SIGKILL)"


def test_what_a_killed_run_left_is_removed_by_the_next_one(tmp_path: Path, made: Path) -> None:
    killed(f"with written_whole(Path(sys.argv[1])) as new:\n  (new / 'half').touch()\n  {KILL}", made)
    killed(f"with replaced(Path(sys.argv[1])) as new:\n  new.touch()\n  {KILL}", tmp_path / "out.xml")
    left = {path.name.partition(".partial-")[0] for path in tmp_path.iterdir()}
    assert left == {".made", ".out.xml", "made"}
    assert (made / "sub" / "old.txt").is_file()
    with written_whole(made) as partial:
        (partial / "new.txt").write_text("new")
    with replaced(tmp_path / "out.xml") as file:
        file.write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "out.xml"]


def test_a_run_that_was_killed_between_two_renames_gives_the_old_folder_back(tmp_path: Path, made: Path) -> None:
    second = f"rename = os.rename\nfolder.Path.rename = lambda a, b: {KILL} if a.name == 'new' else rename(a, b)\n"
    kill = f"folder._exchanged = lambda *_: False\n{second}"
    killed(f"{kill}with written_whole(Path(sys.argv[1])):\n  pass", made)
    assert not made.exists()
    check_target(made)
    with pytest.raises(ValueError, match="broken"), written_whole(made):
        raise ValueError("broken")
    assert (made / "sub" / "old.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_what_a_run_is_writing_is_no_others_to_remove(tmp_path: Path) -> None:
    with written_whole(tmp_path / "made") as partial:
        (partial / "first.txt").touch()
        with written_whole(tmp_path / "made") as other:
            (other / "second.txt").touch()
        assert (partial / "first.txt").is_file()
        assert [path.name for path in (tmp_path / "made").iterdir()] == ["second.txt"]
        manifest = tmp_path / "made" / "second.txt"
        manifest.unlink()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["first.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("leads", ["to a folder", "nowhere"])
def test_a_link_is_not_replaced_by_a_folder(tmp_path: Path, leads: str) -> None:
    if leads == "to a folder":
        (tmp_path / "there").mkdir()
    (tmp_path / "made").symlink_to(tmp_path / "there")
    with pytest.raises(UserError, match="is a link"):
        check_target(tmp_path / "made")


def test_mount_points_and_pipes_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="is a mount point"):
        check_target(Path("/dev/shm" if Path("/dev/shm").is_mount() else "/proc"))
    (tmp_path / "a b").mkdir()
    place = str(tmp_path / "a b").replace(" ", "\\040")
    (tmp_path / "mounts").write_text(f"36 35 98:0 /mnt1 {place} rw,noatime shared:1 - ext3 /dev/root rw\n")
    monkeypatch.setattr("convert.folder._MOUNTS", tmp_path / "mounts")
    with pytest.raises(UserError, match="is a mount point"):
        check_target(tmp_path / "a b")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is a named pipe; choose a folder"):
        check_target(tmp_path / "pipe")


def test_devices_and_pipes_are_written_into(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with replaced(tmp_path / "pipe") as partial:
        partial.write_text("all of it")
    assert os.read(reader, 100) == b"all of it"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    with replaced(Path("/dev/null")) as partial:
        partial.write_text("gone")
    with pytest.raises(OSError, match="No space left"), replaced(Path("/dev/full")) as partial:
        partial.write_text("too much")
    assert Path("/dev/null").is_char_device()
    assert Path("/dev/full").is_char_device()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("there.txt")
    with replaced(tmp_path / "link.txt") as partial:
        partial.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "there.txt").read_text() == "new"


def test_what_is_read_is_not_replaced(tmp_path: Path) -> None:
    source, within = tmp_path / "in.npz", tmp_path / "dumps" / "a.npz"
    within.parent.mkdir()
    for path in (source, within):
        path.touch()
    (tmp_path / "link.npz").symlink_to(source)
    for target in (source, tmp_path / "link.npz"):
        with pytest.raises(UserError, match="is what is read"):
            check_file(target, source)
    check_file(tmp_path / "out.npz", source, within.parent)
    with pytest.raises(UserError, match="is a folder"):
        check_file(within.parent)


def test_nothing_is_written_into_the_folder_that_is_read(tmp_path: Path) -> None:
    read = tmp_path / "read"
    (read / "deep").mkdir(parents=True)
    (read / "old.xml").touch()
    (tmp_path / "linked").symlink_to(read)
    (tmp_path / "link.xml").symlink_to(read / "old.xml")
    within = ("old.xml", "new.xml", "deep/new.xml", "deep/../new.xml")
    for target in (*(read / name for name in within), tmp_path / "linked" / "new.xml", tmp_path / "link.xml"):
        for source in (read, tmp_path / "linked"):
            with pytest.raises(UserError, match="lies in the folder that is read"):
                check_file(target, source)
    check_file(tmp_path / "read.xml", read)


def test_a_link_that_leads_nowhere_is_no_name_for_a_file(tmp_path: Path) -> None:
    for place in (tmp_path / "missing", tmp_path / "link.xml"):
        (tmp_path / "link.xml").unlink(missing_ok=True)
        (tmp_path / "link.xml").symlink_to(place)
        with pytest.raises(UserError, match="leads nowhere"):
            check_file(tmp_path / "link.xml")


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


def test_a_file_that_comes_while_the_new_ones_are_made_is_never_destroyed(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds notes\.txt"), written_whole(made):
        (made / "notes.txt").write_text("precious")
    assert (made / "notes.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_folder_that_cannot_be_looked_into_is_not_taken_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made" / "closed").mkdir(parents=True)
    scan = os.scandir

    def scan_or_refuse(place: Any) -> Any:
        if Path(place).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr("os.scandir", scan_or_refuse)
    with pytest.raises(PermissionError):
        check_target(tmp_path / "made")


def test_a_folder_that_cannot_be_locked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once; it is not tried without end."""

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("convert.folder.os.open", refuse)
        with pytest.raises(PermissionError), written_whole(tmp_path / "made"):
            pytest.fail("got as far as writing")


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


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.xml").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    for name in ("new.xml", "old.xml"):
        with pytest.raises(UserError, match="nothing can be written to"):
            check_file(tmp_path / name)
    # What is written into needs no new file beside it.
    check_file(Path("/dev/null"))


def test_a_signal_while_the_hidden_folder_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tempfile.mkdtemp

    def interrupted(**words: Any) -> str:
        folder = made(**words)
        signal.raise_signal(signal.SIGINT)
        return folder

    monkeypatch.setattr("tempfile.mkdtemp", interrupted)
    with signals.raised(), pytest.raises(KeyboardInterrupt), written_whole(tmp_path / "made"):
        pass
    assert list(tmp_path.iterdir()) == []
