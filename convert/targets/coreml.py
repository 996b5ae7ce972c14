"""Core ML: an ML program for iOS 16 or, fed chunks, 18; run by the executor everywhere, by Apple's runtime on macOS."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from convert.targets.target import SECONDS, Job, Option, Product, Settings, Target, refuse_seconds
from recipes.base.errors import UserError
from validators.runners.runtime import Runtime, needs_macos

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from convert.manifest import Artifact, Manifest
    from recipes.base.spec import Variant
    from recipes.base.tensor import Input, Output, Precision
    from validators.coreml.hazards import Hazard
    from validators.coreml.rules import Breach
    from validators.results import Check
    from validators.values import Case

_SAMPLE = """## `{file}` in Swift, Core ML

```swift
import CoreML

func prediction(of input: MLMultiArray, by model: MLModel) throws -> MLMultiArray? {{
    let features = try MLDictionaryFeatureProvider(dictionary: ["{input}": input])
    return try model.prediction(from: features).featureValue(for: "{shown}")?.multiArrayValue
}}

// Xcode compiles a package of the app's to .mlmodelc; {about}.
let url = Bundle.main.url(forResource: "{stem}", withExtension: "mlmodelc")!
let model = try MLModel(contentsOf: url)
let input = try MLMultiArray(shape: [{shape}], dataType: .float32)
let answer = try prediction(of: input, by: model)
```
"""

_STREAMING = """## `{file}` in Swift, Core ML

`frontend/streaming.py` has what is done around it, in NumPy.

```swift
import CoreML

typealias Answer = (frames: MLMultiArray?, state: MLMultiArray?)

func prediction(of input: MLMultiArray, after state: MLMultiArray, by model: MLModel) throws -> Answer {{
    let features = try MLDictionaryFeatureProvider(dictionary: ["{input}": input, "{state_in}": state])
    let answer = try model.prediction(from: features)
    return (
        answer.featureValue(for: "{shown}")?.multiArrayValue, answer.featureValue(for: "{state_out}")?.multiArrayValue
    )
}}

// Xcode compiles a package of the app's to .mlmodelc; {about}.
let url = Bundle.main.url(forResource: "{stem}", withExtension: "mlmodelc")!
let model = try MLModel(contentsOf: url)
let input = try MLMultiArray(shape: [{shape}], dataType: .float32)
let state = try MLMultiArray(shape: [1, {state_size}], dataType: .float32)
let answer = try prediction(of: input, after: state, by: model)
```
"""

_REMEMBERING = """## `{file}` in Swift, Core ML, iOS 18

`frontend/streaming.py` has what is done around it, in NumPy.

