"""Faults planted into saved Core ML packages."""

from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.proto import MIL_pb2

from tests.planted import OVER, ceiled, large_beside, mixes, weights_of
from validators.traces import Trace


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


def places(program: Program, trace: Trace, fault: str) -> list[str]:
    """Where the fault can be planted, in order of the program."""
    shown = {name for op in trace.ops for name in op.outputs}
    return [
        op.outputs[0].name
        for op in program.operations
        if op.outputs and op.outputs[0].name in shown and _coreml_fits(program, op, trace, fault)
    ]


def plant(program: Program, trace: Trace, fault: str, place: str) -> tuple[Program, tuple[str, ...]]:
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
                kind == "transpose" and perm and mixes(seen, [axis % len(perm) for axis in perm])
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
            return kind in ("avg_pool", "max_pool") and not any(pads) and ceiled(seen, has)
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
            norm = 1e-2 if variances is None else large_beside(variances)
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
    up, down = _const(f"{place}_up_y", np.float32(OVER / size)), _const(f"{place}_down_y", np.float32(size / OVER))
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
