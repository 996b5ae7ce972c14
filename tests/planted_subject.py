"""A right model in both formats, and whether a fault that is planted into it is found exactly.

`python -m tests.planted_subject FOLDER...` prints the table of docs/bisect.md, for folders that `convert recipe NAME
--weights synthetic --to coreml --precision fp32` made.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from recipes.base.quiet import quiet
from recipes.base.sound import rich
from validators.divergence import Divergence, diverged
from validators.traces import Trace
from validators.traces.onnx import trace_model

with quiet("coremltools"):
    from tests import planted, planted_coreml, planted_net, planted_onnx
    from validators.traces.coreml import trace_float32, trace_stored

FORMATS = ("onnx", "coreml")


@dataclass
class Subject:
    """A right model: in ONNX with its trace, which all is held to, and as a Core ML package."""

    model: onnx.ModelProto
    right: Trace
    program: Any
    own: Trace
    fed: dict[str, np.ndarray]

    def places(self, form: str, fault: str) -> list[str]:
        if form == "onnx":
            return planted_onnx.places(self.model, self.right, fault)
        return planted_coreml.places(self.program, self.own, fault)

    def found(self, form: str, fault: str, place: str, folder: Path) -> tuple[Divergence, tuple[str, ...]]:
        """What is said of the model with the fault, and the results of the ops that have it."""
        if form == "onnx":
            model, at = planted_onnx.plant(self.model, self.right, fault, place)
            fed = dict(zip(self.right.inputs, self.fed.values(), strict=True))
            return diverged(self.right, trace_model(model, fed, "B")), at
        program, at = planted_coreml.plant(self.program, self.own, fault, place)
        path = program.save(folder / f"{fault} at {place}.mlpackage".replace(" ", "-"))
        return diverged(self.right, trace_stored(path, self.fed)), at


def subject(model: Path, package: Path, array: np.ndarray) -> Subject:
    right = onnx.load(str(model))
    program = planted_coreml.open_program(package)
    (name,) = (feature.name for feature in program.spec.description.input)
    fed = {name: array}
    (other,) = (value.name for value in right.graph.input)
    return Subject(right, trace_model(right, {other: array}, "A"), program, trace_float32(package, fed), fed)


def located(subject: Subject, form: str, fault: str, folder: Path) -> dict[str, bool]:
    """Whether the fault is found exactly, for each part of the graph where it can be."""
    told = {}
    for part, place in planted.spread(subject.places(form, fault)).items():
        found, at = subject.found(form, fault, place, folder)
        told[part] = found.culprit is not None and bool(set(found.culprit.outputs) & set(at))
    return told


def of_net(folder: Path) -> Subject:
    """The small net."""
    with quiet("coremltools"):
        package = planted_net.write_coreml(folder / "net.mlpackage")
    return subject(planted_net.write_onnx(folder / "net.onnx"), package, planted_net.X)


def of_made(folder: Path) -> Subject:
    """A folder that `convert recipe` made, fed a second of sound, or as much as it takes."""
    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    *others, last = (dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim)
    sound = rich(last or 32000, 32000).reshape((*(size or 1 for size in others), -1))
    return subject(folder / "model.onnx", folder / "model.mlpackage", sound)


def table(subjects: dict[str, Callable[[], Subject]]) -> str:
    """Markdown: a row a fault, a column a model and format, each cell how many of how many were found."""
    columns: dict[str, dict[str, list[bool]]] = {}
    for name, make in subjects.items():
        one = make()
        for form in FORMATS:
            with TemporaryDirectory() as folder:
                told = {fault: located(one, form, fault, Path(folder)) for fault in planted.FAULTS}
            columns[f"{name}, {form}"] = {fault: list(parts.values()) for fault, parts in told.items()}
    lines = [["fault", *columns], ["---"] * (len(columns) + 1)]
    lines += [[fault, *(_cell(column[fault]) for column in columns.values())] for fault in planted.FAULTS]
    lines.append(
        ["all", *(_cell([part for parts in column.values() for part in parts]) for column in columns.values())]
    )
    whole = [part for column in columns.values() for parts in column.values() for part in parts]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{rows}\n\n{sum(whole)} of {len(whole)} faults, {sum(whole) / len(whole):.1%}, are found exactly."


def _cell(found: list[bool]) -> str:
    return f"{sum(found)}/{len(found)}" if found else ""


if __name__ == "__main__":
    with TemporaryDirectory() as own:
        made = {Path(path).name: (lambda path=path: of_made(Path(path))) for path in sys.argv[1:]}
        sys.stdout.write(table({**made, "small net": lambda: of_net(Path(own))}) + "\n")