```swift
import CoreML

func prediction(of input: MLMultiArray, in state: MLState, by model: MLModel) throws -> MLMultiArray? {{
    let features = try MLDictionaryFeatureProvider(dictionary: ["{input}": input])
    return try model.prediction(from: features, using: state).featureValue(for: "{shown}")?.multiArrayValue
}}

// Xcode compiles a package of the app's to .mlmodelc; {about}.
let url = Bundle.main.url(forResource: "{stem}", withExtension: "mlmodelc")!
let model = try MLModel(contentsOf: url)
let state = model.makeState()
// The {state_size} samples before the first chunk go in before it, behind zeros that fill {before} x {length}.
// What that gives is dropped.
for _ in 0..<{before} {{
    let before = try MLMultiArray(shape: [{shape}], dataType: .float32)
    _ = try prediction(of: before, in: state, by: model)
}}
let input = try MLMultiArray(shape: [{shape}], dataType: .float32)
let answer = try prediction(of: input, in: state, by: model)
```
"""

_FP16 = (
    "--precision fp16 computes the front end in float16 too, where loud sound overflows, faint sound may vanish and "
    "the melspec is coarse; use --precision mixed unless the checks pass on your sounds"
)

# From the fastest to the most exact.
_PRECISIONS = ("fp16", "mixed", "fp32")

_RUNNER = "validators.runners.coreml"
_TRACER = "validators.traces.coreml"

# Other formats may hold such a package.
PRECISION = Option(
    "precision", _PRECISIONS[::-1], "Of what it computes; mixed keeps the front end in float32.", default="mixed"
)
FLOAT32_OP = Option(
    "float32_op",
    str,
    "Keep this operation in float32 too; repeat for more. `convert bisect FOLDER --suggest` finds those that matter.",
    default=(),
    repeat=True,
)
# A file that needs no more than iOS 16 runs on 18 as it is.
IOS = Option(
    "ios",
    ("16", "18"),
    "With --streaming: what the file of chunks runs on. On 18 it keeps the state itself, as one of Core ML's own.",
    default="16",
    streaming=True,
)


def refuse(settings: Settings, variant: Variant) -> None:
    refuse_seconds(settings, variant)
    if settings[FLOAT32_OP.name] and settings[PRECISION.name] == "fp32":
        raise UserError(f"{FLOAT32_OP.flag}: --precision fp32 has all operations in float32; leave one of them out")


def make(job: Job) -> Product:
    """The package, and how each pad of it is written."""
    from convert.manifest import Artifact

    branch, variant = job.branch, job.branch.variant
    chosen = {name: value for name, value in job.settings.items() if variant.input.stream or name != IOS.name}
    precision, seconds = cast("Precision", job.settings["precision"]), cast("float | None", job.settings["seconds"])
    name = f"{branch.stem}.mlpackage"
    size = variant.input.default if variant.input.fixed else None
    if seconds is not None:
        size = branch.size(round(seconds * variant.sample_rate))
    with job.step("Core ML"):
        # Seconds to import, and needed only here.
        from exporters.coreml.convert import convert
        from exporters.coreml.package import save
        from exporters.coreml.states import alone

        float32_ops = cast("tuple[str, ...]", job.settings[FLOAT32_OP.name])
        own_state = _keeps_state(chosen)
        converted = convert(
            job.lowered, variant, precision=precision, size=size, float32_ops=float32_ops, own_state=own_state
        )
        saved = alone(variant) if own_state else variant
        save(converted.model, job.folder / name, saved, branch.facts, precision)
    return Product(
        {name: Artifact(TARGET.name, variant.input.name, precision, size, chosen)},
        notes=tuple(
            f"pad {pad.node}: {pad.mode} {pad.amounts or ''} by {pad.handler}: {pad.why}" for pad in converted.pads
        ),
        # What is fed the front end's result has no front end that float16 could break.
        warnings=(_FP16,) if precision == "fp16" and variant.coreml.float32_through else (),
    )


def check_file(path: Path, artifact: Artifact, tensor: Input, outputs: tuple[Output, ...]) -> list[Check]:
    from validators.coreml_file import check_coreml_file
    from validators.coreml_rules import check_coreml_rules

    keeps_state = _keeps_state(artifact.settings)
    checks = check_coreml_file(path, tensor, outputs, artifact.precision, artifact.size, keeps_state=keeps_state)
    return [*checks, check_coreml_rules(path, artifact.precision)]


def _keeps_state(settings: Settings) -> bool:
    return settings.get(IOS.name) == "18"


def broken_rules(path: Path) -> list[Breach]:
    from validators.coreml import CoreMLError
    from validators.coreml.rules import check_rules

    try:
        return list(check_rules(path))
    except CoreMLError as error:
        raise UserError(" ".join(str(error).split())) from None


def hazards_of(path: Path, cases: Sequence[Case]) -> list[Hazard]:
    from validators.coreml import CoreMLError
    from validators.coreml.hazards import hazards

    try:
        return hazards(path, cases)
    except CoreMLError as error:
        raise UserError(" ".join(str(error).split())) from None


def computing(artifact: Artifact, manifest: Manifest) -> str:
    """In which precision, in words."""
    words = {"fp32": "in float32", "mixed": "its front end in float32 and the rest in float16", "fp16": "in float16"}
    precision = artifact.precision
    if precision == "mixed":
        # What takes sound as it is has no front end, and what is fed its result none of its own; or it is all there is.
        if manifest.front_end in (None, artifact.input):
            precision = "fp16"
        elif manifest.weights == "computed":
            precision = "fp32"
    more = len(cast("tuple[str, ...]", artifact.settings[FLOAT32_OP.name]))
    return words[precision] + (f", but for {more} operation{'s' * (more > 1)} that stay float32" if more else "")


def remarks(artifact: Artifact, manifest: Manifest) -> str:
    return f"It takes one clip at a time and computes {computing(artifact, manifest)}."


def remedies(settings: Settings) -> tuple[Settings, ...]:
    """The same with the next more exact precision, and so on."""
    place = _PRECISIONS.index(cast(str, settings["precision"]))
    return tuple({**settings, "precision": precision} for precision in _PRECISIONS[place + 1 :])


TARGET = Target(
    name="coreml",
    title="Core ML",
    suffix=".mlpackage",
    packages=("coremltools",),
    runtimes=(
        Runtime("coreml", f"{_RUNNER}:open_native", needs_macos, needs=(_RUNNER,)),
        Runtime("executor", f"{_RUNNER}:open_stored", needs=(_RUNNER,), tracer=f"{_TRACER}:trace_stored"),
        Runtime(
            "executor-float32",
            f"{_RUNNER}:open_float32",
            needs=(_RUNNER,),
            tracer=f"{_TRACER}:trace_float32",
            unrounded=True,
        ),
    ),
    make=make,
    check_file=check_file,
    sample=_SAMPLE,
    options=(PRECISION, FLOAT32_OP, SECONDS, IOS),
    refuse=refuse,
    remarks=remarks,
    streaming=_STREAMING,
    remembering=lambda settings: _REMEMBERING if _keeps_state(settings) else "",
    bounded=True,
    remedies=remedies,
    search="convert bisect {} --suggest",
    rules=broken_rules,
    hazards=hazards_of,
)
