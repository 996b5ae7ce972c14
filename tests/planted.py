"""Faults that conversions make, planted into a right model at an op that is known, in ONNX and in Core ML.

A fault keeps all shapes wherever the graph would not run otherwise. Each planter gives the places, ops by the name of
their first result, at which its fault can be, and changes the model at one of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import coremltools as ct
import numpy as np
import onnx
from coremltools.proto import MIL_pb2
from onnx import helper, numpy_helper

from validators.traces import Trace

RANDOM = np.random.RandomState(7)
PARTS = ("first", "middle", "last")
# What float16 ends at, well within.
_OVER = 2.0**22


def spread(places: Sequence[str]) -> dict[str, str]:
    """The first, the middle and the last of them, each once."""
    chosen = {"first": 0, "middle": len(places) // 2, "last": len(places) - 1} if places else {}
    named: dict[str, str] = {}
    for part, place in chosen.items():
        if places[place] not in named.values():
            named[part] = places[place]
    return named


def weights_of(array: np.ndarray, fault: str) -> np.ndarray:
    """A weight as the fault leaves it, in its own shape; the first axis is that of what comes out."""
    if fault == "transposed weight":
        return np.ascontiguousarray(np.swapaxes(array, 0, 1)).reshape(array.shape)
    if fault == "stale constant":
        noise = np.random.RandomState(array.size % 1000).randn(*array.shape)
        return (array + 0.1 * array.std() * noise).astype(array.dtype)
    if fault == "fused norm":
        # Folded with 1e-3 where the variances were learned beside 1e-5.
        variances = np.random.RandomState(len(array)).uniform(0.005, 0.2, len(array))
        factor = np.sqrt((variances + 1e-5) / (variances + 1e-3)).astype(array.dtype)
        return array * factor.reshape(-1, *[1] * (array.ndim - 1))
    raise ValueError(fault)


WEIGHTS = ("transposed weight", "stale constant", "fused norm")
FAULTS = (
    "padding",
    "axis",
    "epsilon",
    *WEIGHTS,
    "swapped outputs",
    "wrong default",
    "float16 overflow",
    "dilated convolution",
    "ceil mode",
    "align corners",
    "asymmetric pad",
)


# ONNX


def onnx_places(model: onnx.ModelProto, trace: Trace, fault: str) -> list[str]:
    """Where the fault can be planted, in order of the graph."""
    shown = {name for op in trace.ops for name in op.outputs}
    return [node.output[0] for node in model.graph.node if node.output[0] in shown and _onnx_fits(node, trace, fault)]


def plant_onnx(model: onnx.ModelProto, trace: Trace, fault: str, place: str) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """A copy with the fault, and the results of the ops that it was planted at, which may be several."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    node = next(node for node in copy.graph.node if node.output[0] == place)
    return copy, _onnx_changed(copy, node, trace, fault)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _set(node: onnx.NodeProto, **values: Any) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in values]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in values.items())])


