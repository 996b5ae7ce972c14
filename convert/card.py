"""README.md of a made folder: a model card with a code sample for each runtime."""

from convert.manifest import Manifest

_WEIGHTS = {
    "published": "the published weights",
    "custom": "a checkpoint of the user's own",
    "synthetic": "**synthetic weights**: the published architecture without any training; it recognises nothing",
}

_ONNX = """## Python, ONNX Runtime

```python
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
waveform = np.zeros((1, {samples}), np.float32)  # mono, {sample_rate} Hz, full scale is 1
{names} = session.run(None, {{"{input}": waveform}})
```

## Rust, tract

```rust
use tract_onnx::prelude::*;

let plan = tract_onnx::onnx()
    .model_for_path("model.onnx")?
    .with_input_fact(0, f32::fact([1, {samples}]).into())?
    .into_optimized()?
    .into_runnable()?;
let waveform = Tensor::from_shape(&[1, {samples}], &vec![0f32; {samples}])?;
let outputs = plan.run(tvec!(waveform.into()))?; // in the order of the table above
```
"""

_COREML = """## Swift, Core ML

```swift
import CoreML

let compiled = try await MLModel.compileModel(at: URL(fileURLWithPath: "model.mlpackage"))
let model = try MLModel(contentsOf: compiled)
let waveform = try MLMultiArray(shape: [1, {samples}], dataType: .float32) // mono, {sample_rate} Hz, full scale is 1
let input = try MLDictionaryFeatureProvider(dictionary: ["{input}": waveform])
let {scores} = try model.prediction(from: input).featureValue(for: "{scores}")?.multiArrayValue
```
"""


def card(manifest: Manifest) -> str:
    """The text; it depends on the manifest alone."""
    tensor = manifest.input
    coreml = manifest.artifacts.get("model.mlpackage")
    samples = (coreml and coreml.size) or tensor.default
    fill = {
        "samples": samples,
        "sample_rate": manifest.sample_rate,
        "input": tensor.name,
        "names": ", ".join(output.name for output in manifest.outputs),
        "scores": manifest.scores,
    }
    rows = "\n".join(
        f"| `{output.name}` | {_axes(output.axes)} | {output.description} |" for output in manifest.outputs
    )
    parts = [
        f"# {manifest.title}",
        f"Made from {_WEIGHTS[manifest.weights]} (`{manifest.checkpoint_file}`, SHA-256 "
        f"`{manifest.checkpoint_sha256}`) by `{manifest.command}`. Licence of the weights: {manifest.licence}.",
        f"Input `{tensor.name}` {_axes(tensor.axes)}, float32, at least {tensor.least} samples: "
        f"{tensor.description}.",
        f"| output | axes | what it is |\n|---|---|---|\n{rows}",
        "`labels.json` names the classes in order. `reference.json` holds the answers of the PyTorch model to the "
        "sounds in `reference/`; `manifest.json` lists every file with its checksum, and how each was checked. "
        "`convert check .` checks it all again.",
        _ONNX.format(**fill).strip(),
    ]
    if coreml is not None:
        length = (
            f"exactly {coreml.size} samples"
            if coreml.size
            else f"{tensor.least} to {tensor.most} samples"
        )
        parts.append(_COREML.format(**fill).strip())
        parts.append(f"The package takes one clip of {length} and computes in {coreml.precision}.")
    return "\n\n".join(parts) + "\n"


def _axes(axes: tuple[str | int, ...]) -> str:
    return "(" + ", ".join(map(str, axes)) + ")"
