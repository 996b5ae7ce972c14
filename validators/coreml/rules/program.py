"""One function of an ML program as the file spells it: the protocol buffers, not what a builder makes of them.

coremltools' loader refuses some of the very programs that a checker has to judge (unknown pad modes, ranks over 5), so
nothing is rebuilt here and nothing is inferred: types are the declared ones.
The format: https://apple.github.io/coremltools/mlmodel/Format/MIL.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.frontend.milproto.load import TranscriptionContext, _load_value
from coremltools.proto import FeatureTypes_pb2, MIL_pb2

from validators.coreml.errors import PackageError
from validators.coreml.package import ValueType, opened

Shape = tuple[int | None, ...]

# Of an input that enumerates them: https://apple.github.io/coremltools/docs-guides/source/flexible-inputs.html
MOST_SHAPES = 128

_SHORT = {"FLOAT": "fp", "BFLOAT": "bf", "STRING": "str"}


@dataclass(frozen=True, eq=False)
class Value:
    """One named value; `stored` is its content where the file holds it, as a message or in the weight file."""

    name: str
    type: ValueType
    maker: str = ""
    """The op type it comes from; empty for inputs of functions and blocks, and for values in place."""
    stored: Any = None
    weights: str = ""

    @property
    def is_constant(self) -> bool:
        return self.stored is not None

    @cached_property
    def constant(self) -> Any:
        """A string, or the array; None for what is computed. Raises `PackageError` when it cannot be read."""
        if self.stored is None:
            return None
        try:
            value = _load_value(TranscriptionContext(self.weights), self.stored)
        except Exception as error:  # the loader raises every kind, AssertionError included
            raise PackageError(f"the constant {self.name!r} cannot be read: {error}") from error
        return value if isinstance(value, str) else np.asarray(value)


@dataclass(frozen=True, eq=False)
class Op:
    """One operation: the values it takes by input name, several for a variadic one, and those it makes."""

    type: str
    inputs: Mapping[str, tuple[Value, ...]]
    outputs: tuple[Value, ...]

    @property
    def name(self) -> str:
        return self.outputs[0].name if self.outputs else ""

    def input(self, name: str) -> Value | None:
        """The value of an input that takes one; None where it is left out."""
        values = self.inputs.get(name, ())
        return values[0] if values else None

    def constant(self, name: str, default: Any = None) -> Any:
        """The content of a constant input, as plain Python values; `default` where it is left out or computed."""
        value = self.input(name)
        if value is None or not value.is_constant:
            return default
        return value.constant if isinstance(value.constant, str) else value.constant.tolist()


@dataclass(frozen=True)
class Feature:
    """An input, output or state of the model's description.

    `ranges` holds (lower, upper) per dimension, upper None where unlimited; `enumerated` the allowed shapes.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    ranges: tuple[tuple[int, int | None], ...]
    enumerated: tuple[tuple[int, ...], ...]

    @property
    def flexible(self) -> bool:
        return len(set(self.enumerated)) > 1 or any(low != high for low, high in self.ranges)

    def extremes(self) -> list[Shape]:
        """Shapes that the feature admits: every enumerated one, or the least and the greatest, or the only one."""
        if self.enumerated:
            return list(self.enumerated)
        if self.ranges:
            return [tuple(low for low, _ in self.ranges), tuple(high for _, high in self.ranges)]
        return [self.shape]


