"""What an op is called in all formats alike: a hint for people and for pairing, never what decides."""

from validators.traces.trace import Op

# What different formats call the same.
_KINDS = {
    "convolution": "conv",
    "conv1d": "conv",
    "conv2d": "conv",
    "gemm": "matmul",
    "linear": "matmul",
    "addmm": "matmul",
    "mm": "matmul",
    "bmm": "matmul",
    "batchnormalization": "batchnorm",
    "nativebatchnormlegitnotraining": "batchnorm",
    "layernormalization": "layernorm",
    "nativelayernorm": "layernorm",
    "instancenormalization": "instancenorm",
    "averagepool": "avgpool",
    "avgpool1d": "avgpool",
    "avgpool2d": "avgpool",
    "maxpool2d": "maxpool",
    "permute": "transpose",
    "globalaveragepool": "reducemean",
    "mean": "reducemean",
    "realdiv": "div",
    "upsamplebilinear": "resize",
    "resizebilinear": "resize",
    "constantpadnd": "pad",
    "reflectionpad1d": "pad",
}


def kind_of(op: Op) -> str:
    """What all formats call it: `Conv`, `conv` and `aten.conv2d.default` are one kind."""
    kind = op.kind.lower().removeprefix("aten.").split(".")[0].replace("_", "")
    return _KINDS.get(kind, kind)


def alike(one: Op, other: Op) -> bool:
    """Whether two ops, of any formats, are of one kind."""
    return kind_of(one) == kind_of(other)
