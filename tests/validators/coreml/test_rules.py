"""Every rule against a package that breaks it and a close neighbour that does not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import get_new_symbol, types
from coremltools.proto import FeatureTypes_pb2

from validators.coreml.rules import RULES, check_rules

# Lengths without bounds are what some rules are about.
pytestmark = pytest.mark.filterwarnings("ignore:Some dimensions in the input shape are unknown:UserWarning:coremltools")

ARRAY = FeatureTypes_pb2.ArrayFeatureType
FLOAT16, DOUBLE = ARRAY.FLOAT16, ARRAY.DOUBLE


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


@dataclass
class Made:
    """How to make a package: the ops, the inputs, the op set, and what is done to the file afterwards."""

    build: Callable[..., Any]
    inputs: dict[str, Any]
    opset: str = "iOS17"
    doctor: Callable[[Any], None] = lambda spec: None


@pytest.fixture(scope="module")
def package(make_model: Callable[..., ct.models.MLModel]) -> Callable[[Made], ct.models.MLModel]:
    def make(made: Made) -> ct.models.MLModel:
        model = make_model(made.build, made.inputs, made.opset)
        spec = model.get_spec()
        made.doctor(spec)
        return ct.models.MLModel(spec, skip_model_load=True, weights_dir=model.weights_dir)

    return make


def relu(**inputs: Any) -> Any:
    return [mb.relu(x=x, name=f"y{index}") for index, x in enumerate(inputs.values())]


def ops(spec: Any, kind: str) -> list[Any]:
    function = spec.mlProgram.functions["main"]
    return [op for op in function.block_specializations[function.opset].operations if op.type == kind]


def flexible(*bounds: tuple[int, int]) -> Callable[[Any], None]:
    def doctor(spec: Any) -> None:
        ranges = spec.description.input[0].type.multiArrayType.shapeRange
        del ranges.sizeRanges[:]
        for low, high in bounds:
            ranges.sizeRanges.add(lowerBound=low, upperBound=high)

    return doctor


def enumerated(count: int) -> Callable[[Any], None]:
    def doctor(spec: Any) -> None:
        for feature in spec.description.input:
            for size in range(1, count + 1):
                feature.type.multiArrayType.enumeratedShapes.shapes.add(shape=[1, size])

    return doctor


def interface(dtype: int) -> Callable[[Any], None]:
    def doctor(spec: Any) -> None:
        spec.description.input[0].type.multiArrayType.dataType = dtype

    return doctor


def renamed(name: str) -> Callable[[Any], None]:
    def doctor(spec: Any) -> None:
        ops(spec, "relu")[0].outputs[0].name = name
        spec.description.output[0].name = name
        function = spec.mlProgram.functions["main"]
        function.block_specializations[function.opset].outputs[0] = name

    return doctor


def shaped(kind: str, *sizes: int) -> Callable[[Any], None]:
    """Declares another shape for the result of the first op of a kind."""

    def doctor(spec: Any) -> None:
        tensor = ops(spec, kind)[0].outputs[0].type.tensorType
        del tensor.dimensions[:]
        tensor.rank = len(sizes)
        for size in sizes:
            tensor.dimensions.add().constant.size = size

    return doctor


def constant(kind: str, name: str, value: Any) -> Callable[[Any], None]:
    """Gives another constant, in place, to an input of the first op of a kind."""

    def doctor(spec: Any) -> None:
        binding = ops(spec, kind)[0].inputs[name].arguments
        del binding[:]
        message = binding.add().value
        content = message.immediateValue.tensor
        if isinstance(value, str):
            message.type.tensorType.dataType = 2
            content.strings.values.append(value)
        elif isinstance(value, bool):
            message.type.tensorType.dataType = 1
            content.bools.values.append(value)
        else:
            message.type.tensorType.dataType = 23
            message.type.tensorType.rank = 1
            message.type.tensorType.dimensions.add().constant.size = len(value)
            content.ints.values.extend(value)

    return doctor


def all_of(*doctors: Callable[[Any], None]) -> Callable[[Any], None]:
    def doctor(spec: Any) -> None:
        for each in doctors:
            each(spec)

    return doctor


def retyped(kind: str) -> Callable[[Any], None]:
    def doctor(spec: Any) -> None:
        ops(spec, "relu")[0].type = kind

    return doctor


def versioned(version: int) -> Callable[[Any], None]:
    def doctor(spec: Any) -> None:
        spec.specificationVersion = version

    return doctor


def rewired(spec: Any) -> None:
    """The relu takes the integers before the second cast."""
    first, _ = ops(spec, "cast")
    ops(spec, "relu")[0].inputs["x"].arguments[0].name = first.outputs[0].name


def free(*sizes: int | None, dtype: Any = types.fp32) -> Any:
    return mb.placeholder(shape=tuple(get_new_symbol() if size is None else size for size in sizes), dtype=dtype)


def pad(amounts: list[int], mode: str) -> Callable[..., Any]:
    return lambda x: mb.pad(x=x, pad=amounts, mode=mode, name="y")


def conv(*kernel: int) -> Callable[..., Any]:
    return lambda x: mb.conv(x=x, weight=np.ones(kernel, np.float32), pad_type="valid", name="y")


def pool(**options: Any) -> Callable[..., Any]:
    return lambda x: mb.max_pool(x=x, kernel_sizes=[3], strides=[2], name="y", **options)


def conv_then_reflect(x: Any) -> Any:
    """Windows of 6 by steps of 2: a clip of 13 leaves a size of 4, and one of 14 leaves 5."""
    windows = mb.conv(x=x, weight=np.ones((1, 1, 6), np.float32), strides=[2], pad_type="valid")
    return mb.pad(x=mb.expand_dims(x=windows, axes=[0]), pad=[4, 4], mode="reflect", name="y")


def sliced_then_reflect(x: Any) -> Any:
    part = mb.slice_by_size(x=x, begin=[0, 1], size=[1, -1])
    return mb.pad(x=part, pad=[2, 2], mode="reflect", name="y")


def rounded(x: Any) -> Any:
    return mb.relu(x=mb.cast(x=mb.cast(x=x, dtype="int32"), dtype="fp32"), name="y")


def product(x: Any) -> Any:
    return mb.matmul(x=x, y=np.ones((4, 2), np.float32), name="y")


def many(rank: int) -> Callable[..., Any]:
    return lambda x: mb.relu(x=mb.reshape(x=x, shape=[1] * rank), name="y")


X = {"x": zeros(1, 4)}
SOUND = {"x": zeros(1, 2, 8)}
CASES: dict[str, list[tuple[Made, Made]]] = {
    "io-dtype": [
        (Made(relu, X, "iOS15", interface(FLOAT16)), Made(relu, {"x": zeros(1, 4, dtype=np.float16)}, "iOS16")),
        (Made(relu, X, "iOS18", interface(DOUBLE)), Made(relu, X, "iOS15")),
    ],
    "io-rank-zero": [
        (Made(lambda x: mb.reduce_sum(x=x, name="y"), X), Made(lambda x: mb.reduce_sum(x=x, axes=[1], name="y"), X)),
    ],
    "unbounded": [(Made(relu, X, doctor=flexible((1, 1), (4, -1))), Made(relu, X, doctor=flexible((1, 1), (4, 9))))],
    "enumerated-shapes": [(Made(relu, X, doctor=enumerated(129)), Made(relu, X, doctor=enumerated(128)))],
    "enumerated-inputs": [
        (Made(relu, {**X, "z": zeros(1, 4)}, opset, enumerated(2)), fine)
        for opset, fine in [
            ("iOS17", Made(relu, {**X, "z": zeros(1, 4)}, "iOS18", enumerated(2))),
            ("iOS15", Made(relu, X, "iOS15", enumerated(2))),
        ]
    ],
    "identifier": [
        (Made(relu, X, doctor=renamed(bad)), Made(relu, X, doctor=renamed("_y@2"))) for bad in ("a/b", "2y", "ü", "")
    ],
    "pad-mode": [
        (
            Made(pad([1, 1], "reflect"), X, doctor=constant("pad", "mode", mode)),
            Made(pad([1, 1], "reflect"), X, doctor=constant("pad", "mode", "replicate")),
        )
        for mode in ("circular", "symmetric")
    ],
    "pad-dimensions": [
        (Made(pad([1, 1, 0, 0, 0, 0], mode), {"x": zeros(3, 4, 5)}), fine)
        for mode, fine in [
            ("reflect", Made(pad([0, 0, 1, 1, 1, 1], "reflect"), {"x": zeros(3, 4, 5)})),
            ("replicate", Made(pad([1, 1, 0, 0, 0, 0], "constant"), {"x": zeros(3, 4, 5)})),
        ]
    ]
    + [
        # Ten amounts lie in the weight file from iOS 18 on.
        (
            Made(pad([0, 0, 0, 0, 1, 1, 0, 0, 0, 0], "reflect"), {"x": zeros(2, 2, 4, 4, 4)}, "iOS18"),
            Made(pad([0, 0, 0, 0, 0, 0, 1, 1, 0, 0], "reflect"), {"x": zeros(2, 2, 4, 4, 4)}, "iOS18"),
        )
    ],
    "pad-amount": [
        (Made(pad([0, 4], "reflect"), X), Made(pad([0, 3], "reflect"), X)),
        (Made(pad([5, 0], "replicate"), X), Made(pad([4, 4], "replicate"), X)),
        (Made(pad([5, 0], "replicate"), X), Made(pad([50, 50], "constant"), X)),
        (
            Made(pad([4, 4], "reflect"), {"x": free(1, None)}, doctor=flexible((1, 1), (4, 100))),
            Made(pad([4, 4], "reflect"), {"x": free(1, None)}, doctor=flexible((1, 1), (5, 100))),
        ),
        (
            Made(conv_then_reflect, {"x": free(1, 1, None)}, doctor=flexible((1, 1), (1, 1), (13, 100))),
            Made(conv_then_reflect, {"x": free(1, 1, None)}, doctor=flexible((1, 1), (1, 1), (14, 100))),
        ),
    ],
    "pad-unknown-size": [
        (
            Made(sliced_then_reflect, {"x": free(1, None)}, doctor=flexible((1, 1), (4, 9))),
            Made(sliced_then_reflect, X),
        )
    ],
    "pad-constant": [
        (
            Made(lambda x, n: mb.pad(x=x, pad=n, name="y"), {**X, "n": zeros(4, dtype=np.int32)}),
            Made(lambda x, n: mb.pad(x=x, pad=n, name="y"), {"x": zeros(4), "n": zeros(2, dtype=np.int32)}),
        )
    ],
    "rank": [
        (
            Made(many(5), {"x": zeros(1)}, doctor=shaped("reshape", 1, 1, 1, 1, 1, 1)),
            Made(many(5), {"x": zeros(1)}),
        )
    ],
    "zero-size": [
        (Made(relu, X, doctor=shaped("relu", 0, 4)), Made(relu, X)),
        (
            Made(conv(1, 1, 5), {"x": free(1, 1, None)}, doctor=flexible((1, 1), (1, 1), (4, 9))),
            Made(conv(1, 1, 5), {"x": free(1, 1, None)}, doctor=flexible((1, 1), (1, 1), (5, 9))),
        ),
    ],
    "float-only": [(Made(rounded, X, doctor=rewired), Made(rounded, X))],
    "operand-rank": [
        (
            Made(many(3), {"x": zeros(1)}, doctor=all_of(shaped("reshape", *[1] * bad), retyped(op))),
            Made(many(3), {"x": zeros(1)}, doctor=retyped(op)),
        )
        for op, bad in [("batch_norm", 2), ("instance_norm", 5), ("linear", 4), ("conv", 2), ("avg_pool", 2)]
    ],
    "matmul-vector": [(Made(product, {"x": zeros(4)}), Made(product, X))],
    "pool-dilation": [
        (
            Made(pool(pad_type="valid"), SOUND, doctor=constant("max_pool", "dilations", [2])),
            Made(conv(2, 2, 3), SOUND, doctor=constant("conv", "dilations", [2])),
        )
    ],
    "pool-ceil": [
        (
            Made(pool(pad_type="valid"), SOUND, doctor=all_of(*bad)),
            Made(pool(pad_type="custom", pad=[1, 1], ceil_mode=True), SOUND),
        )
        for bad in [
            (constant("max_pool", "ceil_mode", True), constant("max_pool", "pad_type", "same")),
            (
                constant("max_pool", "ceil_mode", True),
                constant("max_pool", "pad_type", "custom"),
                constant("max_pool", "pad", [0, 1]),
            ),
        ]
    ],
    "op-set": [(Made(relu, X, "iOS17", versioned(7)), Made(relu, X, "iOS17", versioned(9)))],
    "op-version": [
        (Made(relu, X, "iOS15", retyped("fill_like")), Made(relu, X, "iOS16", retyped("fill_like"))),
        (Made(relu, X, "iOS18", retyped("relu7")), Made(relu, X, "iOS18", retyped("relu6"))),
    ],
    "op-input": [(Made(relu, X, doctor=constant("relu", "shiny", [1])), Made(relu, X))],
    "gpu-dimension": [
        (Made(conv(1, 1, 3), {"x": zeros(1, 1, 16385)}), Made(conv(1, 1, 3), {"x": zeros(1, 1, 16384)})),
        (
            Made(conv(1, 1, 3), {"x": free(1, 1, None)}, doctor=flexible((1, 1), (1, 1), (9, 99999))),
            Made(conv(1, 1, 3), {"x": free(1, 1, None)}, doctor=flexible((1, 1), (1, 1), (9, 9999))),
        ),
    ],
    "neural-engine-kernel": [
        (Made(conv(1, 2, 8), SOUND, doctor=shaped("const", 1, 2, 16)), Made(conv(1, 2, 8), SOUND))
    ],
    "neural-engine-flexible": [
        (Made(relu, X, doctor=flexible((1, 1), (4, 9))), Made(relu, X, doctor=flexible((1, 1), (4, 4)))),
        (Made(relu, X, doctor=flexible((1, 1), (4, 9))), Made(relu, X, doctor=enumerated(5))),
    ],
    "neural-engine-exponentials": [
        (Made(build, {"x": zeros(1, 4, dtype=np.float16)}), Made(build, X))
        for build in (
            lambda x: mb.log(x=mb.softmax(x=x), name="y"),
            lambda x: mb.reduce_log_sum_exp(x=x, axes=[1], name="y"),
        )
    ],
}


def test_every_rule_has_a_case():
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize(
    ("rule", "bad"),
    [pytest.param(rule, bad, id=f"{rule}-{i}") for rule, s in CASES.items() for i, (bad, _) in enumerate(s)],
)
def test_a_package_that_breaks_it(package, rule, bad):
    (breach,) = [breach for breach in check_rules(package(bad)) if breach.rule == rule]
    known = RULES[rule]
    assert (breach.severity, breach.why, breach.fix) == (known.severity, known.why, known.fix)
    assert breach.op_type
    assert breach.matter in str(breach)


@pytest.mark.parametrize(
    ("rule", "fine"),
    [pytest.param(rule, ok, id=f"{rule}-{i}") for rule, s in CASES.items() for i, (_, ok) in enumerate(s)],
)
def test_a_package_that_keeps_it(package, rule, fine):
    assert [breach for breach in check_rules(package(fine)) if breach.rule == rule] == []
