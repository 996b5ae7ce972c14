"""Warnings: what makes a part of the model leave the GPU or the Neural Engine, or go wrong there."""

from collections.abc import Iterator

from validators.coreml.rules.families import family
from validators.coreml.rules.program import Program
from validators.coreml.rules.rule import Finding, at, rule
from validators.coreml.rules.sizes import possible

_MOST_ON_GPU = 16384
_WIDEST_KERNEL = 15
_CONVOLUTIONS = sorted(family("conv"))


@rule(
    "gpu-dimension",
    "warning",
    why=f"a convolution with a dimension over {_MOST_ON_GPU} leaves the GPU",
    fix="feed shorter inputs, or fold the long dimension into two; or ignore this: the CPU gives the same answers",
    source="ct 283, 324; public compute plans",
)
def gpu_dimension(program: Program) -> Iterator[Finding]:
    found = possible(program)
    for op in program.of(*_CONVOLUTIONS):
        values = [value for value in (op.input("x"), *op.outputs) if value is not None]
        sizes = [size for value in values for shape in found[value] for size in shape or () if size is not None]
        if sizes and max(sizes) > _MOST_ON_GPU:
            yield at(op, f"has a dimension of up to {max(sizes)}")


@rule(
    "neural-engine-kernel",
    "warning",
    why=f"a convolution whose kernel is wider than {_WIDEST_KERNEL} leaves the Neural Engine",
    fix="split the kernel, or ignore this: elsewhere that part gives the same answers",
    source="ct 283, 324; public compute plans",
)
def neural_engine_kernel(program: Program) -> Iterator[Finding]:
    for op in program.of(*_CONVOLUTIONS):
        weight = op.input("weight")
        kernel = [] if weight is None or weight.type.shape is None else weight.type.shape[2:]
        if any(size is not None and size > _WIDEST_KERNEL for size in kernel):
            yield at(op, f"has a kernel of {' x '.join(map(str, kernel))}")


@rule(
    "neural-engine-flexible",
    "warning",
    why="most models whose input sizes lie in a range leave the Neural Engine",
    fix="fix the length, or enumerate the shapes that the app uses",
    source="guide on flexible inputs; public compute plans",
)
def neural_engine_flexible(program: Program) -> Iterator[Finding]:
    for feature in program.features:
        ranges = [(low, high) for low, high in feature.ranges if low != high]
        if ranges:
            words = ", ".join(f"{low} to {'any' if high is None else high}" for low, high in ranges)
            yield Finding(feature.name, "input", f"has a flexible size ({words})")


@rule(
    "neural-engine-exponentials",
    "warning",
    why="in float16 the Neural Engine loses it: log(softmax) becomes -inf for improbable classes, and exponentials are "
    "summed without subtracting the greatest first",
    fix="keep it in float32, or write it as x - max(x) - log(sum(exp(x - max(x))))",
    source="ct 2690, 2728",
)
def neural_engine_exponentials(program: Program) -> Iterator[Finding]:
    for op in program.of("log", "reduce_log_sum_exp"):
        x = op.input("x")
        if x is None or x.type.dtype != "fp16":
            continue
        if op.type == "reduce_log_sum_exp":
            yield at(op, "sums exponentials in float16")
        elif x.maker == "softmax":
            yield at(op, "takes the logarithm of a softmax in float16")
