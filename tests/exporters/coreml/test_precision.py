"""`mixed` keeps in float32 what leaves float16's range, and that alone."""

from collections.abc import Callable
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from exporters.coreml.convert import convert
from exporters.coreml.precision import compute_precision, plain_name
from exporters.lowering import lower
from recipes.base.errors import UserError
from recipes.base.sound import rich, square
from validators.results import Check, exit_code
from validators.runners.coreml import open_float32, open_stored
from validators.runners.pytorch import answers
from validators.values import Case, check_values

SAMPLES = 16000


def _program(package: Any) -> list[Any]:
    (block,) = ct.utils.load_spec(str(package.path)).mlProgram.functions["main"].block_specializations.values()
    return [op for op in block.operations if op.type != "const"]


def _dtypes(op: Any) -> set[str]:
    kinds = ct.proto.MIL_pb2.DataType
    return {kinds.Name(output.type.tensorType.dataType) for output in op.outputs}


def _up_to(operations: list[Any], output: str) -> list[Any]:
    """All operations that the output is made of, in order."""
    needed, found = {output}, []
    for op in reversed(operations):
        if needed & {value.name for value in op.outputs}:
            found.append(op)
            needed |= {argument.name for input_ in op.inputs.values() for argument in input_.arguments}
    return found[::-1]


def test_mixed_keeps_the_front_end_and_its_normalisation_in_float32(package: Callable[..., Any]) -> None:
    operations = _program(package("mixed"))
    front_end = _up_to(operations, "melspec")
    assert [op.type for op in front_end].count("conv") == 2
    assert {"pad", "matmul", "mul", "clip", "log"} <= {op.type for op in front_end}
    (norm,) = (op for op in operations if op.type == "batch_norm" and "FLOAT32" in _dtypes(op))
    norms = _up_to(operations, norm.outputs[0].name)
    for op in (*front_end, *norms):
        assert _dtypes(op) == {"FLOAT32"}, op.type


def test_mixed_computes_the_trunk_and_the_heads_in_float16(package: Callable[..., Any]) -> None:
    operations = _program(package("mixed"))
    front_end = {op.outputs[0].name for op in _up_to(operations, "melspec")}
    later = [op for op in operations if op.outputs[0].name not in front_end]
    weighted = [op for op in later if op.type in ("conv", "linear")]
    assert len(weighted) == 27 + 4
    for op in weighted:
        assert _dtypes(op) == {"FLOAT16"}, op.outputs[0].name
    casts = [op for op in operations if op.type == "cast"]
    outputs = {"clipwise", "embedding", "framewise", "segment_clipwise"}
    assert {op.outputs[0].name for op in casts if "FLOAT32" in _dtypes(op)} == outputs
    assert len([op for op in casts if "FLOAT16" in _dtypes(op)]) == 1


def test_fp32_has_no_float16_and_fp16_no_float32_inside(package: Callable[..., Any]) -> None:
    assert not [op for op in _program(package("fp32")) if "FLOAT16" in _dtypes(op)]
    outputs = {"clipwise", "embedding", "framewise", "segment_clipwise", "melspec"}
    single = {op.outputs[0].name for op in _program(package("fp16")) if "FLOAT32" in _dtypes(op)}
    assert single <= outputs


@pytest.fixture(scope="module")
def cases(synthetic_pann: Any) -> dict[str, Case]:
    sounds = {
        "rich": rich(SAMPLES, 32000, seed=5),
        "silence": np.zeros(SAMPLES, np.float32),
        "full scale": square(SAMPLES, 32000),
    }
    named = {name: {"waveform": sound[None]} for name, sound in sounds.items()}
    return {name: Case(name, inputs, answers(synthetic_pann, inputs)) for name, inputs in named.items()}


def _checks(package: Any, open_: Any, case: Case, pann: Any, precision: Any) -> list[Check]:
    return check_values(open_(package.path), [case], pann.outputs, artifact="model.mlpackage", precision=precision)


@pytest.mark.parametrize("open_", [open_stored, open_float32])
@pytest.mark.parametrize("precision", ["fp32", "mixed"])
@pytest.mark.parametrize("sound", ["rich", "silence", "full scale"])
def test_fp32_and_mixed_pass_at_the_configured_tolerances(
    package: Callable[..., Any], pann: Any, cases: dict[str, Case], sound: str, precision: str, open_: Any
) -> None:
    checks = _checks(package(precision), open_, cases[sound], pann, precision)
    assert [check.message for check in checks if check.status != "passed"] == []
    assert exit_code(checks) == 0


