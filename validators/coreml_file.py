"""Whether a .mlpackage declares what it should: an ML program, names, dtypes, shapes, metadata."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from recipes.base.errors import UserError
from recipes.base.facts import COREML_PREFIX, from_strings, scores_faults
from recipes.base.quiet import quiet
from recipes.base.tensor import Input, Output, Precision, Stream
from validators.results import Check, judged

with quiet("coremltools"):
    import coremltools as ct
    from coremltools.proto import FeatureTypes_pb2

    from validators.coreml.contents import check_contents, check_program

_FLOAT32 = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
_FLOAT16 = FeatureTypes_pb2.ArrayFeatureType.FLOAT16
# Specification versions: https://apple.github.io/coremltools/mlmodel/Format/Model.html
_IOS16, _IOS18 = 7, 9


def check_coreml_file(
    path: Path,
    tensor: Input,
    outputs: tuple[Output, ...],
    precision: Precision,
    size: int | None,
    *,
    keeps_state: bool = False,
) -> list[Check]:
    """One check a property; `size` is that of the input's last axis where it is fixed, None where it is free.

    `keeps_state`: it is fed chunks and has their state as one of Core ML's own, for iOS 18.
    """
    try:
        check_contents(path)
        spec = ct.utils.load_spec(str(path))
        check_program(spec, str(path))
    except Exception as error:  # its readers raise plain and protobuf errors alike
        return [judged(path.name, precision, "file", iter([f"is no readable package: {error}"]))]
    stream = tensor.stream if keeps_state else None
    if stream:
        given = tensor.given(outputs)
        outputs = tuple(replace(output, axes=given[output.name]) for output in outputs)
        tensor = replace(tensor, stream=None)
    return [
        judged(path.name, precision, "file", _form_faults(spec, stream)),
        judged(path.name, precision, "names", _name_faults(spec, tensor, outputs)),
        judged(path.name, precision, "dtype", _dtype_faults(spec)),
        judged(path.name, precision, "axes", _axis_faults(spec, tensor, outputs, size)),
        judged(path.name, precision, "metadata", _metadata_faults(path, spec, outputs, precision)),
    ]


def _form_faults(spec: Any, stream: Stream | None) -> Iterator[str]:
    """`stream` is that of the state which the file keeps, None where it keeps none."""
    if spec.WhichOneof("Type") != "mlProgram":
        yield f"is a {spec.WhichOneof('Type')}, expected an ML program"
    version, release = (_IOS18, "iOS 18") if stream else (_IOS16, "iOS 16")
    if spec.specificationVersion != version:
        yield f"specification version is {spec.specificationVersion}, expected {version} ({release})"
    states = {state.name: state.type.stateType.arrayType for state in spec.description.state}
    expected = [stream.state] if stream else []
    if list(states) != expected:
        yield f"states are {list(states)}, expected {expected}"
    elif stream:
        # Each sample in three parts, which together are float32.
        kept, shape = states[stream.state], [3, stream.size]
        if list(kept.shape) != shape or kept.dataType != _FLOAT16:
            yield f"the state {stream.state} is not float16 of {shape}"


def _name_faults(spec: Any, tensor: Input, outputs: tuple[Output, ...]) -> Iterator[str]:
    for found, expected, what in (
        ([feature.name for feature in spec.description.input], list(tensor.fed()), "inputs"),
        ([feature.name for feature in spec.description.output], list(tensor.given(outputs)), "outputs"),
    ):
        if found != expected:
            yield f"{what} are {found}, expected {expected}"
    for feature in (*spec.description.input, *spec.description.output):
        if not feature.shortDescription:
            yield f"{feature.name} has no description"


def _dtype_faults(spec: Any) -> Iterator[str]:
    for feature in (*spec.description.input, *spec.description.output):
        if feature.type.multiArrayType.dataType != _FLOAT32:
            yield f"{feature.name} is not float32"


def _axis_faults(spec: Any, tensor: Input, outputs: tuple[Output, ...], size: int | None) -> Iterator[str]:
    arrays = {port.name: port.type.multiArrayType for port in (*spec.description.input, *spec.description.output)}
    shapes = (tensor.shapes(1, size or bound) for bound in (tensor.least, tensor.most))
    for name, least, most in zip(tensor.fed(), *shapes, strict=True):
        if name in arrays:
            array = arrays[name]
            bounds = [(found.lowerBound, found.upperBound) for found in array.shapeRange.sizeRanges]
            found = bounds or [(fixed, fixed) for fixed in array.shape]
            expected = list(zip(least, most, strict=True))
            if found != expected:
                yield f"{name} takes {found}, expected {expected} (least and most of each axis)"
    for name, axes in tensor.given(outputs).items():
        # A shape that depends on a free length is not declared.
        shape = list(arrays[name].shape) if name in arrays else []
        if shape and not _fits(shape, axes):
            yield f"{name} has shape {shape}, expected {list(axes)}"


def _fits(shape: list[int], axes: tuple[str | int, ...]) -> bool:
    return len(shape) == len(axes) and all(
        isinstance(axis, str) or axis == size for axis, size in zip(axes, shape, strict=True)
    )


def _metadata_faults(path: Path, spec: Any, outputs: tuple[Output, ...], precision: Precision) -> Iterator[str]:
    metadata = spec.description.metadata
    for key in ("author", "license", "shortDescription"):
        if not getattr(metadata, key):
            yield f"{key} is empty"
    own = {k.removeprefix(COREML_PREFIX): v for k, v in metadata.userDefined.items() if k.startswith(COREML_PREFIX)}
    if own.get("precision") != precision:
        yield f"precision is {own.get('precision')!r}, expected {precision!r}"
    try:
        facts = from_strings(own, path.name)
        yield from scores_faults(facts, {output.name: output.axes[-1] for output in outputs})
    except UserError as error:
        yield str(error)