def _onnx_fits(node: onnx.NodeProto, trace: Trace, fault: str) -> bool:
    kind, has = node.op_type, _attributes(node)
    held = [trace.constants.get(name) for name in node.input]
    seen, gives = trace.values.get(node.input[0] if node.input else ""), trace.values.get(node.output[0])
    if gives is None or gives.dtype != np.float32:
        return False
    match fault:
        case "padding":
            return kind == "Pad" and has.get("mode") == b"reflect"
        case "axis":
            square = seen is not None and seen.ndim > 1 and len(set(seen.shape[-2:])) == 1
            return (kind == "Softmax" and square) or (kind == "Transpose" and _mixes(seen, has["perm"]))
        case "epsilon":
            into_log = any(op.kind == "Log" and node.output[0] in op.inputs for op in trace.ops)
            return "epsilon" in has or (kind in ("Add", "Clip") and into_log)
        case "transposed weight":
            return _is_weight(held, node) and min(held[_weight(node)].shape[:2]) > 1
        case "stale constant" | "fused norm":
            return _is_weight(held, node)
        case "swapped outputs":
            return len(trace.outputs) > 1 and node.output[0] == trace.outputs[0]
        case "wrong default":
            counted = kind == "AveragePool" and has.get("count_include_pad") == 1 and any(has.get("pads", []))
            return counted or kind == "HardSwish" or (kind == "LeakyRelu" and abs(has["alpha"] - 0.01) > 1e-3)
        case "float16 overflow":
            return kind in ("Conv", "Gemm", "MatMul", "Relu", "Mul")
        case "dilated convolution":
            return kind == "Conv" and max(has["kernel_shape"]) > 1 and any(has.get("pads", []))
        case "ceil mode":
            return kind in ("AveragePool", "MaxPool") and _ceiled(seen, has)
        case "align corners":
            return kind == "Resize"
        case "asymmetric pad":
            return kind == "Conv" and any(has.get("pads", []))
    raise ValueError(fault)


def _mixes(array: np.ndarray | None, perm: Sequence[int]) -> bool:
    """Whether this order of the axes moves anything."""
    if array is None:
        return False
    kept = [axis for axis in perm if array.shape[axis] != 1]
    return kept != sorted(kept)


def _weight(node: onnx.NodeProto) -> int:
    return 1 if len(node.input) > 1 else 0


def _is_weight(held: list[np.ndarray | None], node: onnx.NodeProto) -> bool:
    weight = held[_weight(node)] if len(held) > 1 else None
    return node.op_type in ("Conv", "Gemm", "MatMul") and weight is not None and weight.ndim > 1 and weight.size > 8


