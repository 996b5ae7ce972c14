"""Reads a saved ML program: the very bytes that ship.

coremltools' milproto loader rebuilds each op through the MIL builder, which infers every type anew. The types which the
file declares are kept beside it, and the two are compared: an app runs what the file says.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import coremltools as ct
from coremltools.converters.mil.frontend.milproto import helper
from coremltools.converters.mil.frontend.milproto.helper import proto_to_types
from coremltools.converters.mil.frontend.milproto.load import load_mil_proto
from coremltools.converters.mil.mil import Block, Function, get_new_variadic_symbol, types
from coremltools.converters.mil.mil.input_type import InputSpec
from coremltools.converters.mil.mil.types.symbolic import is_symbolic, is_variadic

from validators.coreml import kernels as _kernels  # noqa: F401  (registers every kernel)
from validators.coreml.contents import check_contents, check_program
from validators.coreml.errors import PackageError, UnsupportedOpError
from validators.coreml.registry import OPSETS, lookup

# How a function of the file names its op set: "CoreML5" is that of iOS 15, and so on. coremltools 9 defines no op of
# its own for iOS 26 ("CoreML9") and takes those of iOS 18.
_OPSET_NAMES = {f"CoreML{5 + index}": opset for index, opset in enumerate(OPSETS)} | {"CoreML9": OPSETS[-1]}
# Ops of the file that the loader itself turns into others.
_LOADED_AS = {"write_state": "coreml_update_state"}
# Constants need no kernel.
_CONSTANTS = frozenset({"const"})


@dataclass(frozen=True)
class ValueType:
    """A declared or inferred type: MIL type name and shape.

    None is a flexible size; a `shape` of None is a tensor of unknown rank, or no tensor at all.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return self.dtype
        return f"{self.dtype}[{', '.join('?' if size is None else str(size) for size in self.shape)}]"

    def admits(self, other: "ValueType") -> bool:
        """Whether a value of type `other` fits this type: flexible dimensions match any size, scalars rank 0."""
        if self.dtype != other.dtype:
            return False
        return other.shape is None or self.fits(other.shape)

    def fits(self, shape: tuple[int | None, ...]) -> bool:
        """Whether a value of `shape` fits; None in either is any size."""
        if self.shape is None:
            return True
        return len(self.shape) == len(shape) and all(
            mine is None or theirs is None or mine == theirs for mine, theirs in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True)
class Package:
    """One function of a checked ML program.

    `description` holds its inputs, outputs and states as Core ML's features; `declared` the types that the file gives
    for each value by name; `opset` the op set that decides how each op behaves.
    """

    source: str
    spec: Any
    description: Any
    function: Function
    opset: str
    declared: dict[str, ValueType]


def read(model: str | PathLike[str] | ct.models.MLModel, function_name: str | None = None) -> Package:
    """Read a `.mlpackage` folder or an in-memory `MLModel` of the mlprogram type.

    A multifunction model yields `function_name`, by default the function it names as its default.
    Raises `PackageError` when there is nothing to run or the file contradicts itself, `UnsupportedOpError` when a
    kernel is missing.
    """
    loaded, source = opened(model)
    spec = loaded.get_spec()
    kind = spec.WhichOneof("Type")
    if kind != "mlProgram":
        raise PackageError(
            f"{source}: model type {kind!r} is not an ML program; convert with convert_to='mlprogram' (iOS 15 or newer)"
        )
    name = function_name or loaded.function_name or spec.description.defaultFunctionName or "main"
    if name not in spec.mlProgram.functions:
        raise PackageError(f"{source}: no function {name!r}; it has {', '.join(sorted(spec.mlProgram.functions))}")
    proto = spec.mlProgram.functions[name]
    if proto.opset not in _OPSET_NAMES:
        raise PackageError(f"{source}: op set {proto.opset!r} is not one of {', '.join(_OPSET_NAMES)}")
    if proto.opset not in proto.block_specializations:
        raise PackageError(f"{source}: function {name!r} has no block for its op set {proto.opset!r}")
    opset = _OPSET_NAMES[proto.opset]
    block = proto.block_specializations[proto.opset]
    _check_ops(block, opset, source)
    # Only this function is rebuilt: another one may use an op set of its own.
    program_proto = type(spec.mlProgram)()
    program_proto.CopyFrom(spec.mlProgram)
    for other in set(program_proto.functions) - {name}:
        del program_proto.functions[other]
    try:
        with _lenient_loader():
            program = load_mil_proto(program_proto, ct.target[opset], loaded.weights_dir or "")
            declared = _declared(proto, block)
    except Exception as error:  # the loader raises every kind, AssertionError included
        raise PackageError(f"{source}: coremltools cannot rebuild function {name!r}: {error}") from error
    description = _description(spec, name, source)
    package = Package(source, spec, description, program.functions[name], opset, declared)
    _check_types(package)
    return package


