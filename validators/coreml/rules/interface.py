"""Rules on inputs and outputs, and on names."""

import re
from collections.abc import Iterator

from validators.coreml.rules.program import MOST_SHAPES, Feature, Program, Value
from validators.coreml.rules.rule import Finding, rule

_IOS16, _IOS18, _IOS26 = 7, 9, 10
# Element types by the specification version that admits them first.
_ADMITTED = {"fp32": 0, "int32": 0, "fp16": _IOS16, "int8": _IOS26}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_@]*")


def _arrays(program: Program) -> Iterator[tuple[str, Value, Feature]]:
    """("input" or "output", the program's value, the description's feature) of all that are arrays or images.

    A classifier's label and its dictionary are neither.
    """
    for role, values, features in (
        ("input", program.inputs, program.features),
        ("output", program.outputs, program.results),
    ):
        named = {feature.name: feature for feature in features if feature.kind in ("multiArrayType", "imageType")}
        for value in values:
            if value.name in named:
                yield role, value, named[value.name]


@rule(
    "io-dtype",
    "error",
    why="inputs and outputs are float32 or int32, float16 from iOS 16 on (int8 from iOS 26 on)",
    fix="give ct.TensorType(dtype=np.float32) for it, or raise minimum_deployment_target",
    source="coremltools' converter entry",
)
def io_dtype(program: Program) -> Iterator[Finding]:
    for role, value, feature in _arrays(program):
        described = feature.dtype.lower().replace("float", "fp")
        for dtype in dict.fromkeys([value.type.dtype, described or value.type.dtype]):
            if program.version < _ADMITTED.get(dtype, 1 + _IOS26):
                yield Finding(value.name, role, f"is {dtype} at specification version {program.version}")
                break


@rule(
    "io-rank-zero",
    "error",
    why="inputs and outputs have at least one dimension",
    fix="give it the shape (1,): expand_dims in the program, shape=(1,) in ct.TensorType",
    source="ct 1040, 1635, 1765",
)
def io_rank_zero(program: Program) -> Iterator[Finding]:
    for role, value, _ in _arrays(program):
        if value.type.shape == ():
            yield Finding(value.name, role, "is a scalar in the program")


@rule(
    "unbounded",
    "error",
    why="a flexible dimension of an ML program needs a finite upper bound",
    fix="give ct.RangeDim an upper_bound",
    source="coremltools' converter entry",
)
def unbounded(program: Program) -> Iterator[Finding]:
    for feature in program.features:
        for dimension, (low, high) in enumerate(feature.ranges):
            if high is None:
                yield Finding(feature.name, "input", f"dimension {dimension} is {low} or more, without end")


@rule(
    "enumerated-shapes",
    "error",
    why=f"an input enumerates at most {MOST_SHAPES} shapes",
    fix="enumerate fewer shapes, or give a ct.RangeDim",
    source="guide on flexible inputs",
)
def enumerated_shapes(program: Program) -> Iterator[Finding]:
    for feature in program.features:
        if len(feature.enumerated) > MOST_SHAPES:
            yield Finding(feature.name, "input", f"enumerates {len(feature.enumerated)} shapes")


@rule(
    "enumerated-inputs",
    "error",
    why="before iOS 18 one input alone may enumerate its shapes",
    fix="enumerate the shapes of one input, or set minimum_deployment_target=ct.target.iOS18",
    source="guide on flexible inputs",
)
def enumerated_inputs(program: Program) -> Iterator[Finding]:
    names = [feature.name for feature in program.features if len(feature.enumerated) > 1]
    if len(names) > 1 and program.version < _IOS18:
        yield Finding(", ".join(names), "input", f"{len(names)} inputs enumerate shapes")


@rule(
    "identifier",
    "error",
    why=f"names match {_IDENTIFIER.pattern}",
    fix="rename it; coremltools does so itself for all but names given to ct.TensorType",
    source="MIL.proto",
)
def identifier(program: Program) -> Iterator[Finding]:
    if not _IDENTIFIER.fullmatch(program.function):
        yield Finding(program.function, "function", "is no identifier")
    kinds = {feature.name: "output" for feature in program.results}
    kinds |= {feature.name: "input" for feature in program.features}
    kinds |= {value.name: "input" for value in program.inputs}
    kinds |= {value.name: op.type for op in program.ops for value in op.outputs}
    for name, kind in kinds.items():
        if not _IDENTIFIER.fullmatch(name):
            yield Finding(name, kind, "is no identifier")
