"""Web: a page that tags sound in the browser, with ONNX Runtime Web; run by a headless Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convert.targets.onnx import OPSET
from convert.targets.target import Job, Product, Target
from validators.runners.runtime import Runtime, needs_browser

if TYPE_CHECKING:
    from pathlib import Path

    from convert.manifest import Artifact, Manifest
    from recipes.base.tensor import Input, Output
    from validators.results import Check
    from validators.runners.runner import Runner

_SAMPLE = """## `{file}` in JavaScript, ONNX Runtime Web

`{file}/` is a page by itself: `python3 -m http.server --bind 127.0.0.1 -d {file}` serves it. In a page of yours:

```html
<script src="{file}/tagger.js"></script>
```

```js
const tagger = await Tagger.open("{file}/");

async function tag(file) {{
  const samples = await tagger.decode(await file.arrayBuffer(), file.name);
  const {{ top, outputs, milliseconds }} = await tagger.tag(samples, file.name);
  return {{ best: top.slice(0, 10), outputs, milliseconds }}; // {names}
}}
```
"""

_NOT_SOUND = "no page is made of the model that is fed {name}: a page takes sound; ask for that input, too"


def make(job: Job) -> Product:
    """The folder of the page; none for a model that is fed its front end's result."""
    from convert.manifest import Artifact
    from convert.progress import download_bar
    from exporters.web import folder, runtime

    branch, variant = job.branch, job.branch.variant
    if branch.stem != "model":
        return Product({}, warnings=(_NOT_SOUND.format(name=variant.input.name),))
    with job.step("web page"):
        package = runtime.package(download_bar)
        (job.folder / NAME).mkdir()
        sounds = {case.name.replace("_", " "): job.folder / "reference" / f"{case.name}.wav" for case in branch.cases}
        folder.write(
            job.folder / NAME,
            job.folder / f"{branch.stem}.onnx",
            variant,
            branch.facts,
            {name: path for name, path in sounds.items() if path.is_file()},
            package,
        )
    size = variant.input.default if variant.input.fixed else None
    return Product({NAME: Artifact(TARGET.name, variant.input.name, "fp32", size, dict(job.settings))})


def check_file(path: Path, artifact: Artifact, tensor: Input, outputs: tuple[Output, ...]) -> list[Check]:
    from validators.web_page import check_web_page

    opset = artifact.settings[OPSET.name]
    assert isinstance(opset, int)
    return check_web_page(path, tensor, outputs, opset, _known())


def open_page(path: Path) -> Runner:
    """The page in a browser; RunnerError where a script of it is none of ours, for a browser runs what it is given."""
    from validators.known import foreign_faults
    from validators.runners.browser import open_folder
    from validators.runners.runner import RunnerError

    for fault in foreign_faults(path, _known()):
        raise RunnerError(f"{fault}; it is not run")
    return open_folder(path)


def _known() -> dict[str, str]:
    """The SHA-256 of each of the page's files that are the same for all models."""
    import hashlib

    from exporters.web import folder, runtime

    own = {name: hashlib.sha256(content).hexdigest() for name, content in folder.static().items()}
    return own | {f"{folder.RUNTIME}/{name}": sha256 for name, sha256 in runtime.SHA256.items()}


def remarks(artifact: Artifact, manifest: Manifest) -> str:
    return (
        "It is a folder for any static web server: a page that tags sound files and the microphone. Nothing leaves the "
        "browser, which resamples sound to the model's rate by itself."
    )


NAME = "web"

TARGET = Target(
    name="web",
    title="Web page",
    suffix=NAME,
    packages=("onnx",),
    runtimes=(Runtime("browser", "convert.targets.web:open_page", needs_browser),),
    make=make,
    check_file=check_file,
    sample=_SAMPLE,
    options=(OPSET,),
    beside=("onnx",),
    remarks=remarks,
)
