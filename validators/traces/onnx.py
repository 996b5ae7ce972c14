"""An ONNX model with all its intermediate values, as ONNX Runtime computes them node by node.

The values are those of the nodes as the file has them: graph optimisation is off, and every result that is an array is
made an output. What the branches of an If or the body of a Loop compute inside belongs to that one op.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from validators.onnx_tensors import content, reads_other_files
from validators.runners.runner import RunnerError, shortened
from validators.traces.parameters import Parameter, told
from validators.traces.trace import Op, Trace, unreached

_KINDS = "biuf"
_BIASED = ("Conv", "ConvTranspose", "DeformConv", "BatchNormalization", "InstanceNormalization", "LayerNormalization")
_BIASES = {("Gemm", "C"), *((kind, "B") for kind in _BIASED)}


def trace_file(path: Path, inputs: Mapping[str, np.ndarray]) -> Trace:
    """Run a .onnx file; RunnerError where ONNX Runtime refuses it, or where it leads to other files."""
    try:
        model = onnx.load_from_string(content(path))
        outside = reads_other_files(model)
    except Exception as error:  # protobuf has its own errors
        raise RunnerError(f"onnxruntime cannot load it: {shortened(error)}") from error
    if outside:
        raise RunnerError("onnxruntime: its weights lie in other files, which are not read")
    return trace_model(model, inputs, path.name)


def trace_model(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], source: str) -> Trace:
    """Run a model and keep what each node gives; RunnerError where ONNX Runtime refuses it or the inputs."""
    nodes = list(model.graph.node)
    made = [name for node in nodes for name in node.output if name]
    try:
        session = _session(_open(model, made))
    except RunnerError:
        # A result that is no tensor, a sequence or a map, cannot be an output of every type.
        made = [name for name in made if name in _tensors(model)]
        session = _session(_open(model, made))
    try:
        results = dict(zip(made, session.run(made, dict(inputs)), strict=True))
    except Exception as error:  # onnxruntime has one exception class a status code and no common base
        raise RunnerError(f"onnxruntime: {shortened(error)}") from error
    held = {name: value for name, value in results.items() if _array(value)}
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    weights = {name: value for name, value in weights.items() if _array(value)}
    fed = {name: np.asarray(value) for name, value in inputs.items()}
    bare = [
        Op(name, node.op_type, tuple(filter(None, node.input)), tuple(filter(None, node.output)))
        for node, name in zip(nodes, _unique(nodes), strict=True)
    ]
    fixed = unreached(bare, set(fed))
    constants = weights | {name: value for name, value in held.items() if name in fixed}
    ops = [
        replace(op, parameters=_parameters(node, constants, model))
        for op, node in zip(bare, nodes, strict=True)
        if not set(op.outputs) <= fixed
    ]
    return Trace(
        source=source,
        runtime="onnxruntime",
        inputs=tuple(fed),
        outputs=tuple(value.name for value in model.graph.output),
        ops=tuple(ops),
        values=fed | {name: value for name, value in held.items() if name not in fixed},
        constants=constants,
    )


def _open(model: onnx.ModelProto, names: list[str]) -> bytes:
    """The model with these results as outputs; ONNX Runtime finds their types itself."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    given = {value.name for value in opened.graph.output}
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in given)
    return opened.SerializeToString()


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.log_severity_level = 4  # What it would log of an error, it raises as well.
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RunnerError(f"onnxruntime cannot load it: {shortened(error)}") from error


def _tensors(model: onnx.ModelProto) -> set[str]:
    """Results of which the checker can tell that they are tensors."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # of inference, of protobuf
        raise RunnerError(f"onnx cannot tell the types of its values: {shortened(error)}") from error
    known = (*inferred.graph.value_info, *inferred.graph.output)
    return {value.name for value in known if value.type.HasField("tensor_type")}


def _array(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in _KINDS


def _unique(nodes: list[onnx.NodeProto]) -> Iterator[str]:
    seen: set[str] = set()
    for place, node in enumerate(nodes):
        name = node.name or next(filter(None, node.output), "") or f"{node.op_type}_{place}"
        while name in seen:
            name = f"{name}_{place}"
        seen.add(name)
        yield name


def _parameters(
    node: onnx.NodeProto, constants: Mapping[str, np.ndarray], model: onnx.ModelProto
) -> dict[str, Parameter]:
    """Attributes, and inputs that are constants of a few numbers."""
    parameters = {attribute.name: _attribute(attribute) for attribute in node.attribute}
    for role, fed in zip(_roles(node, model), node.input, strict=False):
        if fed in constants and (value := told(constants[fed])) is not None:
            parameters[role] = value
    return parameters


def _attribute(attribute: onnx.AttributeProto) -> Parameter:
    if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
        return "a graph"
    return _value(onnx.helper.get_attribute_value(attribute))


def _value(value: object) -> Parameter:
    if isinstance(value, onnx.TensorProto):
        held = told(numpy_helper.to_array(value))
        return f"a tensor {list(value.dims)}" if held is None else held
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (list, tuple)):
        return [_value(one) for one in value]
    return value if isinstance(value, (int, float)) else str(value)


def _roles(node: onnx.NodeProto, model: onnx.ModelProto) -> list[str]:
    """What the operator's inputs are called in its definition; by number where that is not known.

    A letter alone tells nobody anything, least of all a B: that is a model.
    """
    version = next((entry.version for entry in model.opset_import if entry.domain == node.domain), 1)
    try:
        formal = [one.name for one in onnx.defs.get_schema(node.op_type, version, node.domain).inputs]
    except onnx.defs.SchemaError:
        formal = []
    named = [_role(node.op_type, name) for name in formal[: len(node.input)]]
    return [*named, *(f"input {place}" for place in range(len(named), len(node.input)))]


def _role(kind: str, name: str) -> str:
    if len(name) > 1:
        return name
    return f"bias (input {name})" if (kind, name) in _BIASES else f"input {name}"
