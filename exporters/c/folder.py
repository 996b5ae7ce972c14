"""The folder of C. All of it follows from a `model.onnx` alone, so that it can be told from a stranger's."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from math import prod
from pathlib import Path

import onnx

from exporters.c import source
from exporters.c.program import Program, UnsupportedError
from exporters.c.translate import program_of
from recipes.base.errors import UserError
from recipes.base.facts import Facts, from_strings

# An input without a bound of its own: what a 32-bit size can count.
MOST = 2**31 - 1
# What the program moves over a long sound unless it is told otherwise, and where the memory is stated.
_SECONDS = 10

_KINDS = {"probability": 0, "logit": 1, "multiclass_logit": 2}
_TEMPLATES = ("tag.c", "sound.h", "weights.S", "CMakeLists.txt")


def contents(model: onnx.ModelProto, origin: str) -> dict[str, bytes]:
    """Each file by its path in the folder, for a model as `exporters.onnx` writes it, called `origin` in messages.

    Raises UserError for a graph that has no C here.
    """
    facts = from_strings({prop.key: prop.value for prop in model.metadata_props}, origin)
    name = re.sub(r"[^a-z0-9_]", "_", facts.variant.lower())
    if not name[:1].isalpha():
        name = f"model_{name}"
    tensor = model.graph.input[0]
    fixed = tensor.type.tensor_type.shape.dim[-1].dim_value
    rows = [dim.dim_value for dim in tensor.type.tensor_type.shape.dim][1:-1]
    sound = set(rows) <= {1}
    default = fixed or max(facts.least_size, _SECONDS * facts.sample_rate if sound else facts.least_size)
    least, most = (fixed, fixed) if fixed else (facts.least_size, MOST)
    try:
        program, input_, outputs = program_of(model, default, least)
    except UnsupportedError as error:
        raise UserError(f"{origin}: has no form in C: {error}; make it without --to c") from None
    weights = program.blob()
    constants = {
        "SAMPLE_RATE": facts.sample_rate if sound else 0,
        "ROWS": prod(rows),
        "LEAST": least,
        "DEFAULT": default,
        "MOST": most,
        "AXES": max(len(view.shape) for view in outputs.values()),
        "CLASSES": len(facts.labels),
        "SCORES": list(outputs).index(facts.scores) if facts.scores in outputs else -1,
        "KIND": _KINDS[facts.scores_kind or "probability"],
        "WEIGHTS": weights.size,
    }
    about = source.comment(f"{model.doc_string} Licence of the weights: {facts.license}.")
    described = {output.name: source.comment(f"{_axes(output)}: {output.doc_string}") for output in model.graph.output}
    fed = source.comment(f"Computes the outputs for {_axes(tensor)}, {tensor.name}: {tensor.doc_string}.")
    header = source.header(name, constants, _peak(facts), about, fed, described)
    found = {
        "model.h": header,
        "model.c": source.source(program, name, input_, outputs, least, most),
        "labels.c": _labels(name, facts.labels),
        "model.json": _described(model, facts),
        "README.md": _text("README.md").format(
            title=source.comment(facts.variant), memory=_memory(program, default, facts, sound)
        ),
    }
    for template in _TEMPLATES:
        found[template] = _named(_text(template), name, weights.nbytes)
    kernels = files(__package__) / "kernels"
    for file in sorted(kernels.iterdir(), key=lambda file: file.name):
        if file.name.endswith((".c", ".h")):
            found[f"kernels/{file.name}"] = file.read_text(encoding="utf-8")
    return {path: text.encode() for path, text in found.items()} | {"weights.bin": weights.astype("<f4").tobytes()}


def write(folder: Path, model: onnx.ModelProto, origin: str) -> None:
    """All files into a new folder; raises what `contents` does."""
    found = contents(model, origin)
    (folder / "kernels").mkdir(parents=True)
    for path, content in found.items():
        (folder / path).write_bytes(content)


def _text(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _named(template: str, name: str, weights: int) -> str:
    """A template, which is C as it stands, with the model's own names."""
    text = re.sub(r"\bMODEL_BYTES\b", str(weights), template)
    text = re.sub(r"\bMODEL_", f"{name.upper()}_", text)
    return re.sub(r"\b(_?)model_(?=run|memory|shape|labels|weights)", rf"\g<1>{name}_", text)


def _peak(facts: Facts) -> str | None:
    return None if facts.peak is None else f"{facts.peak!r}f"


def _labels(name: str, labels: tuple[str, ...]) -> str:
    if not labels:
        return "/* There are no classes. */\ntypedef int no_classes;\n"
    lines = "\n".join(f"    {_string(label)}," for label in labels)
    return f'#include "model.h"\n\nconst char *const {name}_labels[{name.upper()}_CLASSES] = {{\n{lines}\n}};\n'


def _string(text: str) -> str:
    """In C: UTF-8, with whatever is no plain letter or sign as three octal digits, which end by themselves."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{plain}"'


def _axes(value: onnx.ValueInfoProto) -> str:
    # One clip at a time.
    sizes = ["1", *(dim.dim_param or str(dim.dim_value) for dim in value.type.tensor_type.shape.dim[1:])]
    return f"({', '.join(sizes)})"


def _described(model: onnx.ModelProto, facts: Facts) -> str:
    """For programs: what is fed and given, and the facts, as `model.onnx` has them."""

    def port(value: onnx.ValueInfoProto) -> dict[str, object]:
        dims = value.type.tensor_type.shape.dim
        return {"name": value.name, "axes": [1, *(dim.dim_param or dim.dim_value for dim in dims[1:])]}

    described = {
        "inputs": [port(value) for value in model.graph.input],
        "outputs": [port(value) for value in model.graph.output],
        "metadata": facts.to_strings(),
    }
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def _memory(program: Program, default: int, facts: Facts, sound: bool) -> str:
    bytes_ = source.memory(program)
    what = f"{default / facts.sample_rate:g} s of sound" if sound else f"{default} steps"
    return f"Beside the weights a run needs {bytes_ / 1e6:.1f} MB of memory for {what}."
