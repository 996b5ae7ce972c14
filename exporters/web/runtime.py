"""ONNX Runtime Web: three files of a package of npm, fetched once, and known by their checksums."""

import hashlib
import os
import tarfile
from pathlib import Path

from recipes.base.download import Progress, Wanted, cache_folder, fetched
from recipes.base.errors import UserError
from recipes.base.spec import Source

# A registry's or a mirror's address, or the path of the package's own file.
VARIABLE = "SOUNDPORT_NPM"
REGISTRY = "https://registry.npmjs.org"

VERSION = "1.30.0"
_FILE = f"onnxruntime-web-{VERSION}.tgz"
_SIZE = 33_106_585
_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"

# The build for WebAssembly alone, which runs with threads and without: no WebGPU, WebGL or WebNN.
SHA256 = {
    "ort.wasm.min.js": "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}


def package(progress: Progress | None = None) -> Path:
    """The package: the file that SOUNDPORT_NPM names, or from the cache, or else from npm's registry or a mirror of it.

    Raises UserError where it cannot be fetched, and where it is not the published one.
    """
    given = os.environ.get(VARIABLE, "")
    if given and not given.startswith(("https://", "http://")):
        path = Path(given).expanduser()
        if not path.is_file():
            raise UserError(f"the environment variable {VARIABLE} is {given!r}; give a registry's address, or {_FILE}")
        _refuse_others(path)
        return path
    address = (given or REGISTRY).rstrip("/")
    return fetched(
        Wanted(
            what="ONNX Runtime Web",
            source=Source(f"{address}/onnxruntime-web/-/{_FILE}", _FILE, _SIZE, sha256=_SHA256),
            place=cache_folder() / "npm" / _FILE,
            by_hand=f"set {VARIABLE} to its path",
            instead=f", or set {VARIABLE} to the address of a mirror",
        ),
        progress,
    )


def _refuse_others(path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != _SHA256:
        raise UserError(
            f"{path}: is not {_FILE} as published: its sha256 is {found} instead of {_SHA256}; fetch "
            f"{REGISTRY}/onnxruntime-web/-/{_FILE}"
        )


def unpack(source: Path, folder: Path) -> None:
    """Writes the files of SHA256 out of the package, whose own checksum holds, into the folder."""
    with tarfile.open(source) as archive:
        for name in SHA256:
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None
            (folder / name).write_bytes(member.read())
