"""A folder or a file that appears whole or not at all, and never in the place of somebody's work."""

import ctypes
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convert import manifest as manifests
from convert import signals
from convert.manifest import MANIFEST, FileEntry
from recipes.base import files
from recipes.base.errors import UserError

_NEW, _OLD = "new", "old"
# Of renameat2 (https://man7.org/linux/man-pages/man2/rename.2.html) and of macOS's renamex_np: the two change places.
_EXCHANGE = 2
_CURRENT_FOLDER = -100
_MOUNTS = Path("/proc/self/mountinfo")


def check_target(target: Path) -> None:
    """UserError when writing to `target` would destroy something that this command did not make, or cannot be done."""
    if target.is_symlink():
        raise UserError(f"{target}: is a link, which is not replaced; choose the folder that it leads to with -o")
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target}: is {files.kind(target.stat().st_mode) or 'a file'}; choose a folder with -o")
    if Path.cwd().is_relative_to(target.resolve()):
        raise UserError(f"{target}: the current folder cannot be replaced; choose one inside or beside it with -o")
    if _is_mounted(target):
        raise UserError(f"{target}: is a mount point, which cannot be replaced; choose a folder inside it with -o")
    if foreign := _foreign(target):
        raise UserError(
            f"{target}: holds {foreign}, which this command did not make; choose another folder with -o, or empty it"
        )


def _is_mounted(folder: Path) -> bool:
    """A folder that is mounted from the same disk tells so only in the system's list, as the fifth word of a line."""
    if os.path.ismount(folder):
        return True
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return False
    place = str(folder.resolve()).replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")
    return any(line.split(" ", 5)[4] == place for line in lines)


def _foreign(folder: Path) -> str | None:
    """A file that an earlier run did not make. A file called manifest.json proves nothing: many tools write one."""
    try:
        made = {MANIFEST, *manifests.read(folder).files}
    except UserError:
        made = set()
    return next((name for name, _ in entries(folder) if name not in made), None)


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A temporary folder beside it to write into; it becomes `target` on success and is removed on any error."""
    check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _beside(target) as place:
        (place / _NEW).mkdir()
        yield place / _NEW
        # Minutes may have passed, in which somebody has put something there.
        check_target(target)
        _swap(place / _NEW, target, place / _OLD)


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A temporary file beside it to write; it becomes `target` on success and is removed on any error.

    What a link leads to is written and the link stays; a device or a pipe is written into, once all is there.
    """
    check_file(target)
    if target.exists() and _is_written_into(target):
        with tempfile.TemporaryDirectory() as folder:
            partial = Path(folder) / target.name
            yield partial
            with partial.open("rb") as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
        return
    place = target.resolve()
    with _beside(place) as folder_beside:
        yield folder_beside / place.name
        (folder_beside / place.name).replace(place)


def check_file(target: Path, *sources: Path) -> None:
    """UserError where a file cannot be written to `target`, or would replace a source or lie in the folder that is one.

    One that is added to a made folder is no part of it, and the next check would say so.
    """
    if not target.parent.is_dir():
        raise UserError(f"{target}: there is no folder {target.parent}; make it, or choose another")
    if target.is_dir():
        raise UserError(f"{target}: is a folder; give the name of a file")
    if target.is_symlink() and not target.exists():
        raise UserError(f"{target}: is a link that leads nowhere; choose the name of a file")
    place = target.resolve()
    if not (target.exists() and _is_written_into(target)) and not os.access(place.parent, os.W_OK):
        raise UserError(
            f"{target}: nothing can be written to {place.parent}; choose another folder, or change its rights"
        )
    for source in sources:
        # By what they are, since a disk may know one name in two spellings.
        if target.is_file() and source.exists() and place.samefile(source):
            raise UserError(f"{target}: is what is read, and would be replaced; choose another name")
        if source.is_dir() and any(folder.is_dir() and folder.samefile(source) for folder in place.parents):
            raise UserError(f"{target}: lies in the folder that is read, {source}; choose a place outside of it")


def _is_written_into(target: Path) -> bool:
    """Of /dev/stdout the system says what it leads to, which is somebody else's file, and half written."""
    return not target.is_file() or target.absolute().is_relative_to("/dev") or target.is_relative_to("/proc")


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A hidden folder beside the target, on the same disk; it is removed at the end, whatever that is."""
    _remove_abandoned(target)
    place: Path | None = None
    lock: int | None = None
    try:
        # Before it is locked another run may take it for abandoned.
        while lock is None:
            # One that is there and has no name here yet would be left behind.
            with signals.held():
                place = _hidden(target)
            lock = _locked(place)
        assert place is not None
        yield place
    finally:
        with signals.held():
            if place is not None:
                _clear(place, target)
            if lock is not None:
                os.close(lock)


def _hidden(target: Path) -> Path:
    """A new folder beside the target. Raises OSError, of the target: nobody has asked for another."""
    try:
        return Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"


def _locked(folder: Path) -> int | None:
    """Marks the folder as this process's for as long as it lives; None where it is another's, or gone.

    The system lets go of such a lock when the process ends, however it ends; of a process by its number nobody can
    tell whether it is still the same, or on another machine.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == folder.stat().st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        # This disk knows no locks.
        return handle
    os.close(handle)
    return None


def _remove_abandoned(target: Path) -> None:
    """What runs that were killed have left beside the target."""
    for place in target.parent.iterdir():
        if not place.name.startswith(_prefix(target)) or place.is_symlink() or not place.is_dir():
            continue
        with suppress(OSError):
            handle = os.open(place, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with signals.held():
                    _clear(place, target)
            finally:
                os.close(handle)


def _clear(place: Path, target: Path) -> None:
    """Removes the hidden folder; the old one in it first goes back where nothing has replaced it."""
    if (place / _OLD).is_dir() and not target.exists():
        try:
            (place / _OLD).rename(target)
        except OSError:
            # The next run tries again.
            return
    shutil.rmtree(place, ignore_errors=True)


def _swap(new: Path, target: Path, old: Path) -> None:
    """Puts the new folder in the old one's place, which ends beside the new one's.

    Where that takes two renames and the second one fails, `_clear` takes back the first.
    """
    with signals.held():
        if not target.exists():
            new.rename(target)
        elif not _exchanged(new, target):
            target.rename(old)
            new.rename(target)


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the two have changed places, at once; False where the system or the disk cannot do that."""
    system = ctypes.CDLL(None)
    names = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    if sys.platform == "darwin":
        return bool(system.renamex_np(*names, _EXCHANGE) == 0)
    if not hasattr(system, "renameat2"):
        return False
    return bool(system.renameat2(_CURRENT_FOLDER, names[0], _CURRENT_FOLDER, names[1], _EXCHANGE) == 0)


def entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """Everything below the folder that is no folder, links among it, by POSIX path; no link is followed.

    Raises OSError for a folder that cannot be looked into, which may hold anything.
    """
    for place, folders, names in os.walk(folder, onerror=_fail):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*names, *links):
            path = Path(place) / name
            yield path.relative_to(folder).as_posix(), path


def _fail(error: OSError) -> None:
    raise error


def listing(folder: Path) -> dict[str, FileEntry]:
    """Size and SHA-256 of every file below the folder but its manifest, by POSIX path."""
    return {name: entry_of(path) for name, path in sorted(entries(folder)) if name != MANIFEST}


def entry_of(path: Path) -> FileEntry:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        return FileEntry(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
