"""Program files that a made folder holds, and what runs them would run: none but ours may be there."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from recipes.base import files
from recipes.base.errors import UserError

_MOST_BYTES = 2**26


def foreign_faults(folder: Path, known: Mapping[str, str]) -> Iterator[str]:
    """What of our own files, known by the SHA-256 of each, is missing or another."""
    for name, sha256 in known.items():
        try:
            found = hashlib.sha256(files.content(folder / name, _MOST_BYTES)).hexdigest()
        except (OSError, UserError):
            yield f"{name} is missing; make the folder again"
            continue
        if found != sha256:
            yield f"{name} is not that of this version of soundport; make the folder again"