@pytest.mark.parametrize("sound", ["silence", "full scale"])
def test_fp16_fails_on_silence_and_on_full_scale(
    package: Callable[..., Any], pann: Any, cases: dict[str, Case], sound: str
) -> None:
    checks = _checks(package("fp16"), open_stored, cases[sound], pann, "fp16")
    failed = {check.output for check in checks if check.kind == "values" and check.status == "failed"}
    assert "melspec" in failed
    assert exit_code(checks) == 1


def test_fp16s_failure_is_rounding_and_no_fault_of_the_graph(
    package: Callable[..., Any], pann: Any, cases: dict[str, Case]
) -> None:
    """Nothing overflows where nothing is rounded to float16; the weights have been, and the floor with them."""
    checks = _checks(package("fp16"), open_float32, cases["full scale"], pann, "fp16")
    assert not [check for check in checks if "NaN or infinite" in check.message]


def test_an_output_that_is_not_there_is_no_front_end() -> None:
    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))])
    def program(x: Any) -> Any:
        return mb.relu(x=x, name="y")

    with pytest.raises(ValueError, match="the program has no output 'melspec'"):
        ct.convert(
            program,
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=compute_precision("mixed", ("melspec",)),
        )


def _halves(**words: Any) -> set[str]:
    """What becomes float16 of three operations in a row."""

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))])
    def program(x: Any) -> Any:
        return mb.exp(x=mb.sqrt(x=mb.square(x=x, name="12.squared"), name="root"), name="y")

    model = ct.convert(
        program,
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=compute_precision(**words),
        skip_model_load=True,
    )
    (block,) = model.get_spec().mlProgram.functions["main"].block_specializations.values()
    ops = [op for op in block.operations if op.type not in ("const", "cast") and _dtypes(op) == {"FLOAT16"}]
    return {op.type for op in ops}


def test_operations_that_are_named_stay_in_float32() -> None:
    assert _halves(precision="fp16", float32_through=()) == {"square", "sqrt", "exp"}
    assert _halves(precision="fp16", float32_through=(), float32_ops=["root"]) == {"square", "exp"}
    # As the package calls them where they are float16, and where a name begins with a number.
    named = ["root_cast_fp16", "op_12_squared"]
    assert _halves(precision="fp16", float32_through=(), float32_ops=named) == {"exp"}
    assert _halves(precision="mixed", float32_through=("y",), float32_ops=["root"]) == set()


def test_a_name_that_no_operation_has_is_refused_with_those_that_are_near() -> None:
    with pytest.raises(UserError, match="--float32-op rot: this program has no such operation; there are root, "):
        _halves(precision="fp16", float32_through=(), float32_ops=["rot"])


def test_the_names_of_a_package_hold_for_the_next_conversion(
    package: Callable[..., Any], pann: Any, synthetic_pann: Any
) -> None:
    """Every name in a package is one that the conversion knows, and keeps that operation alone in float32."""
    before = _program(package("mixed"))
    halves = [op for op in before if _dtypes(op) == {"FLOAT16"} and op.type != "cast"]
    everything = [op.outputs[0].name for op in halves]
    whole = convert(lower(synthetic_pann, pann), pann, precision="mixed", float32_ops=everything).model.get_spec()
    (block,) = whole.mlProgram.functions["main"].block_specializations.values()
    left = [op for op in block.operations if op.type not in ("const", "cast") and "FLOAT16" in _dtypes(op)]
    assert [op.outputs[0].name for op in left] == []
    # Gaps between operations that stay are as they were, under the names that they had.
    kept = everything[::10]
    some = convert(lower(synthetic_pann, pann), pann, precision="mixed", float32_ops=kept).model.get_spec()
    (block,) = some.mlProgram.functions["main"].block_specializations.values()
    still = {op.outputs[0].name for op in block.operations if _dtypes(op) == {"FLOAT16"} and op.type != "cast"}
    assert {plain_name(name) for name in everything} - {plain_name(name) for name in still} == set(
        map(plain_name, kept)
    )
