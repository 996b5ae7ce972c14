"""A page in headless Chromium, steered by its driver (https://www.w3.org/TR/webdriver2/)."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import prod
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.proxy import Proxy, ProxyType
from selenium.webdriver.remote.client_config import ClientConfig
from urllib3.exceptions import HTTPError

from recipes.base import files
from recipes.base.errors import UserError
from validators import about
from validators.runners import browser_process
from validators.runners.runner import Arrays, Port, Runner, RunnerError, shortened
from validators.runners.runtime import BROWSERS, DRIVER

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
_MOST_BYTES = 2**31

# What a driver says of its browser, and what is heard where there is no driver any longer.
_FAILURES = (WebDriverException, HTTPError)
# The worker that this runs in has a limit of its own.
_NO_LIMIT = 86400

# Nothing of it asks the network for anything, whatever a page says.
_OFFLINE = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-gpu",
    # Containers lend little of it.
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)

# Arrays go through the server: what a driver is told and tells is text.
_OPEN = """
const done = arguments[0];
window.tagger.then(({ ports }) => done({ ports }), (error) => done({ error: error.message }));
"""
_RUN = """
const [described, done] = arguments;
(async () => {
  const fed = await (await fetch("fed")).arrayBuffer();
  let place = 0;
  const inputs = described.map(([name, shape]) => {
    const data = new Float32Array(fed, place, shape.reduce((one, other) => one * other, 1));
    place += data.byteLength;
    return [name, { shape, data }];
  });
  const { outputs } = await (await window.tagger).run(Object.fromEntries(inputs));
  for (const [name, { data }] of Object.entries(outputs)) {
    if (!(data instanceof Float32Array)) throw new Error(`${name} is a ${data.constructor.name}`);
  }
  await fetch("given", { method: "POST", body: new Blob(Object.values(outputs).map(({ data }) => data)) });
  return Object.entries(outputs).map(([name, { shape }]) => [name, shape]);
})().then((value) => done({ value }), (error) => done({ error: error.message }));
"""


def open_folder(folder: Path) -> Runner:
    """The page of a folder, whose scripts are known; raises RunnerError where it does not load."""
    try:
        facts = about.read(folder).get("facts")
    except UserError as error:
        raise RunnerError(str(error)) from error
    server = Server(folder)
    page = Browser()
    try:
        page.get(server.address)
        ports = _answer(page.execute_async_script(_OPEN))["ports"]
    except _FAILURES as error:
        raise RunnerError(f"browser: {shortened(error)}") from error

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        for name, value in inputs.items():
            if value.dtype != np.float32:
                raise RunnerError(f"browser: {name} is {value.dtype}; a page is fed float32")
        server.fed = b"".join(np.ascontiguousarray(value).tobytes() for value in inputs.values())
        try:
            described = [[name, list(value.shape)] for name, value in inputs.items()]
            answer = _answer(page.execute_async_script(_RUN, described))["value"]
        except _FAILURES as error:
            raise RunnerError(f"browser: {shortened(error)}") from error
        return _arrays(server.given, answer)

    return Runner(
        runtime="browser",
        inputs=tuple(map(_port, ports["inputs"])),
        outputs=tuple(map(_port, ports["outputs"])),
        metadata={key: value for key, value in facts.items() if isinstance(value, str)}
        if isinstance(facts, dict)
        else {},
        run=run,
    )


class Browser(webdriver.Remote):
    """Headless, and reaching this machine alone; it ends with this process, however that ends.

    `arguments` are more of Chromium's own. Raises RunnerError where it does not start.
    """

    def __init__(self, *arguments: str) -> None:
        # It ends when nobody holds its standard input.
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", browser_process.__file__, str(which(DRIVER))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C of a terminal is for the command.
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        port = self._keeper.stdout.readline().strip()
        if not port:
            raise RunnerError(f"browser: {DRIVER} does not start")
        options = webdriver.ChromeOptions()
        options.binary_location = next(path for path in map(which, BROWSERS) if path)
        for argument in (*_OFFLINE, *arguments):
            options.add_argument(argument)
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Chromium refuses to sandbox what root runs, as in containers.
            options.add_argument("--no-sandbox")
        address, direct = f"http://127.0.0.1:{port}", Proxy({"proxyType": ProxyType.DIRECT})
        try:
            super().__init__(
                address, options=options, client_config=ClientConfig(address, proxy=direct, timeout=_NO_LIMIT)
            )
        except _FAILURES as error:
            raise RunnerError(f"browser: {shortened(error)}") from error
        self.set_script_timeout(_NO_LIMIT)

    def quit(self) -> None:
        super().quit()
        self._keeper.communicate()


class Server(ThreadingHTTPServer):
    """Serves a page's own files and nothing else to this machine alone, and carries arrays there and back.

    `headers` are sent with each file.
    """

    daemon_threads = True

    def __init__(self, folder: Path, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.headers = dict(headers or {})
        self.fed = self.given = b""
        self.address = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None: ...


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].lstrip("/") or "index.html"
        try:
            content = self.server.fed if name == "fed" else self._content(name)
        except (OSError, UserError):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", _TYPES.get(Path(name).suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(content)))
        for header, value in self.server.headers.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.server.given = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def _content(self, name: str) -> bytes:
        path = self.server.folder / name
        if not path.resolve().is_relative_to(self.server.folder.resolve()):
            raise FileNotFoundError(name)
        return files.content(path, _MOST_BYTES)

    def log_message(self, *_: object) -> None: ...


def _answer(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise RunnerError(f"browser: {shortened(Exception(answer['error']))}")
    return answer


def _arrays(content: bytes, described: Sequence[tuple[str, list[int]]]) -> Arrays:
    arrays, place = {}, 0
    for name, shape in described:
        arrays[name] = np.frombuffer(content, "<f4", prod(shape), place).reshape(shape)
        place += arrays[name].nbytes
    return arrays


def _port(port: dict[str, Any]) -> Port:
    return Port(port["name"], tuple(port["shape"]), port["type"])