@dataclass(frozen=True)
class Program:
    """One function: its features, its values, and all its ops in order, those of nested blocks after their owner.

    `opset` counts as in the file: 5 for CoreML5, the op set of iOS 15. `version` is the specification's: 6 for iOS 15.
    """

    function: str
    opset: int
    version: int
    features: tuple[Feature, ...]
    results: tuple[Feature, ...]
    states: tuple[Feature, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    ops: tuple[Op, ...]

    def of(self, *types: str) -> Iterator[Op]:
        """The ops of these types."""
        return (op for op in self.ops if op.type in types)


def programs(package: str | PathLike[str] | ct.models.MLModel) -> tuple[Program, ...]:
    """Every function of a `.mlpackage` or an in-memory model.

    Raises `PackageError` for what is no ML program, has no function, or names a block that the file does not hold.
    """
    model, source = opened(package)
    try:
        found = tuple(_programs(model, source))
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:  # of types that nobody knows
        raise PackageError(f"{source}: its program cannot be read: {type(error).__name__}: {error}") from error
    if not found:
        raise PackageError(f"{source}: is an ML program without a function")
    return found


def _programs(model: ct.models.MLModel, source: str) -> Iterator[Program]:
    spec = model.get_spec()
    kind = spec.WhichOneof("Type")
    if kind != "mlProgram":
        raise PackageError(f"{source}: model type {kind!r} is not an ML program; convert with convert_to='mlprogram'")
    if not spec.mlProgram.functions:
        raise PackageError(f"{source}: the program has no function")
    described = {function.name: function for function in spec.description.functions}
    for name, function in sorted(spec.mlProgram.functions.items()):
        opset = function.opset.removeprefix("CoreML")
        if not opset.isdigit() or function.opset not in function.block_specializations:
            raise PackageError(f"{source}: function {name!r} has no block for its op set {function.opset!r}")
        description = described.get(name, spec.description)
        reader = _Reader(model.weights_dir or "")
        inputs = tuple(Value(item.name, declared_type(item.type)) for item in function.inputs)
        outputs = reader.block(function.block_specializations[function.opset], {value.name: value for value in inputs})
        yield Program(
            function=name,
            opset=int(opset),
            version=spec.specificationVersion,
            features=tuple(map(_feature, description.input)),
            results=tuple(map(_feature, description.output)),
            states=tuple(map(_feature, description.state)),
            inputs=inputs,
            outputs=outputs,
            ops=tuple(reader.ops),
        )


def declared_type(message: Any) -> ValueType:
    """The `ValueType` of a type message; anything but a tensor or a state has its kind for a dtype and no shape."""
    kind = message.WhichOneof("type")
    if kind == "stateType":
        return declared_type(message.stateType.wrappedType)
    if kind != "tensorType":
        return ValueType((kind or "unknown").removesuffix("Type"), None)
    tensor = message.tensorType
    sizes = [dim.constant.size if dim.WhichOneof("dimension") == "constant" else None for dim in tensor.dimensions]
    variadic = tensor.rank < 0 or any(dim.unknown.variadic for dim in tensor.dimensions)
    return ValueType(_dtype(MIL_pb2.DataType.Name(tensor.dataType)), None if variadic else tuple(sizes))


def _dtype(name: str) -> str:
    """MIL's own short name of an element type: fp16 for FLOAT16."""
    letters = name.rstrip("0123456789")
    return _SHORT.get(letters, letters.lower()) + name[len(letters) :]


def _feature(message: Any) -> Feature:
    kind = message.type.WhichOneof("Type") or ""
    array = message.type.stateType.arrayType if kind == "stateType" else message.type.multiArrayType
    described = kind in ("multiArrayType", "stateType")
    return Feature(
        name=message.name,
        kind=kind,
        dtype=FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.Name(array.dataType) if described else "",
        shape=tuple(array.shape),
        ranges=tuple(
            (size.lowerBound, None if size.upperBound < 0 else size.upperBound) for size in array.shapeRange.sizeRanges
        ),
        enumerated=tuple(tuple(allowed.shape) for allowed in array.enumeratedShapes.shapes),
    )


class _Reader:
    """Reads blocks, whose names are known to be in scope; `ops` grows in order."""

    def __init__(self, weights: str) -> None:
        self.weights = weights
        self.ops: list[Op] = []

    def block(self, block: Any, scope: dict[str, Value]) -> tuple[Value, ...]:
        """`scope` is one for all blocks: a copy for each would be quadratic, and what is read is checked already."""
        scope.update((item.name, Value(item.name, declared_type(item.type))) for item in block.inputs)
        for message in block.operations:
            inputs = {
                name: tuple(self._operand(binding, scope) for binding in argument.arguments)
                for name, argument in message.inputs.items()
            }
            stored = message.attributes["val"] if message.type == "const" and "val" in message.attributes else None
            outputs = tuple(
                Value(item.name, declared_type(item.type), message.type, stored, self.weights)
                for item in message.outputs
            )
            self.ops.append(Op(message.type, inputs, outputs))
            for nested in message.blocks:
                self.block(nested, scope)
            scope.update((value.name, value) for value in outputs)
        return tuple(scope[name] for name in block.outputs)

    def _operand(self, binding: Any, scope: Mapping[str, Value]) -> Value:
        if binding.WhichOneof("binding") == "value":
            return Value("", declared_type(binding.value.type), "", binding.value, self.weights)
        return scope[binding.name]
