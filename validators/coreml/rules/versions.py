"""Rules on what an op set knows. The op definitions are those of the installed coremltools."""

from collections.abc import Iterator
from typing import Any

import coremltools as ct
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

from validators.coreml.rules.program import Program
from validators.coreml.rules.rule import Finding, at, rule

# The op set CoreML5 came with specification version 6, and both have counted up together.
_AHEAD = 1
# Written by coremltools for an op that its registry knows under another name, with inputs of its own.
_WRITTEN = {"write_state": 9}
# Their blocks, which the registry lists as inputs, are no inputs in the file.
_WITH_BLOCKS = ("while_loop", "cond")


def _versions(op_type: str) -> dict[int, Any]:
    """The op's definitions by specification version; empty for an op that is unknown."""
    return {int(target): definition for target, definition in SSAOpRegistry.core_ops.get(op_type, {}).items()}


@rule(
    "op-set",
    "error",
    why="an op set needs the specification version that introduced it",
    fix="save the model with the minimum_deployment_target that the op set belongs to",
    source="MIL.proto; Model.proto",
)
def op_set(program: Program) -> Iterator[Finding]:
    needed = program.opset + _AHEAD
    if program.version < needed:
        matter = f"CoreML{program.opset} in a file of specification version {program.version}, it needs {needed}"
        yield Finding(program.function, "function", matter)


@rule(
    "op-version",
    "error",
    why="the op is no part of the op set that the function declares",
    fix="raise minimum_deployment_target, or write it with older ops",
    source="MIL op definitions",
)
def op_version(program: Program) -> Iterator[Finding]:
    for op in program.ops:
        first = _WRITTEN.get(op.type) or min(_versions(op.type), default=None)
        if first is None:
            yield at(op, f"coremltools {ct.__version__} knows no such op")
        elif first > program.opset + _AHEAD:
            yield at(op, f"came with CoreML{first - _AHEAD}, the function declares CoreML{program.opset}")


@rule(
    "op-input",
    "error",
    why="the op has no such input in the op set that the function declares",
    fix="raise minimum_deployment_target, or write it with older ops",
    source="MIL op definitions",
)
def op_input(program: Program) -> Iterator[Finding]:
    for op in program.ops:
        known = [version for version in _versions(op.type) if version <= program.opset + _AHEAD]
        if not known or op.type in _WITH_BLOCKS:
            continue
        inputs = _versions(op.type)[max(known)].input_spec.input_types
        for name in op.inputs:
            # Pools have a rule of their own for it, which says more.
            if name not in inputs and not (op.type.endswith("_pool") and name == "dilations"):
                yield at(op, f"has an input {name!r}")
