"""What a page costs: `python -m benchmarks.page FOLDER ...` of folders that `convert recipe NAME --to web` made.

ONNX Runtime Web in headless Chromium beside ONNX Runtime here, on one thread each, and the page on as many threads as
browsers give it where headers allow them; in turns, the median of some rounds. It is the time of the model alone:
resampling and drawing are not in it.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from convert import manifest
from recipes.base.sound import rich
from recipes.base.threads import one_thread
from validators.runners import onnxruntime
from validators.runners.browser import Browser, Server
from validators.runners.runner import Arrays

# Milliseconds of a run on these arrays.
Timed = Callable[[Arrays], float]

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
    shown = Table("model", "sound", "page, 1 thread", "page, threads", "here", "ratio", "MB", box=None, pad_edge=False)
    for folder in folders:
        made = manifest.read(folder)
        size = sum(path.stat().st_size for path in (folder / "web").rglob("*") if path.is_file())
        calls = [in_page(folder, {}), in_page(folder, _ISOLATED), here(folder)]
        for count in [made.input.default] if made.input.fixed else [made.sample_rate, made.input.default]:
            fed = {made.input.name: rich(count, made.sample_rate, 1).reshape(made.input.shape(1, count))}
            rounds = [[call(fed) for call in calls] for _ in range(_ROUNDS + 1)][1:]
            times = [f"{median(taken):.0f} ms" for taken in zip(*rounds, strict=True)]
            ratio = median(page / own for page, _, own in rounds)
            shown.add_row(
                made.title, f"{count / made.sample_rate:.4g} s", *times, f"{ratio:.1f} x", f"{size / 1e6:.1f}"
            )
    Console(width=140).print(shown)


def here(folder: Path) -> Timed:
    runner = onnxruntime.open_file(folder / "model.onnx")

    def taken(fed: Arrays) -> float:
        begun = time.perf_counter()
        runner.run(fed)
        return 1000 * (time.perf_counter() - begun)

    return taken


def in_page(folder: Path, headers: dict[str, str]) -> Timed:
    server, browser = Server(folder / "web", headers), Browser()
    browser.get(server.address)

    def taken(fed: Arrays) -> float:
        ((name, array),) = fed.items()
        server.fed = array.tobytes()
        return float(browser.execute_async_script(_TIMED, name, list(array.shape)))

    return taken


if __name__ == "__main__":
    with one_thread():
        main([Path(name) for name in sys.argv[1:]])
