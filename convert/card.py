"""README.md of a made folder: a model card with a code sample for each runtime."""

from math import prod
from pathlib import PurePath

from convert.manifest import Artifact, Manifest
from convert.targets import named
from recipes.base.shown import shown
from recipes.base.tensor import Stream

_WEIGHTS = {
    "published": "the published weights",
    "custom": "a checkpoint of the user's own",
    "synthetic": "**synthetic weights**: the published architecture without any training; it recognises nothing",
}


# Of scores, in Python and NumPy.
_PROBABILITIES = {
    "logit": "1 / (1 + np.exp(-{0}))",
    "multiclass_logit": "np.exp({0}) / np.exp({0}).sum(axis=-1, keepdims=True)",
}
_RANKING = """probabilities = {}
labels = [label["name"] for label in json.load(open("labels.json", encoding="utf-8"))]
best = [labels[index] for index in np.argsort(-probabilities[0])[:3]]
"""


def card(manifest: Manifest, front_end: str | None = None) -> str:
    """The text; `front_end` is a program that computes the front end from the data in `frontend/`."""
    given = {output.name for artifact in manifest.artifacts.values() for output in manifest.fed_by(artifact.input)[1]}
    rows = "\n".join(
        f"| `{output.name}` | {_axes(output.axes)} | {output.description} |"
        for output in manifest.outputs
        if output.name in given
    )
    programs = any(named(artifact.format).code for artifact in manifest.artifacts.values())
    labels = "" if manifest.weights == "computed" else "`labels.json` names the classes in order. "
    parts = [
        f"# {manifest.title}",
        _origin(manifest),
        *(_artifact(name, artifact, manifest) for name, artifact in manifest.artifacts.items()),
        f"| output | axes | what it is |\n|---|---|---|\n{rows}",
        f"{labels}`reference.json` holds the answers of the PyTorch model to the "
        "sounds in `reference/`; `manifest.json` lists every file with its checksum, and how each was checked. "
        f"`convert check{' --run-code' if programs else ''} .` checks it all again.",
    ]
    for name, artifact in manifest.artifacts.items():
        target = named(artifact.format)
        if manifest.fed_by(artifact.input)[0].stream:
            text = target.remembering(artifact.settings) or target.streaming
        else:
            text = target.sample if isinstance(target.sample, str) else target.sample(name)
        parts.append(text.format(**fill(name, manifest)).strip())
    if front_end is not None:
        parts.append("## The front end in NumPy")
        parts.append("`frontend/` holds its window, mel matrix and numbers, for hosts that compute it themselves, and:")
        parts.append(f"```python\n{front_end.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def _origin(manifest: Manifest) -> str:
    """What it was made from."""
    command = _code(manifest.command)
    if manifest.weights == "computed":
        numbers = ", ".join(f"{name} {value}" for name, value in manifest.numbers.items() if value is not None)
        return (
            f"Computed from its numbers alone, without weights, by {command}. They are: {numbers}. SHA-256 of these: "
            f"`{manifest.checkpoint_sha256}`. Licence: {manifest.licence}."
        )
    return (
        f"Made from {_WEIGHTS[manifest.weights]} ({_code(manifest.checkpoint_file)}, SHA-256 "
        f"`{manifest.checkpoint_sha256}`) by {command}. Licence of the weights: {manifest.licence}."
    )


def _artifact(name: str, artifact: Artifact, manifest: Manifest) -> str:
    target = named(artifact.format)
    tensor, outputs = manifest.fed_by(artifact.input)
    free = f"{tensor.least} to {tensor.most}" if target.bounded else f"{tensor.least} or more"
    size = free if artifact.size is None else f"exactly {artifact.size}"
    fewer = "" if artifact.size else "Given fewer, the answer means nothing, and not every runtime refuses. "
    names = ", ".join(f"`{output.name}`" for output in outputs)
    remarks = target.remarks(artifact, manifest)
    remembers = bool(target.remembering(artifact.settings))
    stream = f" {_stream(tensor.stream, manifest.sample_rate, remembers)}" if tensor.stream else ""
    return (
        f"`{name}` is fed `{tensor.name}` {_axes(tensor.axes)}, float32, {tensor.axes[-1]}: {size}. "
        f"{tensor.description}. {fewer}It gives {names}.{stream}{' ' if remarks else ''}{remarks}"
    )


def _stream(stream: Stream, sample_rate: int, remembers: bool) -> str:
    """How chunks are fed, and how late frames are; `remembers`: the file keeps its state itself."""
    frames = "one frame" if stream.frames == 1 else f"{stream.frames} frames"
    call = (
        f"A call gives {frames}, and keeps what the next one needs, in a state that the host makes for a sound."
        if remembers
        else f"A call also takes `{stream.state}` (batch, {stream.size}), and gives {frames} and the "
        f"`{stream.next_state}` that the next call takes."
    )
    return (
        f"{call} `frontend/streaming.py` cuts sound into chunks, and knows the first state, what is "
        "put before and behind the sound, and which frames count: all of them together are those of the whole sound. "
        f"Latency: {1000 * stream.latency / sample_rate:.4g} ms at most from the middle of a frame's window until it "
        "is given."
    )


def fill(name: str, manifest: Manifest) -> dict[str, object]:
    """What a target's sample may name in braces.

    `shape`, `sizes` (without blanks), `count` and `length`, the last axis, are those of an input as it may be, `names`
    all outputs and `quoted` the same as strings, `shown` the one that ranks the classes or, where the file does not
    give it, the first; `ranking` are lines of Python and NumPy that name the best classes by the `outputs` and
    `imports` what they import, both empty there; `stem` is the file's name without ending and `variant` the model's;
    `SHOWN` and `VARIANT` are the same in capitals. Of a file that is fed chunks there are `state_in`, `state_out`,
    `state_size` and `before`, how many chunks hold a state.
    """
    artifact = manifest.artifacts[name]
    tensor, outputs = manifest.fed_by(artifact.input)
    shape = tensor.shape(1, artifact.size or tensor.default)
    ranked = next((output for output in outputs if output.name == manifest.scores), None)
    scores = f'outputs["{ranked.name}"]' if ranked else ""
    stream = tensor.stream
    streamed = stream and {
        "state_in": stream.state,
        "state_out": stream.next_state,
        "state_size": stream.size,
        "before": -(-stream.size // stream.chunk),
    }
    return {
        **(streamed or {}),
        "file": name,
        "stem": PurePath(name).stem,
        "variant": manifest.variant,
        "VARIANT": manifest.variant.upper(),
        "shape": ", ".join(map(str, shape)),
        "sizes": ",".join(map(str, shape)),
        "length": shape[-1],
        "count": prod(shape),
        "input": tensor.name,
        "about": tensor.description,
        "names": ", ".join(output.name for output in outputs),
        "quoted": ", ".join(f'"{output.name}"' for output in outputs),
        "shown": (ranked or outputs[0]).name,
        "SHOWN": (ranked or outputs[0]).name.upper(),
        "imports": "import json\n" if ranked else "",
        "ranking": _RANKING.format(_PROBABILITIES.get(ranked.kind, "{0}").format(scores)) if ranked else "",
    }


def _code(text: str) -> str:
    """A file may be called anything, and Markdown would end the code at a backtick."""
    plain = shown(text).replace("`", "'")
    return f"`{plain}`"


def _axes(axes: tuple[str | int, ...]) -> str:
    return "(" + ", ".join(map(str, axes)) + ")"
