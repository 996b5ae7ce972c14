"""A folder that appears whole or not at all."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convert import manifest as manifests
from convert.manifest import MANIFEST, FileEntry
from recipes.base.errors import UserError


def check_target(target: Path) -> None:
    """UserError when writing to `target` would destroy something that this command did not make."""
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target}: is a file; choose a folder with -o")
    if Path.cwd().is_relative_to(target.resolve()):
        raise UserError(f"{target}: the current folder cannot be replaced; choose one inside or beside it with -o")
    if foreign := _foreign(target):
        raise UserError(
            f"{target}: holds {foreign}, which this command did not make; choose another folder with -o, or empty it"
        )


def _foreign(folder: Path) -> str | None:
    """A file that an earlier run did not make. A file called manifest.json proves nothing: many tools write one."""
    try:
        made = {MANIFEST, *manifests.read(folder).files}
    except UserError:
        made = set()
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return next((name for name in files if name not in made), None)


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A temporary sibling to write into; it becomes `target` on success and is removed on any error."""
    check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        partial.chmod(0o777 & ~_umask())
        yield partial
        _swap(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _swap(new: Path, target: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent)) / target.name
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A temporary sibling file; it becomes `target` on success and is removed on any error."""
    if not target.parent.is_dir():
        raise UserError(f"{target}: there is no folder {target.parent}; make it, or choose another")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.partial-", dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        partial.chmod(0o666 & ~_umask())
        yield partial
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """What mkdtemp and mkstemp make is private; what is shipped gets the rights that any new file has."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def listing(folder: Path) -> dict[str, FileEntry]:
    """Size and SHA-256 of every file below the folder but its manifest, by POSIX path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): FileEntry(path.stat().st_size, _sha256(path))
        for path in files
        if path != folder / MANIFEST
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
