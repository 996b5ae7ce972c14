"""What a page costs: `python -m benchmarks.page FOLDER ...` of folders that `convert recipe NAME --to web` made.

ONNX Runtime Web in headless Chromium beside ONNX Runtime here, on one thread each, and the page on the threads that
browsers give it where the server's headers allow them; in turns, the median of some rounds. Of the model alone: the page
times itself, and resampling and drawing are not in it.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from convert import manifest
from recipes.base.sound import rich
from recipes.base.threads import one_thread
from validators.runners import onnxruntime
from validators.runners.browser import Browser, Server

_ROUNDS = 7
# https://web.dev/articles/coop-coep
_ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}

_TIMED = """
const [name, shape, done] = arguments;
(async () => {
  const data = new Float32Array(await (await fetch("fed")).arrayBuffer());
  const tagger = await window.tagger;
  return (await tagger.run({ [name]: { shape, data } })).milliseconds;
})().then(done, (error) => done(String(error)));
"""


def main(folders: list[Path]) -> None:
    shown = Table("model", "sound", "page, 1 thread", "page, threads", "here", "ratio", "page, MB", box=None, pad_edge=False)
    for folder in folders:
        made = manifest.read(folder)
        tensor = made.input
        size = sum(path.stat().st_size for path in (folder / "web").rglob("*") if path.is_file())
        runner = onnxruntime.open_file(folder / "model.onnx")
        servers = [Server(folder / "web"), Server(folder / "web", _ISOLATED)]
        browsers = [Browser(), Browser()]
        for browser, server in zip(browsers, servers, strict=True):
            browser.get(server.address)
        for count in [tensor.default] if tensor.fixed else [made.sample_rate, tensor.default]:
            fed = rich(count, made.sample_rate, 1).reshape(tensor.shape(1, count))

            def here(fed: np.ndarray = fed) -> float:
                begun = time.perf_counter()
                runner.run({tensor.name: fed})
                return 1000 * (time.perf_counter() - begun)

            def page(browser: Browser, server: Server, fed: np.ndarray = fed) -> float:
                server.fed = fed.tobytes()
                return float(browser.execute_async_script(_TIMED, tensor.name, list(fed.shape)))

            calls: list[Callable[[], float]] = [
                lambda: page(browsers[0], servers[0]),
                lambda: page(browsers[1], servers[1]),
                here,
            ]
            rounds = [[call() for call in calls] for _ in range(_ROUNDS + 1)][1:]
            one, threads, own = (median(taken) for taken in zip(*rounds, strict=True))
            ratio = median(taken[0] / taken[2] for taken in rounds)
            times = (f"{one:.0f} ms", f"{threads:.0f} ms", f"{own:.0f} ms", f"{ratio:.1f} x")
            shown.add_row(made.title, f"{count / made.sample_rate:.4g} s", *times, f"{size / 1e6:.1f}")
        for browser in browsers:
            browser.quit()
    Console(width=140).print(shown)


if __name__ == "__main__":
    with one_thread():
        main([Path(name) for name in sys.argv[1:]])