def value_type(mil_type: Any) -> ValueType:
    """The `ValueType` of a coremltools builtin type."""
    if types.is_state(mil_type):
        mil_type = mil_type.wrapped_type()
    if types.is_tensor(mil_type):
        dtype, sizes = types.builtin_to_string(mil_type.get_primitive()), mil_type.get_shape()
        if any(is_variadic(size) for size in sizes):
            return ValueType(dtype, None)
        return ValueType(dtype, tuple(None if is_symbolic(size) else int(size) for size in sizes))
    if types.is_list(mil_type):
        return ValueType("list", None)
    if types.is_dict(mil_type):
        return ValueType("dict", None)
    return ValueType(types.builtin_to_string(mil_type), ())


@contextmanager
def _lenient_loader() -> Iterator[None]:
    """Lets coremltools' loader read two things that its converter writes but its loader refuses.

    A result of unknown rank (a variadic dimension), and the float32 default of an optional input beside float16 ones
    (the epsilon of batch_norm, for one), which the loader takes for an input of the wrong type.
    """
    dimension, validate = helper.get_proto_dim, InputSpec.validate_inputs

    def any_dimension(proto: Any) -> Any:
        variadic = proto.WhichOneof("dimension") == "unknown" and proto.unknown.variadic
        return get_new_variadic_symbol() if variadic else dimension(proto)

    def validate_kinds(self: InputSpec, op_name: str, op_type: str, candidates: dict[str, Any]) -> None:
        try:
            validate(self, op_name, op_type, candidates)
        except ValueError as error:
            if not ("same data type" in str(error) and "dtype fp16" in str(error) and "dtype fp32" in str(error)):
                raise

    helper.get_proto_dim, InputSpec.validate_inputs = any_dimension, validate_kinds
    try:
        yield
    finally:
        helper.get_proto_dim, InputSpec.validate_inputs = dimension, validate


def opened(model: str | PathLike[str] | ct.models.MLModel) -> tuple[ct.models.MLModel, str]:
    """The model, not loaded into any runtime, and what to call it in messages; `PackageError` when it is unreadable."""
    if isinstance(model, ct.models.MLModel):
        source = model.package_path or "in-memory model"
        check_program(model.get_spec(), source)
        return model, source
    path = Path(model)
    if not path.exists():
        raise PackageError(f"{path}: no such file or folder")
    if path.suffix == ".mlmodelc":
        raise PackageError(f"{path}: a compiled model holds no program to read; pass the .mlpackage it was made from")
    check_contents(path)
    try:
        loaded = ct.models.MLModel(str(path), skip_model_load=True)
    except Exception as error:  # coremltools has no error type of its own for a broken package
        raise PackageError(f"{path}: not a readable Core ML model: {error}") from error
    check_program(loaded.get_spec(), str(path))
    return loaded, str(path)


def _description(spec: Any, name: str, source: str) -> Any:
    functions = {function.name: function for function in spec.description.functions}
    if not functions:
        return spec.description
    if name not in functions:
        raise PackageError(f"{source}: function {name!r} has a program but no description")
    return functions[name]


def _declared(function: Any, block: Any) -> dict[str, ValueType]:
    """The types in the file by value name, less the names that sibling blocks use for values of different types."""
    named: dict[str, set[ValueType]] = {}
    for value in (*function.inputs, *(out for op in _walk(block) for out in op.outputs)):
        named.setdefault(value.name, set()).add(value_type(proto_to_types(value.type)))
    return {name: found.pop() for name, found in named.items() if len(found) == 1}


def _walk(block: Any) -> Iterator[Any]:
    """Every operation message of a block, nested blocks included."""
    for op in block.operations:
        yield op
        for nested in op.blocks:
            yield from _walk(nested)


def _check_ops(block: Any, opset: str, source: str) -> None:
    missing = [
        f"{op.type} (output {', '.join(repr(out.name) for out in op.outputs)})"
        for op in _walk(block)
        if op.type not in _CONSTANTS and lookup(_LOADED_AS.get(op.type, op.type), opset) is None
    ]
    if missing:
        raise UnsupportedOpError(f"{source}: no kernel in op set {opset} for {'; '.join(missing)}")


def _check_types(package: Package) -> None:
    """Raises `PackageError` where the types inferred on loading contradict those that the file declares."""
    wrong = []

    def visit(block: Block) -> None:
        for op in block.operations:
            for nested in op.blocks:
                visit(nested)
            for var in op.outputs:
                declared = package.declared.get(var.name)
                inferred = value_type(var.sym_type)
                if declared is not None and not declared.admits(inferred):
                    wrong.append(f"{op.op_type} output {var.name!r} is declared {declared}, inferred {inferred}")

    visit(package.function)
    if wrong:
        raise PackageError(f"{package.source}: {'; '.join(wrong)}")