def _ceiled(array: np.ndarray | None, has: dict[str, Any]) -> bool:
    """Whether rounding up gives another size."""
    if array is None or has.get("ceil_mode"):
        return False
    sizes = array.shape[2:]
    pads = has.get("pads", [0] * 2 * len(sizes))
    spans = [size + pads[axis] + pads[axis + len(sizes)] - has["kernel_shape"][axis] for axis, size in enumerate(sizes)]
    strides = has.get("strides", [1] * len(sizes))
    return any(
        span % stride and -(-span // stride) * stride < size + pads[axis]
        for axis, (span, stride, size) in enumerate(zip(spans, strides, sizes, strict=True))
    )


def _onnx_changed(model: onnx.ModelProto, node: onnx.NodeProto, trace: Trace, fault: str) -> tuple[str, ...]:
    has, place = _attributes(node), node.output[0]
    match fault:
        case "padding":
            _set(node, mode="constant")
        case "axis":
            if node.op_type == "Softmax":
                _set(node, axis=-2)
            else:
                # The right shape, and the numbers as they lay.
                shape = _constant(model, np.array(trace.values[place].shape, np.int64))
                _replace(model, node, [helper.make_node("Reshape", [node.input[0], shape], [place])])
        case "epsilon":
            if node.op_type == "BatchNormalization":
                _set(node, epsilon=_large(trace.constants[node.input[4]]))
            elif "epsilon" in has:
                _set(node, epsilon=1e-2)
            else:
                side = 1 if node.input[1] in trace.constants else 0
                value = trace.constants[node.input[side]]
                node.input[side] = _constant(model, (1e3 * value).astype(value.dtype))
        case "transposed weight" | "stale constant" | "fused norm":
            weight = trace.constants[node.input[1]]
            node.input[1] = _constant(model, weights_of(weight, fault))
        case "swapped outputs":
            first, second = model.graph.output[:2]
            names = {first.name: second.name, second.name: first.name}
            for one in model.graph.node:
                one.input[:] = [names.get(name, name) for name in one.input]
                one.output[:] = [names.get(name, name) for name in one.output]
            return tuple(names)
        case "wrong default":
            if node.op_type == "AveragePool":
                _set(node, count_include_pad=0)
            elif node.op_type == "LeakyRelu":
                _set(node, alpha=0.01)
            else:
                hard = helper.make_node("HardSigmoid", [node.input[0]], [f"{place}_hard"])
                product = helper.make_node("Mul", [node.input[0], f"{place}_hard"], [place])
                _replace(model, node, [hard, product])
                return place, f"{place}_hard"
        case "float16 overflow":
            size = float(np.abs(trace.values[place]).max())
            up, down = (_constant(model, np.array(factor, np.float32)) for factor in (_OVER / size, size / _OVER))
            node.output[0] = f"{place}_right"
            after = [
                helper.make_node("Mul", [f"{place}_right", up], [f"{place}_up"]),
                helper.make_node("Cast", [f"{place}_up"], [f"{place}_half"], to=onnx.TensorProto.FLOAT16),
                helper.make_node("Cast", [f"{place}_half"], [f"{place}_whole"], to=onnx.TensorProto.FLOAT),
                helper.make_node("Mul", [f"{place}_whole", down], [place]),
            ]
            _insert(model, node, after)
            return (f"{place}_half",)
        case "dilated convolution":
            axes = len(has["kernel_shape"])
            # One axis, and as much more on both sides as keeps its length.
            axis = next(a for a in range(axes) if has["kernel_shape"][a] > 1 and has["pads"][a])
            dilations, pads = list(has.get("dilations", [1] * axes)), list(has["pads"])
            wider = dilations[axis] * (has["kernel_shape"][axis] - 1)
            dilations[axis] *= 2
            pads[axis] += wider // 2
            pads[axis + axes] += wider - wider // 2
            _set(node, dilations=dilations, pads=pads)
        case "ceil mode":
            _set(node, ceil_mode=1)
        case "align corners":
            _set(node, coordinate_transformation_mode="align_corners")
        case "asymmetric pad":
            axes = len(has["kernel_shape"])
            pads = list(has["pads"])
            axis = next(a for a in range(axes) if pads[a])
            pads[axis] -= 1
            pads[axis + axes] += 1
            _set(node, pads=pads)
    return (place,)


def _constant(model: onnx.ModelProto, value: np.ndarray) -> str:
    name = f"planted_{len(model.graph.initializer)}"
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
    return name


def _large(variances: np.ndarray) -> float:
    """An epsilon that changes anything, whatever the variances are beside which it stands."""
    return float(0.01 * variances.mean())


def _replace(model: onnx.ModelProto, node: onnx.NodeProto, by: list[onnx.NodeProto]) -> None:
    nodes = [one for other in model.graph.node for one in (by if other == node else [other])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _insert(model: onnx.ModelProto, node: onnx.NodeProto, after: list[onnx.NodeProto]) -> None:
    _replace(model, node, [onnx.NodeProto.FromString(node.SerializeToString()), *after])


# Core ML


@dataclass
class Program:
    """The main function of a saved package, to change."""

    path: Path
    spec: Any

    @property
    def operations(self) -> Any:
        function = self.spec.mlProgram.functions["main"]
        return function.block_specializations[function.opset].operations

    def save(self, folder: Path) -> Path:
        """The package beside, with this program and the same weights."""
        copytree(self.path, folder)
        (file,) = folder.rglob("*.mlmodel")
        file.write_bytes(self.spec.SerializeToString())
        return folder

    def copy(self) -> "Program":
        spec = type(self.spec)()
        spec.CopyFrom(self.spec)
        return Program(self.path, spec)

    def find(self, place: str) -> Any:
        return next(op for op in self.operations if op.outputs and op.outputs[0].name == place)

    def given(self, op: Any, key: str) -> str:
        return op.inputs[key].arguments[0].name if key in op.inputs else ""

    def fixed(self, name: str) -> Any:
        """A constant that the file has in its program, as a list of numbers or a text; None where there is none."""
        for op in self.operations:
            if op.type == "const" and op.outputs[0].name == name:
                held = op.attributes["val"].immediateValue.tensor
                kind = held.WhichOneof("value")
                found = list(getattr(held, kind).values) if kind and kind != "bytes" else None
                return found
        return None

    def set(self, op: Any, key: str, value: Any) -> None:
        """Give an input of an op another constant."""
        name = f"planted_{len(self.operations)}"
        made = _const(name, value)
        place = next(number for number, one in enumerate(self.operations) if one is op or one == op)
        self.operations.insert(place, made)
        op = self.operations[place + 1]
        del op.inputs[key].arguments[:]
        op.inputs[key].arguments.add(name=name)


def open_program(path: Path) -> Program:
    """The program of a saved package."""
    return Program(path, ct.utils.load_spec(str(path)))


def coreml_places(program: Program, trace: Trace, fault: str) -> list[str]:
    """Where the fault can be planted, in order of the program."""
    shown = {name for op in trace.ops for name in op.outputs}
    return [
        op.outputs[0].name
        for op in program.operations
        if op.outputs and op.outputs[0].name in shown and _coreml_fits(program, op, trace, fault)
    ]


def plant_coreml(program: Program, trace: Trace, fault: str, place: str) -> tuple[Program, tuple[str, ...]]:
    """A copy with the fault, and the results of the ops that it was planted at."""
    copy = program.copy()
    return copy, _coreml_changed(copy, copy.find(place), trace, fault)


def _coreml_fits(program: Program, op: Any, trace: Trace, fault: str) -> bool:
    kind, place = op.type, op.outputs[0].name
    gives, seen = trace.values.get(place), trace.values.get(program.given(op, "x"))
    if gives is None or gives.dtype.kind != "f":
        return False
    weight = trace.constants.get(program.given(op, "weight") or program.given(op, "y") or "")
    weight = weight if weight is not None else trace.constants.get(program.given(op, "x"))
    pads = program.fixed(program.given(op, "pad")) or []
    match fault:
        case "padding":
            return kind == "pad" and program.fixed(program.given(op, "mode")) == ["reflect"]
        case "axis":
            square = seen is not None and seen.ndim > 1 and len(set(seen.shape[-2:])) == 1
            perm = program.fixed(program.given(op, "perm"))
            return (kind == "softmax" and square) or (
                kind == "transpose" and perm and _mixes(seen, [axis % len(perm) for axis in perm])
            )
        case "epsilon":
            into_log = any(one.kind == "log" and place in one.inputs for one in trace.ops)
            return kind in ("batch_norm", "layer_norm") or (kind in ("add", "clip") and into_log)
        case "transposed weight" | "stale constant" | "fused norm":
            fits = kind in ("conv", "linear", "matmul") and weight is not None and weight.ndim > 1 and weight.size > 8
            return fits and (fault != "transposed weight" or min(weight.shape[:2]) > 1)
        case "swapped outputs":
            return len(trace.outputs) > 1 and place == trace.outputs[0]
        case "wrong default":
            alpha = program.fixed(program.given(op, "alpha"))
            counted = kind == "avg_pool" and any(pads)
            return (
                counted
                or kind == "sigmoid_hard"
                or (kind == "leaky_relu" and alpha is not None and abs(alpha[0] - 0.01) > 1e-3)
            )
        case "float16 overflow":
            return kind in ("conv", "linear", "matmul", "relu", "mul") and _is_float32(op)
        case "dilated convolution":
            return kind == "conv" and weight is not None and any(pads) and max(weight.shape[2:]) > 1
        case "ceil mode":
            has = {
                "kernel_shape": program.fixed(program.given(op, "kernel_sizes")),
                "strides": program.fixed(program.given(op, "strides")),
            }
            return kind in ("avg_pool", "max_pool") and not any(pads) and _ceiled(seen, has)
        case "align corners":
            return kind in ("upsample_bilinear", "resize_bilinear", "resize")
        case "asymmetric pad":
            return kind == "conv" and any(pads)
    raise ValueError(fault)


def _is_float32(op: Any) -> bool:
    """Whether the program declares it so."""
    return bool(op.outputs[0].type.tensorType.dataType == MIL_pb2.DataType.FLOAT32)


def _coreml_changed(program: Program, op: Any, trace: Trace, fault: str) -> tuple[str, ...]:
    kind, place = op.type, op.outputs[0].name
    match fault:
        case "padding":
            program.set(op, "mode", "constant")
        case "axis":
            if kind == "softmax":
                program.set(op, "axis", np.int32(-2))
            else:
                op.type = "reshape"
                del op.inputs["perm"]
                program.set(op, "shape", np.array(trace.values[place].shape, np.int32))
        case "epsilon":
            key = "epsilon" if kind.endswith("norm") else "alpha" if kind == "clip" else "y"
            old = program.fixed(program.given(op, key))
            variances = trace.constants.get(program.given(op, "variance"))
            norm = 1e-2 if variances is None else _large(variances)
            value = (
                norm if kind.endswith("norm") else 1e3 * (old or [float(trace.constants[program.given(op, key)])])[0]
            )
            program.set(op, key, np.float32(value))
        case "transposed weight" | "stale constant" | "fused norm":
            key = "weight" if "weight" in op.inputs else "y" if program.given(op, "y") in trace.constants else "x"
            program.set(op, key, weights_of(trace.constants[program.given(op, key)], fault))
        case "swapped outputs":
            return _swap(program, trace.outputs[0], trace.outputs[1])
        case "wrong default":
            if kind == "avg_pool":
                program.set(op, "exclude_padding_from_average", True)
            else:
                program.set(op, "alpha", np.float32(0.01 if kind == "leaky_relu" else 0.2))
        case "float16 overflow":
            return _overflowing(program, op, float(np.abs(trace.values[place]).max()))
        case "dilated convolution":
            weight, pads = trace.constants[program.given(op, "weight")], program.fixed(program.given(op, "pad"))
            sizes = weight.shape[2:]
            axis = next(a for a in range(len(sizes)) if sizes[a] > 1 and pads[2 * a])
            dilations = list(program.fixed(program.given(op, "dilations")) or [1] * len(sizes))
            wider = dilations[axis] * (sizes[axis] - 1)
            dilations[axis] *= 2
            pads[2 * axis] += wider // 2
            pads[2 * axis + 1] += wider - wider // 2
            program.set(op, "dilations", np.array(dilations, np.int32))
            program.set(program.find(place), "pad", np.array(pads, np.int32))
        case "ceil mode":
            strides = program.fixed(program.given(op, "strides"))
            seen = trace.values[program.given(op, "x")].shape[2:]
            kernels = program.fixed(program.given(op, "kernel_sizes"))
            for axis, (size, kernel, stride) in enumerate(zip(seen, kernels, strides, strict=True)):
                declared = op.outputs[0].type.tensorType.dimensions[2 + axis]
                if declared.HasField("constant"):
                    declared.constant.size = -(-(size - kernel) // stride) + 1
            program.set(op, "ceil_mode", True)
        case "align corners":
            if kind == "upsample_bilinear":
                program.set(op, "align_corners", True)
                program.set(program.find(place), "half_pixel_centers", False)
            else:
                program.set(op, "sampling_mode", "STRICT_ALIGN_CORNERS")
        case "asymmetric pad":
            pads = program.fixed(program.given(op, "pad"))
            axis = next(a for a in range(len(pads) // 2) if pads[2 * a])
            pads[2 * axis] -= 1
            pads[2 * axis + 1] += 1
            program.set(op, "pad", np.array(pads, np.int32))
    return (place,)


def _swap(program: Program, first: str, second: str) -> tuple[str, ...]:
    """Exchange two names wherever they stand; what is declared of their shapes goes with the values."""
    names = {first: second, second: first}
    declared = {feature.name: feature.type for feature in program.spec.description.output}
    kept = {name: type(kind).FromString(kind.SerializeToString()) for name, kind in declared.items()}
    for feature in program.spec.description.output:
        if feature.name in names:
            feature.type.CopyFrom(kept[names[feature.name]])
    for op in program.operations:
        for argument in (one for given in op.inputs.values() for one in given.arguments):
            argument.name = names.get(argument.name, argument.name)
        for output in op.outputs:
            output.name = names.get(output.name, output.name)
    return first, second


def _overflowing(program: Program, op: Any, size: float) -> tuple[str, ...]:
    """Its result times a factor, through float16, and back."""
    place = op.outputs[0].name
    number = next(n for n, one in enumerate(program.operations) if one == op)
    declared = op.outputs[0].type
    op.outputs[0].name = f"{place}_right"
    up, down = _const(f"{place}_up_y", np.float32(_OVER / size)), _const(f"{place}_down_y", np.float32(size / _OVER))
    half, whole = _const(f"{place}_to_half", "fp16"), _const(f"{place}_to_whole", "fp32")
    steps = [
        _operation("mul", f"{place}_up", declared, x=f"{place}_right", y=f"{place}_up_y"),
        _operation("cast", f"{place}_half", declared, x=f"{place}_up", dtype=f"{place}_to_half"),
        _operation("cast", f"{place}_whole", declared, x=f"{place}_half", dtype=f"{place}_to_whole"),
        _operation("mul", place, declared, x=f"{place}_whole", y=f"{place}_down_y"),
    ]
    steps[1].outputs[0].type.tensorType.dataType = MIL_pb2.DataType.FLOAT16
    for step in reversed([up, down, half, whole, *steps]):
        program.operations.insert(number + 1, step)
    return (f"{place}_half",)


def _operation(kind: str, output: str, declared: Any, **inputs: str) -> Any:
    op = MIL_pb2.Operation(type=kind)
    for key, name in inputs.items():
        op.inputs[key].arguments.add(name=name)
    made = op.outputs.add(name=output)
    made.type.CopyFrom(declared)
    op.attributes["name"].CopyFrom(_value(output))
    return op


def _const(name: str, value: Any) -> Any:
    op = MIL_pb2.Operation(type="const")
    held = _value(value)
    op.outputs.add(name=name).type.CopyFrom(held.type)
    op.attributes["val"].CopyFrom(held)
    op.attributes["name"].CopyFrom(_value(name))
    return op


def _value(value: Any) -> Any:
    made = MIL_pb2.Value()
    kind = made.type.tensorType
    tensor = made.immediateValue.tensor
    if isinstance(value, str):
        kind.dataType = MIL_pb2.DataType.STRING
        tensor.strings.values.append(value)
        return made
    array = np.asarray(value)
    if array.dtype == bool:
        kind.dataType = MIL_pb2.DataType.BOOL
        tensor.bools.values.extend(array.reshape(-1).tolist())
    elif array.dtype == np.int32:
        kind.dataType = MIL_pb2.DataType.INT32
        tensor.ints.values.extend(array.reshape(-1).tolist())
    elif array.dtype == np.float16:
        kind.dataType = MIL_pb2.DataType.FLOAT16
        tensor.bytes.values = array.tobytes()
    else:
        kind.dataType = MIL_pb2.DataType.FLOAT32
        tensor.floats.values.extend(array.astype(np.float32).reshape(-1).tolist())
    kind.rank = array.ndim
    for size in array.shape:
        kind.dimensions.add().constant.size = size
    return made


def cases(places: Callable[[str], list[str]]) -> Iterator[tuple[str, str, str]]:
    """(fault, part, place) for every fault at the first, the middle and the last place that takes it."""
    for fault in FAULTS:
        for part, place in spread(places(fault)).items():
            yield fault, part, place
