"""README.md of a made folder: a model card with a code sample for each runtime."""

from math import prod

from convert.manifest import Artifact, Manifest

_WEIGHTS = {
    "published": "the published weights",
    "custom": "a checkpoint of the user's own",
    "synthetic": "**synthetic weights**: the published architecture without any training; it recognises nothing",
}

_ONNX = """## `{file}` in Python, ONNX Runtime

```python
import json
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("{file}")
{input} = np.zeros(({shape}), np.float32)  # {about}
{names} = session.run(None, {{"{input}": {input}}})
probabilities = {probabilities}
labels = [label["name"] for label in json.load(open("labels.json", encoding="utf-8"))]
best = [labels[index] for index in np.argsort(-probabilities[0])[:3]]
```

## `{file}` in Rust, tract

```rust
use tract_onnx::prelude::*;

let plan = tract_onnx::onnx()
    .model_for_path("{file}")?
    .with_input_fact(0, f32::fact([{shape}]).into())?
    .into_optimized()?
    .into_runnable()?;
let {input} = Tensor::from_shape(&[{shape}], &vec![0f32; {count}])?; // {about}
let outputs = plan.run(tvec!({input}.into()))?; // {names}
```
"""

_COREML = """## `{file}` in Swift, Core ML

```swift
import CoreML

func {scores}(of {input}: MLMultiArray, by model: MLModel) throws -> MLMultiArray? {{
    let features = try MLDictionaryFeatureProvider(dictionary: ["{input}": {input}])
    return try model.prediction(from: features).featureValue(for: "{scores}")?.multiArrayValue
}}

// Xcode compiles a package of the app's to .mlmodelc; {about}.
let url = Bundle.main.url(forResource: "{resource}", withExtension: "mlmodelc")!
let model = try MLModel(contentsOf: url)
let {input} = try MLMultiArray(shape: [{shape}], dataType: .float32)
let answer = try {scores}(of: {input}, by: model)
```
"""


def card(manifest: Manifest, front_end: str | None = None) -> str:
    """The text; `front_end` is a program that computes the front end from the data in `frontend/`."""
    given = {output.name for artifact in manifest.artifacts.values() for output in manifest.fed_by(artifact.input)[1]}
    rows = "\n".join(
        f"| `{output.name}` | {_axes(output.axes)} | {output.description} |"
        for output in manifest.outputs
        if output.name in given
    )
    parts = [
        f"# {manifest.title}",
        f"Made from {_WEIGHTS[manifest.weights]} (`{manifest.checkpoint_file}`, SHA-256 "
        f"`{manifest.checkpoint_sha256}`) by `{manifest.command}`. Licence of the weights: {manifest.licence}.",
        *(_artifact(name, artifact, manifest) for name, artifact in manifest.artifacts.items()),
        f"| output | axes | what it is |\n|---|---|---|\n{rows}",
        "`labels.json` names the classes in order. `reference.json` holds the answers of the PyTorch model to the "
        "sounds in `reference/`; `manifest.json` lists every file with its checksum, and how each was checked. "
        "`convert check .` checks it all again.",
    ]
    for name in manifest.artifacts:
        sample = _COREML if name.endswith(".mlpackage") else _ONNX
        parts.append(sample.format(**_fill(name, manifest)).strip())
    if front_end is not None:
        parts.append("## The front end in NumPy")
        parts.append("`frontend/` holds its window, mel matrix and numbers, for hosts that compute it themselves, and:")
        parts.append(f"```python\n{front_end.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def _artifact(name: str, artifact: Artifact, manifest: Manifest) -> str:
    tensor, outputs = manifest.fed_by(artifact.input)
    coreml = name.endswith(".mlpackage")
    free = f"{tensor.least} to {tensor.most}" if coreml else f"{tensor.least} or more"
    size = free if artifact.size is None else f"exactly {artifact.size}"
    fewer = "" if artifact.size else "Given fewer, the answer means nothing, and not every runtime refuses. "
    names = ", ".join(f"`{output.name}`" for output in outputs)
    computes = f" It takes one clip at a time and computes {_precision(artifact, manifest)}." if coreml else ""
    return (
        f"`{name}` is fed `{tensor.name}` {_axes(tensor.axes)}, float32, {tensor.axes[-1]}: {size}. "
        f"{tensor.description}. {fewer}It gives {names}.{computes}"
    )


def _precision(artifact: Artifact, manifest: Manifest) -> str:
    """In words: what is fed the front end's result has no front end of its own."""
    if artifact.precision == "mixed" and artifact.input == manifest.input.name:
        return "its front end in float32 and the rest in float16"
    return "in float32" if artifact.precision == "fp32" else "in float16"


def _fill(name: str, manifest: Manifest) -> dict[str, object]:
    artifact = manifest.artifacts[name]
    tensor, outputs = manifest.fed_by(artifact.input)
    shape = tensor.shape(1, artifact.size or tensor.default)
    kind = next(output.kind for output in outputs if output.name == manifest.scores)
    return {
        "file": name,
        "resource": name.removesuffix(".mlpackage"),
        "shape": ", ".join(map(str, shape)),
        "count": prod(shape),
        "input": tensor.name,
        "about": tensor.description,
        "names": ", ".join(output.name for output in outputs),
        "scores": manifest.scores,
        "probabilities": f"1 / (1 + np.exp(-{manifest.scores}))" if kind == "logit" else manifest.scores,
    }


def _axes(axes: tuple[str | int, ...]) -> str:
    return "(" + ", ".join(map(str, axes)) + ")"
