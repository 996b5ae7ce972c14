"""C: C99 sources without a runtime and, where asked for, static programs; run as processes."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from convert.targets.target import Job, Option, Product, Settings, Target
from recipes.base.errors import UserError
from validators.runners.runtime import Runtime, needs_compiler, needs_node, needs_processor

if TYPE_CHECKING:
    from convert.manifest import Artifact, Manifest
    from recipes.base.spec import Variant
    from recipes.base.tensor import Input, Output
    from validators.results import Check

NAME = "c"
_PLACES = ("x86_64-linux-musl", "aarch64-linux-musl", "wasm32-wasi", "native")

_SAMPLE = """## `{file}`, C99

`{file}/model.h` says how the model is called, `{file}/README.md` how the program `tag` is built and used.

```c
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

static float input[{count}]; /* {about} */

int main(void)
{{
    const size_t length = {length};
    size_t shape[{VARIANT}_AXES], count = 1;
    const int axes = {variant}_shape({VARIANT}_OUTPUT_{SHOWN}, length, shape);
    for (int axis = 0; axis < axes; axis++)
        count *= shape[axis];
    float *shown = malloc(count * sizeof(float));
    void *memory = malloc({variant}_memory(length));
    float *outputs[{VARIANT}_OUTPUTS] = {{NULL}}; /* {names}; what is NULL is not written */
    outputs[{VARIANT}_OUTPUT_{SHOWN}] = shown;
    if (!shown || !memory || {variant}_run({variant}_weights, input, length, memory, outputs) != 0)
        return 1;
    printf("%g\\n", shown[0]);
    free(memory);
    free(shown);
    return 0;
}}
```
"""

_SAMPLE_OF_A_PROGRAM = """## `{file}`, a program

```sh
{command} < sound.wav
```

It prints the ten classes with the greatest scores, and needs nothing else; `--help` lists what more it does.
"""

_RUNNER = "validators.runners.c"


def refuse(settings: Settings, variant: Variant) -> None:
    """Raises UserError for programs where there is nothing that makes them."""
    if settings["binary"] and not find_spec("ziglang"):
        raise UserError("--binary needs a compiler for other machines; `pip install ziglang` adds it")


def make(job: Job) -> Product:
    """The folder of sources, made of the `model.onnx` beside it, and the programs that are asked for."""
    import onnx

    from convert.manifest import Artifact
    from exporters.c import binary, folder

    branch = job.branch
    size = branch.variant.input.default if branch.variant.input.fixed else None
    artifact = Artifact(TARGET.name, branch.variant.input.name, "fp32", size, dict(job.settings))
    graph = f"{branch.stem}.onnx"
    name = f"{NAME}{branch.stem.removeprefix('model')}"
    with job.step("C"):
        folder.write(job.folder / name, onnx.load(str(job.folder / graph)), graph)
    made = {name: artifact}
    for place in cast("tuple[str, ...]", job.settings["binary"]):
        with job.step(f"C for {place}"):
            program = binary.file_name(place)
            binary.build(job.folder / name, place, job.folder / name / program)
            made[f"{name}/{program}"] = artifact
    return Product(made)


def check_file(path: Path, artifact: Artifact, tensor: Input, outputs: tuple[Output, ...]) -> list[Check]:
    """Whether it is what is made here of the graph beside the folder: what is not is a stranger's, and is not run."""
    from exporters.c import binary

    if _is_folder(path.name):
        return [_sources(path)]
    place = binary.target_of(path.name)
    if place is None:
        raise UserError(f"{path.name}: is called after no program of C; make the folder again")
    machine = {"wasm32-wasi": "wasm32", "native": platform.machine()}.get(place, place.partition("-")[0])
    return [_program(path, place, machine)]


def _sources(path: Path) -> Check:
    from exporters.c import binary
    from validators.results import judged

    try:
        expected = _expected(path)
    except UserError as error:
        return judged(path.name, "fp32", "file", [str(error)])
    faults = [f"{name} is missing" for name in expected if not (path / name).is_file()]
    faults += [
        f"{name} is not what this version makes of the graph; make the folder again"
        for name, content in expected.items()
        if (path / name).is_file() and (path / name).read_bytes() != content
    ]
    # A compiler takes whatever lies among the kernels.
    found = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir())
    faults += [
        f"{name} is no file of this version; make the folder again"
        for name in found
        if name not in expected and binary.target_of(name) is None
    ]
    return judged(path.name, "fp32", "file", faults[:3])


