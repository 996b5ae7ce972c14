import errno
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recipes.base import config, download
from recipes.base.errors import UserError
from recipes.base.spec import Source, Variant

CONTENT = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Answers with `respond`, and counts the questions."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.questions = 0
        self.respond: Callable[[Handler], None] = lambda handler: handler.give(CONTENT)

    def handle_error(self, *_: object) -> None: ...


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.questions += 1
        self.server.respond(self)

    def give(self, body: bytes, announced: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def variant(server: Server) -> Variant:
    source = Source(
        url=f"http://127.0.0.1:{server.server_port}/weights.pt?download=1",
        file="weights.pt",
        size=len(CONTENT),
        md5=hashlib.md5(CONTENT).hexdigest(),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    return replace(config.find("pann"), source=source)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def failure(variant: Variant, cache: Path) -> str:
    with pytest.raises(UserError) as caught:
        download.fetch(variant)
    assert files(cache) == []
    message = str(caught.value)
    assert "\n" not in message
    assert variant.source.url in message
    assert "--checkpoint PATH" in message
    assert str(cache) in message
    assert download.CACHE_VARIABLE in message
    return message


def test_fetches_once_and_then_from_the_cache(variant: Variant, server: Server, cache: Path) -> None:
    assert download.cached(variant) is None
    steps: list[tuple[int, int]] = []
    path = download.fetch(variant, lambda done, whole: steps.append((done, whole)))
    assert path.read_bytes() == CONTENT
    assert files(cache) == [path] == [cache / "pann" / "weights.pt"]
    assert steps == sorted(steps)
    assert len(steps) > 1
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert download.cached(variant) == path
    assert download.fetch(variant) == path
    assert server.questions == 1


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"?", CONTENT + b"?", b""])
def test_a_damaged_file_in_the_cache_is_never_used(
    damage: bytes, variant: Variant, server: Server, cache: Path
) -> None:
    path = download.fetch(variant)
    path.write_bytes(damage)
    assert download.cached(variant) is None
    assert download.fetch(variant).read_bytes() == CONTENT
    assert server.questions == 2
    assert files(cache) == [path]


@pytest.mark.parametrize(("algorithm", "other"), [("md5", "sha256"), ("sha256", "md5")])
def test_one_checksum_is_enough(algorithm: str, other: str, variant: Variant, server: Server, cache: Path) -> None:
    alone = replace(variant, source=replace(variant.source, **{other: None}))
    assert download.fetch(alone).read_bytes() == CONTENT
    download.cache_folder().joinpath("pann", "weights.pt").unlink()
    server.respond = lambda handler: handler.give(CONTENT[::-1])
    assert f"its {algorithm} is" in failure(alone, cache)


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
def test_server_refuses(status: int, variant: Variant, server: Server, cache: Path) -> None:
    server.respond = lambda handler: handler.send_error(status)
    message = failure(variant, cache)
    assert f"the server answered {status}" in message
    assert "--weights synthetic" in message


def test_body_cut_off_in_announced_length(variant: Variant, server: Server, cache: Path) -> None:
    server.respond = lambda handler: handler.give(CONTENT[:5000])
    assert f"it has 5000 bytes instead of {len(CONTENT)}" in failure(variant, cache)


def test_connection_dropped_halfway(variant: Variant, server: Server, cache: Path) -> None:
    server.respond = lambda handler: handler.give(CONTENT[: len(CONTENT) // 2], announced=len(CONTENT))
    assert "it broke off" in failure(variant, cache)


def test_no_length_and_cut_off(variant: Variant, server: Server, cache: Path) -> None:
    def respond(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT[:70_000])

    server.respond = respond
    assert "it has 70000 bytes instead of" in failure(variant, cache)


def test_a_body_without_end_is_left(variant: Variant, server: Server, cache: Path) -> None:
    def respond(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(CONTENT)

    server.respond = respond
    assert f"it has more bytes than {len(CONTENT)}" in failure(variant, cache)


def test_web_page_of_the_right_length(variant: Variant, server: Server, cache: Path) -> None:
    server.respond = lambda handler: handler.give(b"<html>".ljust(len(CONTENT)))
    assert "its md5 is" in failure(variant, cache)


def test_redirection_is_followed(variant: Variant, server: Server, cache: Path) -> None:
    def respond(handler: Handler) -> None:
        if handler.path == "/elsewhere":
            return handler.give(CONTENT)
        handler.send_response(302)
        handler.send_header("Location", "/elsewhere")
        handler.send_header("Content-Length", "0")
        return handler.end_headers()

    server.respond = respond
    assert download.fetch(variant).read_bytes() == CONTENT


def test_no_server(variant: Variant, server: Server, cache: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    nowhere = replace(variant, source=replace(variant.source, url=f"http://127.0.0.1:{port}/weights.pt"))
    message = failure(nowhere, cache)
    assert "there is no connection" in message
    assert "--weights synthetic" in message


def test_silent_server(variant: Variant, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    server.respond = lambda _handler: over.wait(10) and None
    monkeypatch.setattr(download, "_TIMEOUTS", (0.2, 0.2))
    assert "no answer within 0.2 seconds" in failure(variant, cache)
    over.set()


def test_address_that_is_none(variant: Variant, cache: Path) -> None:
    failure(replace(variant, source=replace(variant.source, url="http://")), cache)


@pytest.mark.parametrize("url", ["nothing", "ftp://127.0.0.1/weights.pt", "file:///weights.pt"])
def test_address_of_another_kind_is_no_source(url: str, variant: Variant) -> None:
    with pytest.raises(ValueError, match="https"):
        replace(variant.source, url=url)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_interruption_leaves_nothing_behind(stop: type[BaseException], variant: Variant, cache: Path) -> None:
    def interrupt(done: int, whole: int) -> None:
        assert files(cache)
        if done > whole / 2:
            raise stop

    with pytest.raises(stop):
        download.fetch(variant, interrupt)
    assert files(cache) == []


def test_cache_that_cannot_be_made(variant: Variant, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"the cache .* cannot be written: .*SOUNDPORT_CACHE.*--checkpoint PATH"):
        download.fetch(variant)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_cache_that_cannot_be_written(
    code: int, variant: Variant, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(code, "no way", str(self))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(UserError, match="cannot be written: no way; make room, set SOUNDPORT_CACHE"):
        download.fetch(variant)
    assert files(cache) == []


def test_disk_full_halfway(variant: Variant, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(done: int, whole: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="No space left on device; make room"):
        download.fetch(variant, fill)
    assert files(cache) == []


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(download.CACHE_VARIABLE, "~/weights")
    assert download.cache_folder() == Path.home() / "weights"
    monkeypatch.setenv(download.CACHE_VARIABLE, "weights")
    assert download.cache_folder() == Path.cwd() / "weights"
    monkeypatch.setenv(download.CACHE_VARIABLE, "")
    assert download.cache_folder().name == "soundport"
    monkeypatch.delenv(download.CACHE_VARIABLE)
    assert download.cache_folder().is_absolute()
