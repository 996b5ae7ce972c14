"""Which operations of a program become float16.

|STFT|^2 of a loud clip passes float16's 65,504 and turns into inf, and the floor under the logarithm of a silent one
(1e-10) vanishes, so that log(0) follows. `mixed` therefore leaves everything that the log-mel spectrogram is made of
in float32, and everything after it becomes float16.
"""

from typing import Any

import coremltools as ct
from coremltools.converters.mil.mil import Block, Operation

from recipes.base.spec import Precision


def compute_precision(precision: Precision, float32_through: str) -> Any:
    """coremltools' argument of that name; `float32_through` is the last output that `mixed` keeps in float32."""
    if precision == "fp32":
        return ct.precision.FLOAT32
    if precision == "fp16":
        return ct.precision.FLOAT16
    kept: set[str] = set()

    def becomes_float16(op: Operation) -> bool:
        # The first call sees the whole program before anything of it is cast.
        if not kept:
            kept.update(_makers(op.enclosing_block, float32_through))
        return op.name not in kept

    return ct.transform.FP16ComputePrecision(op_selector=becomes_float16)


def _makers(block: Block, output: str) -> set[str]:
    """Names of all operations that the output of that name is made of."""
    found: set[str] = set()
    pending = [var.op for var in block.outputs if var.name == output]
    if not pending:
        raise ValueError(f"the program has no output {output!r}")
    while pending:
        op = pending.pop()
        if op is None or op.name in found:
            continue
        found.add(op.name)
        for value in op.inputs.values():
            pending += [var.op for var in (value if isinstance(value, (list, tuple)) else [value]) if var is not None]
    return found