def _expected(path: Path) -> dict[str, bytes]:
    """The files that are made of the graph beside a folder; UserError for one of which nothing can be made."""
    import onnx

    from exporters.c import folder
    from validators.onnx_tensors import content

    graph = path.parent / f"model{path.name.removeprefix(NAME)}.onnx"
    found = content(graph)
    try:
        model = onnx.load_from_string(found)
        # The translator takes a graph for one that the exporter wrote: attributes of another type would be text in C.
        onnx.checker.check_model(model)
        if foreign := {node.domain for node in model.graph.node} - {"", "ai.onnx"}:
            raise ValueError(f"it has operators of {', '.join(map(repr, sorted(foreign)))}")
        return folder.contents(model, graph.name)
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever else a stranger's graph lacks
        what = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{graph.name}: is no graph that C is made of ({what}); make the folder again") from None


def _program(path: Path, place: str, machine: str) -> Check:
    from tempfile import TemporaryDirectory

    from exporters.c import binary
    from validators.c_program import check_static
    from validators.results import Check, judged

    if not find_spec("ziglang"):
        reason = "only what builds it can tell that it is of these sources; `pip install ziglang` adds that"
        return Check(path.name, "", "fp32", "", "", "file", "not verified", reason)
    with TemporaryDirectory() as folder:
        for name, content in _expected(path.parent).items():
            (Path(folder) / name).parent.mkdir(exist_ok=True)
            (Path(folder) / name).write_bytes(content)
        again = Path(folder) / path.name
        binary.build(Path(folder), place, again)
        if again.read_bytes() != path.read_bytes():
            reason = "is not what this compiler makes of the sources: it is of another version, or changed"
            if place == "native":
                return Check(path.name, "", "fp32", "", "", "file", "not verified", f"{reason}, or of another machine")
            return judged(path.name, "fp32", "file", [f"{reason}; make the folder again"])
    return (
        check_static(path, machine)
        if place != "native" or sys.platform == "linux"
        else judged(path.name, "fp32", "file", [])
    )


def remarks(artifact: Artifact, manifest: Manifest) -> str:
    return "It takes one clip at a time, and needs nothing but the C library."


def sample(name: str) -> str:
    """Of the folder, or of a program in it."""
    if _is_folder(Path(name).name):
        return _SAMPLE
    command = "wasmtime {file}" if name.endswith(".wasm") else "./{file}"
    return _SAMPLE_OF_A_PROGRAM.replace("{command}", command)


def _is_folder(name: str) -> bool:
    return name == NAME or name.startswith(f"{NAME}.")


def _is_program(name: str) -> bool:
    """As exporters.c.binary calls them."""
    return name == "tag" or name.startswith("tag-")


TARGET = Target(
    name="c",
    title="C",
    suffix=NAME,
    packages=("onnx",),
    runtimes=(
        Runtime("c", f"{_RUNNER}:open_sources", needs_compiler, runs=_is_folder),
        Runtime("native", f"{_RUNNER}:open_program", runs=lambda name: name == "tag"),
        Runtime(
            "x86_64-linux",
            f"{_RUNNER}:open_x86",
            needs_processor("x86_64"),
            runs=lambda name: name == "tag-x86_64-linux-musl",
        ),
        Runtime(
            "aarch64-linux",
            f"{_RUNNER}:open_arm",
            needs_processor("aarch64", "qemu-user"),
            runs=lambda name: name == "tag-aarch64-linux-musl",
        ),
        Runtime("node-wasi", f"{_RUNNER}:open_wasm", needs_node, runs=lambda name: name.endswith(".wasm")),
    ),
    make=make,
    check_file=check_file,
    sample=sample,
    options=(
        Option(
            "binary",
            _PLACES,
            "Also build a static program for this; repeat for more. Needs the package ziglang.",
            default=(),
            repeat=True,
        ),
    ),
    refuse=refuse,
    remarks=remarks,
    swept=True,
    beside=("onnx",),
    claims=lambda name: _is_folder(name) or _is_program(name),
    code=True,
)
