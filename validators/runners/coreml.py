"""Core ML: Apple's own runtime on macOS, and everywhere the executor, which runs the saved program op by op."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recipes.base.facts import COREML_PREFIX
from recipes.base.quiet import quiet
from validators.runners.runner import Arrays, Port, Runner, RunnerError, shortened

with quiet("coremltools"):
    import coremltools as ct

    from validators.coreml import CoreMLError, CoreMLModel
    from validators.coreml.contents import check_contents, check_program

# MLFeatureType names of ArrayFeatureType.ArrayDataType in coremltools' FeatureTypes.proto.
_DTYPES = {65568: "float32", 65552: "float16", 65600: "float64", 131104: "int32", 131080: "int8"}
# Of DataType in its MIL.proto.
_FLOAT16 = 10


def open_native(path: Path) -> Runner:
    """Apple's runtime; macOS only."""
    try:
        check_contents(path)
        check_program(ct.utils.load_spec(str(path)), str(path))
        with quiet("coremltools"):
            model = ct.models.MLModel(str(path))
    except Exception as error:  # coremltools wraps the framework's errors in plain ones
        raise RunnerError(f"Core ML cannot load it: {shortened(error)}") from error
    return _runner("coreml", model.get_spec(), model)


def open_stored(path: Path) -> Runner:
    """The executor, each result rounded to the dtype that the program declares."""
    return _open_executor(path, "stored")


def open_float32(path: Path) -> Runner:
    """The executor with everything in float32: tells a wrong graph from a rounding."""
    return _open_executor(path, "float32")


def _open_executor(path: Path, precision: Literal["stored", "float32"]) -> Runner:
    try:
        model = CoreMLModel(path, precision=precision)
    except CoreMLError as error:
        raise RunnerError(str(error)) from error
    return _runner(
        "executor" if precision == "stored" else f"executor-{precision}", ct.utils.load_spec(str(path)), model
    )


def _runner(runtime: str, spec: Any, model: Any) -> Runner:
    stateful = bool(spec.description.state)

    def begin() -> Callable[[Mapping[str, np.ndarray]], Arrays]:
        state: Any = None

        def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
            nonlocal state
            try:
                if stateful and state is None:
                    state = model.make_state()
                values = model.predict(dict(inputs), state=state)
            except Exception as error:  # the native runtime raises RuntimeError and NSError wrappers alike
                raise RunnerError(f"Core ML: {shortened(error)}") from error
            return {name: np.asarray(value) for name, value in values.items()}

        return run

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        return begin()(inputs)

    functions = spec.mlProgram.functions.values()
    blocks = [block for function in functions for block in function.block_specializations.values()]
    own = {
        key.removeprefix(COREML_PREFIX): value
        for key, value in spec.description.metadata.userDefined.items()
        if key.startswith(COREML_PREFIX)
    }
    return Runner(
        runtime=runtime,
        inputs=tuple(map(_port, spec.description.input)),
        outputs=tuple(map(_port, spec.description.output)),
        metadata=own,
        run=run,
        float16=any(_FLOAT16 in _dtypes(block) for block in blocks),
        stateful=stateful,
        begin=begin if stateful else None,
    )


def _port(feature: Any) -> Port:
    array = feature.type.multiArrayType
    shapes = tuple(tuple(allowed.shape) for allowed in array.enumeratedShapes.shapes)
    bounds = tuple(
        (sizes.lowerBound, None if sizes.upperBound < 0 else sizes.upperBound) for sizes in array.shapeRange.sizeRanges
    ) or tuple((min(sizes), max(sizes)) for sizes in zip(*shapes, strict=True))
    axes: list[int | None] = list(array.shape)
    for axis, (least, most) in enumerate(bounds):
        axes[axis] = least if least == most else None
    return Port(
        feature.name,
        tuple(axes),
        _DTYPES.get(array.dataType, str(array.dataType)),
        bounds=bounds,
        shapes=shapes,
        usual=tuple(array.shape),
        optional=feature.type.isOptional,
    )


def _dtypes(block: Any) -> Iterator[int]:
    """Of all that a block of a program computes, and the blocks in it."""
    for operation in block.operations:
        # Constants may be stored in any type, and are what others are computed from.
        if operation.type != "const":
            yield from (output.type.tensorType.dataType for output in operation.outputs)
        for inner in operation.blocks:
            yield from _dtypes(inner)
