"""ONNX Runtime Web: from a file, from a mirror, and never another than the published one."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from exporters.web import runtime
from recipes.base.download import CACHE_VARIABLE
from recipes.base.errors import UserError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small one in the place of the published one, with its layout; the cache is empty."""
    files = {name: name.encode() * 100 for name in runtime.SHA256}
    # As npm lays a mirror out.
    path = tmp_path / "mirror" / "onnxruntime-web" / "-" / runtime._FILE
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {**{f"dist/{name}": content for name, content in files.items()}, "other": b"!"}.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    monkeypatch.setattr(runtime, "_SIZE", path.stat().st_size)
    monkeypatch.setattr(runtime, "_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def mirror(package: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(package.parents[2]))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    return lambda value: monkeypatch.setenv(runtime.VARIABLE, str(value))


def test_a_file_is_taken_as_it_is_where_it_is_the_published_one(package: Path, given: Callable[[object], None]) -> None:
    given(package)
    assert runtime.package() == package


def test_a_mirror_is_asked_once(package: Path, mirror: str, given: Callable[[object], None], tmp_path: Path) -> None:
    given(mirror)
    found = runtime.package()
    assert found == tmp_path / "cache" / "npm" / runtime._FILE
    assert found.read_bytes() == package.read_bytes()
    package.unlink()
    assert runtime.package() == found


def test_another_file_is_refused(package: Path, given: Callable[[object], None]) -> None:
    given(package)
    package.write_bytes(b"another")
    with pytest.raises(UserError, match=r"is not onnxruntime-web-.*\.tgz as published: its sha256 is"):
        runtime.package()
    given("nowhere.tgz")
    with pytest.raises(UserError, match=r"SOUNDPORT_NPM is 'nowhere.tgz'; give a registry's address, or"):
        runtime.package()


def test_what_a_mirror_gives_must_be_the_published_one(
    package: Path, mirror: str, given: Callable[[object], None], tmp_path: Path
) -> None:
    given(mirror)
    content = bytearray(package.read_bytes())
    content[-1] ^= 1
    package.write_bytes(content)
    with pytest.raises(
        UserError, match=r"ONNX Runtime Web could not be fetched .* not the published one.*SOUNDPORT_NPM"
    ):
        runtime.package()
    package.unlink()
    with pytest.raises(UserError, match="404"):
        runtime.package()
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_only_what_a_page_needs_is_unpacked(package: Path, tmp_path: Path) -> None:
    (tmp_path / "ort").mkdir()
    runtime.unpack(package, tmp_path / "ort")
    assert {path.name for path in (tmp_path / "ort").iterdir()} == set(runtime.SHA256)


def test_the_published_package_holds_what_is_known_of_it(npm_package: Path, tmp_path: Path) -> None:
    runtime.unpack(npm_package, tmp_path)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert found == runtime.SHA256
