"""Whether a .onnx file is what it should be, before anything runs: form, names, dtypes, axes, metadata."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx

from recipes.base.errors import UserError
from recipes.base.facts import from_strings, scores_faults
from recipes.base.tensor import Input, Output
from validators.onnx_tensors import content, reads_other_files
from validators.results import Check, judged

_FLOAT = onnx.TensorProto.FLOAT


def check_onnx_file(path: Path, tensor: Input, outputs: tuple[Output, ...], opset: int) -> list[Check]:
    """One check a property; a failed one says what was found and what was expected."""
    try:
        model = onnx.load_from_string(content(path))
    except Exception as error:  # protobuf has its own errors
        return [judged(path.name, "fp32", "file", iter([f"is no ONNX model, or only a part of one: {error}"]))]
    return [
        judged(path.name, "fp32", "file", _form_faults(path, model, opset)),
        judged(path.name, "fp32", "names", _name_faults(model, tensor, outputs)),
        judged(path.name, "fp32", "dtype", _dtype_faults(model)),
        judged(path.name, "fp32", "axes", _axis_faults(model, tensor, outputs)),
        judged(path.name, "fp32", "metadata", _metadata_faults(path, model, outputs)),
    ]


def _form_faults(path: Path, model: onnx.ModelProto, opset: int) -> Iterator[str]:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # ValidationError, InferenceError, and plain ones of what it does not foresee
        yield f"onnx.checker: {str(error).strip().splitlines()[0]}"
    found = {entry.domain: entry.version for entry in model.opset_import}
    if found != {"": opset}:
        yield f"opset is {found}, expected {opset} of the standard domain alone"
    if reads_other_files(model):
        yield "weights lie outside the file"
    if model.graph.value_info:
        yield "holds notes on inner shapes, with which tract refuses concrete input shapes"


def _name_faults(model: onnx.ModelProto, tensor: Input, outputs: tuple[Output, ...]) -> Iterator[str]:
    for found, expected, what in (
        ([value.name for value in model.graph.input], list(tensor.fed()), "inputs"),
        ([value.name for value in model.graph.output], list(tensor.given(outputs)), "outputs"),
    ):
        if found != expected:
            yield f"{what} are {found}, expected {expected}"


def _dtype_faults(model: onnx.ModelProto) -> Iterator[str]:
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type != _FLOAT:
            yield f"{value.name} is not float32"


def _axis_faults(model: onnx.ModelProto, tensor: Input, outputs: tuple[Output, ...]) -> Iterator[str]:
    expected = tensor.given(outputs) | tensor.fed()
    for value in (*model.graph.input, *model.graph.output):
        axes = tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
        if value.name in expected and axes != expected[value.name]:
            yield f"{value.name} has axes {axes}, expected {expected[value.name]}"


def _metadata_faults(path: Path, model: onnx.ModelProto, outputs: tuple[Output, ...]) -> Iterator[str]:
    for key, count in Counter(item.key for item in model.metadata_props).items():
        if count > 1:
            yield f"the key {key} stands {count} times"
    try:
        facts = from_strings({item.key: item.value for item in model.metadata_props}, path.name)
        yield from scores_faults(facts, {output.name: output.axes[-1] for output in outputs})
    except UserError as error:
        yield str(error)
    if any(node.metadata_props or node.doc_string for node in model.graph.node):
        yield "nodes carry the exporter's notes (paths and stack traces of the machine that made it)"
