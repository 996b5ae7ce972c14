"""Published checkpoints and packages, fetched once into the user's cache and checked on every use."""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from recipes.base.errors import UserError
from recipes.base.spec import Source, Variant

CACHE_VARIABLE = "SOUNDPORT_CACHE"

# Called with (bytes so far, bytes in all).
Progress = Callable[[int, int], None]

# Seconds to connect, and seconds without a byte after that.
_TIMEOUTS = (10, 30)
_CHUNK_BYTES = 1 << 18


def cache_folder() -> Path:
    """Where checkpoints are kept: the folder in SOUNDPORT_CACHE, or the system's place for user caches."""
    if moved := os.environ.get(CACHE_VARIABLE):
        return Path(moved).expanduser().absolute()
    return platformdirs.user_cache_path("soundport", appauthor=False)


def cached(variant: Variant) -> Path | None:
    """The variant's published checkpoint, if the cache has it whole and as published."""
    if variant.source is None:
        return None
    place = _place(variant)
    return place if _is_whole(place, variant.source) else None


@dataclass(frozen=True)
class Wanted:
    """A file that is fetched where the cache has none: where it is kept, what it is to people, and how they help."""

    what: str
    source: Source
    place: Path
    by_hand: str
    instead: str = ""


def fetch(variant: Variant, progress: Progress | None = None) -> Path:
    """The variant's published checkpoint, from the cache or else from its address.

    The file appears in the cache whole and checked, or not at all. Raises UserError where there is no network, the
    server refuses, the content is not the published one, or the cache cannot be written.
    """
    wanted = Wanted(
        what=f"the checkpoint of {variant.name}",
        source=_source(variant),
        place=_place(variant),
        by_hand="give it with --checkpoint PATH",
        instead=", or go without it with --weights synthetic",
    )
    if wanted.source.size is None:
        raise _failure(wanted, "no checksum of it is known, so that it is not fetched")
    return fetched(wanted, progress)


def fetched(wanted: Wanted, progress: Progress | None = None) -> Path:
    """As `fetch`, of any file whose size and checksum are known."""
    place = wanted.place
    if _is_whole(place, wanted.source):
        return place
    # Slow to import, and most runs find the file in the cache.
    from requests import RequestException

    # Beside its place, so that the replacement is atomic; by process, so that two of them do not mix.
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            _download(wanted, part, progress)
            if fault := _fault(part, wanted.source):
                raise _failure(wanted, f"the content is not the published one: {fault}")
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    except RequestException as error:
        raise _failure(wanted, _cause(error)) from None
    except OSError as error:
        raise UserError(
            f"the cache {place.parent} cannot be written: {error.strerror or error}; make room, set {CACHE_VARIABLE} "
            f"to another folder, or fetch {wanted.source.url} by hand and {wanted.by_hand}"
        ) from None
    return place


def is_published(path: Path, variant: Variant) -> bool:
    """Whether the file is the variant's published checkpoint, byte for byte."""
    return variant.source is not None and _fault(path, variant.source) is None


def refuse_damaged(path: Path, variants: Iterable[Variant]) -> None:
    """Raises UserError for a file with the name and the size of a published checkpoint, and another checksum.

    One that a program fine-tuned and saved under the same name would be as long; but far likelier it is damaged.
    """
    for variant in variants:
        source = variant.source
        if source is None or source.size is None or path.name != source.file or not path.is_file():
            continue
        if path.stat().st_size == source.size and (fault := _fault(path, source)):
            raise UserError(
                f"{path}: has the name and the size of {variant.name}'s published checkpoint, and {fault}: it is "
                "damaged, so fetch it again; if it is one of your own, give it another name"
            )


def _source(variant: Variant) -> Source:
    if variant.source is None:
        raise UserError(
            f"nobody publishes weights of {variant.name}: give those of a training run with --checkpoint PATH, "
            "or go without them with --weights synthetic"
        )
    return variant.source


def _place(variant: Variant) -> Path:
    return cache_folder() / variant.family / _source(variant).file


def _download(wanted: Wanted, target: Path, progress: Progress | None) -> None:
    # Not pooch.retrieve, which knows one checksum and no size, and lets a server fill the disk.
    from pooch import HTTPDownloader

    download = HTTPDownloader(
        progressbar=_Meter(wanted, progress),
        chunk_size=_CHUNK_BYTES,
        timeout=_TIMEOUTS,
        # Zenodo slows down clients without a name; an encoded body would hide how much of the file has come.
        headers={"User-Agent": "soundport", "Accept-Encoding": "identity"},
    )
    download(wanted.source.url, target, None)


class _Meter:
    """What pooch asks of a progress bar; it sets `total` to what the server announces, which nothing here trusts."""

    total = 0

    def __init__(self, wanted: Wanted, progress: Progress | None) -> None:
        self._wanted, self._progress = wanted, progress
        self._done = 0

    def update(self, count: int) -> None:
        """`count` is the length of a whole chunk even for the last one, and the whole file's after `reset`."""
        self._done += count
        size = self._wanted.source.size or 0
        if self._done >= size + _CHUNK_BYTES:
            raise _failure(self._wanted, f"the content is not the published one: it has more bytes than {size}")
        if self._progress:
            self._progress(min(self._done, size), size)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None: ...


def _is_whole(path: Path, source: Source) -> bool:
    try:
        return _fault(path, source) is None
    except OSError:
        return False


def _fault(path: Path, source: Source) -> str | None:
    """What tells a file from the published one, or None. Raises OSError where it cannot be read."""
    size = path.stat().st_size
    if source.size is None:
        return "nothing is known to tell it by"
    if size != source.size:
        return f"it has {size} bytes instead of {source.size}"
    for algorithm, expected in (("md5", source.md5), ("sha256", source.sha256)):
        if expected is None:
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != expected:
            return f"its {algorithm} is {found} instead of {expected}"
    return None


def _cause(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {_TIMEOUTS[1]} seconds"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not trusted here"
    return f"there is no connection, or it broke off ({type(error).__name__})"


def _failure(wanted: Wanted, cause: str) -> UserError:
    return UserError(
        f"{wanted.what} could not be fetched from {wanted.source.url}: {cause}. Fetch it by hand and {wanted.by_hand}"
        f"{wanted.instead}. The cache is {cache_folder()} ({CACHE_VARIABLE} moves it)"
    )
