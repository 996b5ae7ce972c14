"""ONNX: exported, simplified, with dynamic batch and length; run by ONNX Runtime and tract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convert.targets.target import Interim, Job, Option, Product, Target
from validators.runners.runtime import Runtime, needs_package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import onnx

    from convert.manifest import Artifact
    from convert.subject import Branch
    from exporters.lowering import Applied
    from exporters.lowering.shipped import Shipped
    from recipes.base.tensor import Input, Output
    from validators.results import Check

_SAMPLE = """## `{file}` in Python, ONNX Runtime

```python
{imports}import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("{file}")
names = [{quoted}]
inputs = {{"{input}": np.zeros(({shape}), np.float32)}}  # {about}
outputs = dict(zip(names, session.run(names, inputs)))
{ranking}```

## `{file}` in Rust, tract

Not run where this was made: it needs Cargo and the crate `tract-onnx`.

```rust
use tract_onnx::prelude::*;

let plan = tract_onnx::onnx()
    .model_for_path("{file}")?
    .with_input_fact(0, f32::fact([{shape}]).into())?
    .into_optimized()?
    .into_runnable()?;
let input = Tensor::from_shape(&[{shape}], &vec![0f32; {count}])?; // {about}
let outputs = plan.run(tvec!(input.into()))?; // {names}
```
"""

_STREAMING = """## `{file}` in Python, ONNX Runtime

```python
import json, sys, numpy as np, onnxruntime

sys.path.insert(0, "frontend")
from streaming import Stream

session = onnxruntime.InferenceSession("{file}")

def run(chunk, state):
    return session.run(["{shown}", "{state_out}"], {{"{input}": chunk, "{state_in}": state}})

stream = Stream(run, json.load(open("frontend/streaming.json", encoding="utf-8")))
for samples in np.zeros((5, 16000), np.float32):  # any number at a time
    for frames in stream.feed(samples):
        print(frames.shape)
last = stream.finish()
```
"""


def make(job: Job) -> Product:
    """The simplified graph, held to the one that it was made from."""
    import onnx

    from convert.lowering import held
    from convert.manifest import Artifact, Rewritten
    from convert.subject import WHOLE
    from exporters.onnx.export import export
    from exporters.onnx.metadata import describe
    from exporters.onnx.simplify import simplify

    branch = job.branch
    name = f"{branch.stem}.onnx"
    with job.step("export"):
        module, done = _form(job)
        exported = export(module, branch.variant, _opset(job))
    with job.step("simplify"):
        simplified = simplify(exported)
        describe(simplified, branch.variant, branch.facts)
        onnx.save(simplified, str(job.folder / name))
    tensor = branch.variant.input
    with job.step("check"):
        checks = against_exported(name, exported, simplified, branch)
        if done:
            checks += tuple(held(branch, module, job.lowered, "for tract"))
        if tensor.stream:
            checks += against_whole(name, simplified, job.folder / f"{WHOLE}.onnx", branch)
    size = tensor.default if tensor.fixed else None
    rewrites = tuple(Rewritten(tensor.name, each.rewrite, each.place) for each in done)
    artifact = Artifact(TARGET.name, tensor.name, "fp32", size, dict(job.settings), rewrites)
    idle = (
        [f"{name}: {FAST_IN.flag} finds nothing to change in this model"]
        if job.settings[FAST_IN.name] and not done
        else []
    )
    return Product({name: artifact}, checks, warnings=tuple(idle))


def _form(job: Job) -> tuple[Shipped, tuple[Applied, ...]]:
    """The module to export, and what was done to it for one runtime alone."""
    from exporters.onnx.tract import for_tract

    chosen = job.settings[FAST_IN.name]
    assert isinstance(chosen, tuple)
    if "tract" not in chosen:
        return job.lowered, ()
    return for_tract(job.lowered)


def _opset(job: Job) -> int:
    opset = job.settings["opset"]
    assert isinstance(opset, int)
    return opset


def interim(job: Job) -> Iterator[Interim]:
    """The form for one runtime, where it has its own; the graph as it was exported; what simplifying made of it."""
    from functools import partial

    from exporters.onnx.export import export
    from exporters.onnx.simplify import simplify
    from validators.runners import onnxruntime, pytorch
    from validators.traces import onnx as graphs
    from validators.traces import pytorch as modules

    variant = job.branch.variant
    module, done = _form(job)
    if done:
        name, own = "for tract", module.model
        runner = pytorch.open_model(own, variant.input, variant.outputs)
        yield Interim(name, "the form for tract", runner, partial(modules.trace_model, own, source=name))
    with job.step("export"):
        model = export(module, variant, _opset(job))
    for name, by in (("exported", "the export"), ("simplified", "the simplifier")):
        if name == "simplified":
            with job.step("simplify"):
                model = simplify(model)
        runner = onnxruntime.open_model(model.SerializeToString())
        yield Interim(name, by, runner, partial(graphs.trace_model, model, source=name))


def against_exported(
    artifact: str, exported: onnx.ModelProto, simplified: onnx.ModelProto, branch: Branch
) -> tuple[Check, ...]:
    """One check an output and case."""
    from validators.runners.onnxruntime import open_model
    from validators.runners.streamed import of_sounds
    from validators.values import Case, check_values

    before, after = (
        of_sounds(open_model(graph.SerializeToString()), branch.variant.input) for graph in (exported, simplified)
    )
    pairs = [Case(f"{case.name}, simplified", case.inputs, before.run(case.inputs)) for case in branch.cases]
    return tuple(check_values(after, pairs, branch.variant.outputs, artifact=artifact, precision="fp32"))


def against_whole(artifact: str, model: onnx.ModelProto, whole: Path, branch: Branch) -> tuple[Check, ...]:
    """Of a file that is fed chunks: its frames are those of the whole file, in the same runtime, but for rounding."""
    from validators.runners.onnxruntime import open_file, open_model
    from validators.runners.streamed import of_sounds
    from validators.whole import check_whole

    tensor, outputs = branch.variant.input, branch.variant.outputs
    assert tensor.stream is not None
    by_chunks = of_sounds(open_model(model.SerializeToString()), tensor)
    return tuple(check_whole(by_chunks, open_file(whole), branch.cases, tensor.stream, outputs, artifact=artifact))


def check_file(path: Path, artifact: Artifact, tensor: Input, outputs: tuple[Output, ...]) -> list[Check]:
    from validators.onnx_file import check_onnx_file

    opset = artifact.settings["opset"]
    assert isinstance(opset, int)
    return check_onnx_file(path, tensor, outputs, opset)


# Other formats may hold the very file.
OPSET = Option("opset", int, "ONNX opset.", default=17, least=13, most=20)

FAST_IN = Option(
    "fast_in",
    ("tract",),
    "Lay the file out for this runtime, where that is not the form that is fast in ONNX Runtime.",
    default=(),
    repeat=True,
    apart=True,
)

TARGET = Target(
    name="onnx",
    title="ONNX",
    suffix=".onnx",
    packages=("onnx", "onnxruntime", "onnxsim"),
    runtimes=(
        Runtime("onnxruntime", "validators.runners.onnxruntime:open_file", tracer="validators.traces.onnx:trace_file"),
        Runtime("tract", "validators.runners.tract:open_file", needs_package("tract")),
    ),
    make=make,
    interim=interim,
    check_file=check_file,
    sample=_SAMPLE,
    options=(OPSET, FAST_IN),
    streaming=_STREAMING,
    always=True,
    swept=True,
)
