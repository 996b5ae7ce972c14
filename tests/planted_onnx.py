"""Faults planted into ONNX models."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.planted import OVER, ceiled, large_beside, mixes, weights_of
from validators.traces import Trace


def places(model: onnx.ModelProto, trace: Trace, fault: str) -> list[str]:
    """Where the fault can be planted, in order of the graph."""
    shown = {name for op in trace.ops for name in op.outputs}
    return [node.output[0] for node in model.graph.node if node.output[0] in shown and _onnx_fits(node, trace, fault)]


def plant(model: onnx.ModelProto, trace: Trace, fault: str, place: str) -> tuple[onnx.ModelProto, tuple[str, ...]]:
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
            return (kind == "Softmax" and square) or (kind == "Transpose" and mixes(seen, has["perm"]))
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
            return kind in ("AveragePool", "MaxPool") and ceiled(seen, has)
        case "align corners":
            return kind == "Resize"
        case "asymmetric pad":
            return kind == "Conv" and any(has.get("pads", []))
    raise ValueError(fault)


def _weight(node: onnx.NodeProto) -> int:
    return 1 if len(node.input) > 1 else 0


def _is_weight(held: list[np.ndarray | None], node: onnx.NodeProto) -> bool:
    weight = held[_weight(node)] if len(held) > 1 else None
    return node.op_type in ("Conv", "Gemm", "MatMul") and weight is not None and weight.ndim > 1 and weight.size > 8


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
                _set(node, epsilon=large_beside(trace.constants[node.input[4]]))
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
            up, down = (_constant(model, np.array(factor, np.float32)) for factor in (OVER / size, size / OVER))
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


def _replace(model: onnx.ModelProto, node: onnx.NodeProto, by: list[onnx.NodeProto]) -> None:
    nodes = [one for other in model.graph.node for one in (by if other == node else [other])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _insert(model: onnx.ModelProto, node: onnx.NodeProto, after: list[onnx.NodeProto]) -> None:
    _replace(model, node, [onnx.NodeProto.FromString(node.SerializeToString()), *after])
