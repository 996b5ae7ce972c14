"""Which operations of a program become float16.

|STFT|^2 of a loud clip passes float16's 65,504 and turns into inf, and the floor under the logarithm of a silent one
(1e-10) vanishes, so that log(0) follows. `mixed` therefore leaves everything that the log-mel spectrogram is made of
in float32, and what normalises it too: at -100 dB neighbours in float16 are 0.06 dB apart. From the first convolution
on everything becomes float16, but for operations that are named.
"""

import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

import coremltools as ct
from coremltools.converters.mil.mil import Block, Operation, Var

from recipes.base.errors import UserError
from recipes.base.tensor import Precision

_WEIGHTED = {"conv", "linear", "matmul"}
# What coremltools adds to the name of an operation that it makes float16.
_HALVED = "_cast_fp16"


def compute_precision(precision: Precision, float32_through: Collection[str], float32_ops: Collection[str] = ()) -> Any:
    """coremltools' argument of that name.

    `float32_through` are the last outputs that `mixed` keeps in float32, and `float32_ops` are operations that stay so
    beside them, by the name that they or their results have in a saved package of any precision.

    The conversion raises UserError for a name that no operation has.
    """
    if precision == "fp32":
        return ct.precision.FLOAT32
    through = float32_through if precision == "mixed" else ()
    if not through and not float32_ops:
        return ct.precision.FLOAT16
    kept: set[str] = set()

    def becomes_float16(op: Operation) -> bool:
        # The first call sees the whole program before anything of it is cast.
        if not kept:
            kept.update(_front_end(op.enclosing_block, through), _named(op.enclosing_block, float32_ops))
        return op.name not in kept

    return ct.transform.FP16ComputePrecision(op_selector=becomes_float16)


def plain_name(name: str) -> str:
    """What an operation of a saved package is called where it is float32."""
    return name.removesuffix(_HALVED)


def _named(block: Block, wanted: Collection[str]) -> set[str]:
    """The operations of these names, as the block has them."""
    operations = [op for op in block.operations if op.op_type != "const"]
    known = {saved: op.name for op in operations for saved in _saved_names(op)}
    plain = {plain_name(name): name for name in wanted}
    for name in plain.keys() - known.keys():
        near = get_close_matches(name, known, cutoff=0)
        raise UserError(
            f"--float32-op {plain[name]}: this program has no such operation; there are {', '.join(near)} and "
            f"{len(operations) - len(near)} more, which the package made without --float32-op lists"
        )
    return {known[name] for name in plain}


def _saved_names(op: Operation) -> list[str]:
    """An operation's own and its results', spelled as coremltools' passes spell them at the end."""
    return [_spelled(op.name, "op_"), *(_spelled(var.name, "var_") for var in op.outputs), _spelled(op.name, "var_")]


def _spelled(name: str, prefix: str) -> str:
    name = re.sub("[^a-zA-Z0-9_]", "_", name)
    return prefix + name if name[0].isdigit() else name


def _front_end(block: Block, outputs: Collection[str]) -> set[str]:
    """Names of all operations that lead to the outputs, and of those that depend on these alone, up to the weights."""
    if not outputs:
        return set()
    kept = set().union(*(_makers(block, output) for output in outputs))
    for op in block.operations:
        makers = [var.op for var in _variables(op) if var.op is not None and var.op.op_type != "const"]
        if makers and op.op_type not in _WEIGHTED and all(maker.name in kept for maker in makers):
            kept.add(op.name)
    return kept


def _variables(op: Operation) -> list[Var]:
    """All inputs, variadic ones spread out, absent ones left out."""
    values = op.inputs.values()
    spread = [var for value in values for var in (value if isinstance(value, (list, tuple)) else [value])]
    return [var for var in spread if var is not None]


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
        pending += [var.op for var in _variables(op)]
    return found
