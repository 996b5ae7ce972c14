"""What an artifact answers against what PyTorch answered: cases that are admitted, refused, wrong."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import coremltools as ct
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from convert.targets import choose_runtime
from recipes.base.errors import UserError
from recipes.base.tensor import Output, Tolerance
from validators import reference
from validators.compare import Sampled, compare_outputs
from validators.results import Check, exit_code
from validators.runners.runner import Port, Runner, RunnerError, run_batch
from validators.values import Case, check_values, fed

EXACT = {precision: Tolerance(atol=0, rtol=0, reason="nothing is computed") for precision in ("fp32", "mixed", "fp16")}
OUTPUTS = (Output(name="sum", axes=("batch",), kind="feature", description="", tolerances=EXACT),)


def _sum(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"sum": inputs["waveform"].sum(axis=1)}


def _runner(axes: tuple[str | int | None, ...], run: Callable[..., Any] = _sum, name: str = "waveform") -> Runner:
    return Runner("fake", (Port(name, axes, "float32"),), (Port("sum", ("batch",), "float32"),), {}, run)


def _case(batch: int, samples: int, name: str = "case") -> Case:
    waveform = np.arange(batch * samples, dtype=np.float32).reshape(batch, samples)
    return Case(name, {"waveform": waveform}, _sum({"waveform": waveform}))


def _values(checks: list[Check]) -> dict[str, str]:
    return {check.case: check.status for check in checks if check.kind == "values"}


def _check(runner: Runner, *cases: Case) -> list[Check]:
    return check_values(runner, cases, OUTPUTS, artifact="a.onnx", precision="fp32")


def test_right_answers_pass_and_say_of_what() -> None:
    checks = _check(_runner(("batch", "samples")), _case(1, 4, "one"), _case(3, 5, "three"))
    assert {check.status for check in checks} == {"passed"}
    assert {(check.artifact, check.runtime, check.precision) for check in checks} == {("a.onnx", "fake", "fp32")}
    assert _values(checks) == {"one": "passed", "three": "passed"}
    assert exit_code(checks) == 0


def test_one_wrong_element_fails_its_case_alone() -> None:
    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        total = _sum(inputs)["sum"]
        total[1:2] += 1e-3
        return {"sum": total}

    checks = _check(_runner(("batch", "samples"), run), _case(1, 4, "one"), _case(3, 5, "three"))
    assert _values(checks) == {"one": "passed", "three": "failed"}
    assert exit_code(checks) == 1


def test_a_runtime_error_is_a_failed_check_and_the_other_cases_still_run() -> None:
    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if inputs["waveform"].shape[1] == 4:
            raise RunnerError("no kernel for that")
        return _sum(inputs)

    checks = _check(_runner(("batch", "samples"), run), _case(1, 4, "one"), _case(3, 5, "three"))
    assert _values(checks) == {"one": "failed", "three": "passed"}
    assert next(check.message for check in checks if check.case == "one") == "no kernel for that"


def test_one_case_is_compared_while_the_next_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never two at a time, and in their order, whatever becomes of one."""
    done = []

    def ask(inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
        size = inputs["waveform"].shape[1]
        done.append(f"ask {size}")
        if size == 2:
            raise RunnerError("not this one")

        def wait() -> dict[str, np.ndarray]:
            done.append(f"answer {size}")
            if size == 3:
                raise RunnerError("it crashed")
            return _sum(inputs)

        return wait

    def comparing(*words: Any, case: str, **more: Any) -> list[Check]:
        done.append(f"compare {case}")
        return compare_outputs(*words, case=case, **more)

    monkeypatch.setattr("validators.values.compare_outputs", comparing)
    runner = replace(_runner(("batch", "samples")), ask=ask)
    checks = _check(runner, *(_case(1, size, str(size)) for size in (1, 2, 3, 4)))
    assert list(_values(checks).items()) == [("1", "passed"), ("2", "failed"), ("3", "failed"), ("4", "passed")]
    assert [check.message for check in checks if check.status == "failed"] == ["not this one", "it crashed"]
    order = ["ask 1", "answer 1", "ask 2", "compare 1", "ask 3", "answer 3", "ask 4", "answer 4", "compare 4"]
    assert done == order


def test_a_fixed_length_skips_other_lengths() -> None:
    checks = _check(_runner((1, 5)), _case(1, 4, "one"), _case(1, 5, "five"))
    assert _values(checks) == {"five": "passed"}


def test_a_fixed_length_with_no_case_left_is_not_verified() -> None:
    (check,) = _check(_runner((1, 6)), _case(1, 4), _case(1, 5))
    assert (check.kind, check.status) == ("values", "not verified")
    assert "--seconds" in check.message
    assert exit_code([check]) == 3


def test_no_case_at_all_is_not_verified() -> None:
    assert [check.status for check in _check(_runner(("batch", "samples")))] == ["not verified"]


@pytest.mark.parametrize(("axes", "batches"), [((1, None), [1, 1, 1]), (("batch", None), [3]), ((None, None), [3])])
def test_rows_run_one_by_one_where_the_batch_is_one(axes: tuple[Any, ...], batches: list[int]) -> None:
    seen = []

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        seen.append(len(inputs["waveform"]))
        return _sum(inputs)

    assert _values(_check(_runner(axes, run), _case(3, 4))) == {"case": "passed"}
    assert seen == batches


@pytest.mark.parametrize(("rows", "others"), [(0, 0), (2, 3)])
def test_rows_that_are_not_there_are_refused(rows: int, others: int) -> None:
    inputs = {"waveform": np.zeros((rows, 4), np.float32), "more": np.zeros((others, 4), np.float32)}
    with pytest.raises(RunnerError, match=f"row by row, and was given {rows} of waveform, {others} of more"):
        run_batch(_runner((1, 4)), inputs)


def test_a_wrong_row_is_found_when_rows_run_one_by_one() -> None:
    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"sum": np.minimum(_sum(inputs)["sum"], 10)}

    checks = _check(_runner((1, None), run), _case(3, 4))
    (failed,) = (check for check in checks if check.status == "failed")
    assert failed.comparison is not None
    assert failed.comparison.worst == [2]


@pytest.mark.parametrize("axes", [("batch", "samples"), (1, 4), ("samples",), ("batch", 1, "samples")])
def test_an_input_of_another_name_or_rank_is_the_runtimes_to_refuse(axes: tuple[Any, ...]) -> None:
    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise RunnerError(f"cannot take {sorted(inputs)}")

    for name in ("waveform", "sound"):
        checks = _check(_runner(axes, run, name), _case(1, 4))
        assert [(check.status, check.message) for check in checks] == [("failed", "cannot take ['waveform']")]


# Faults planted in the files that the command made.


@pytest.fixture(scope="module")
def cases(made_pann: Any) -> tuple[Case, ...]:
    return tuple(reference.read(made_pann.path).cases)


def _run_file(path: Path, runtime: str, pann: Any, cases: tuple[Case, ...], precision: Any) -> list[Check]:
    runner = choose_runtime(path, runtime).open(path)
    return check_values(runner, cases, pann.outputs, artifact=path.name, precision=precision)


def test_what_a_file_is_fed_is_there_whole(pann: Any) -> None:
    melspec = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    tensor = replace(pann.input, name="melspec", axes=("batch", 2, "time"))
    whole = Case("a", {}, {"melspec": melspec, "clipwise": melspec[:, 0]})
    (case,) = fed([whole], tensor)
    assert list(case.expected) == ["clipwise"]
    np.testing.assert_array_equal(case.inputs["melspec"], melspec)
    (case,) = fed([Case("a", {}, {"clipwise": melspec[:, 0]}, {"melspec": melspec})], tensor)
    assert list(case.expected) == ["clipwise"]
    np.testing.assert_array_equal(case.inputs["melspec"], melspec)
    with pytest.raises(UserError, match="case a: holds melspec in part"):
        fed([replace(whole, expected={"melspec": Sampled.of(melspec, 2)})], tensor)


def _failed_values(checks: list[Check]) -> set[str]:
    return {check.output for check in checks if check.kind == "values" and check.status == "failed"}


@pytest.mark.parametrize("runtime", ["onnxruntime", "tract"])
def test_the_made_onnx_passes(made_pann: Any, pann: Any, cases: tuple[Case, ...], runtime: str) -> None:
    checks = _run_file(made_pann.onnx, runtime, pann, cases, "fp32")
    assert {check.status for check in checks} == {"passed"}
    assert len(_values(checks)) == len(cases) == len(reference.built_in(pann))


def _node(model: onnx.ModelProto, output: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if output in node.output)


def _attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    return next(attribute for attribute in node.attribute if attribute.name == name)


def _shift_the_front_ends_pad(model: onnx.ModelProto) -> None:
    pad = next(node for node in model.graph.node if node.op_type == "Pad")
    amounts = next(tensor for tensor in model.graph.initializer if tensor.name == pad.input[1])
    shifted = numpy_helper.to_array(amounts).copy()
    assert shifted.tolist() == [0, 0, 512, 0, 0, 512]
    shifted[[2, 5]] = 511, 513
    amounts.CopyFrom(numpy_helper.from_array(shifted, amounts.name))


def _shift_a_conv_in_time(model: onnx.ModelProto) -> None:
    conv = next(node for node in model.graph.node if node.op_type == "Conv" and "features.6.0" in node.input[1])
    pads = _attribute(conv, "pads").ints
    assert list(pads) == [1, 1, 1, 1]
    pads[:] = [1, 0, 1, 2]


def _pool_over_the_wrong_axis(model: onnx.ModelProto) -> None:
    pools = [node for node in model.graph.node if node.op_type == "AveragePool"]
    pool = next(node for node in pools if list(_attribute(node, "kernel_shape").ints) == [1, 3])
    _attribute(pool, "kernel_shape").ints[:] = [3, 1]
    _attribute(pool, "pads").ints[:] = [1, 0, 1, 0]


def _swap_two_outputs(model: onnx.ModelProto) -> None:
    names = ("clipwise", "segment_clipwise")
    nodes = [_node(model, name) for name in names]
    for node, name in zip(nodes, reversed(names), strict=True):
        node.output[0] = name


def _flip_bits_of_a_weight(model: onnx.ModelProto) -> None:
    weight = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("features.3.0.weight"))
    numbers = bytearray(weight.raw_data)
    for place in range(3, 67, 4):
        numbers[place] ^= 0x01  # The exponent's upper bits: up or down by a factor of four.
    weight.raw_data = bytes(numbers)


@pytest.mark.parametrize("runtime", ["onnxruntime", "tract"])
@pytest.mark.parametrize(
    ("plant", "wrong"),
    [
        (_shift_the_front_ends_pad, {"melspec"}),
        (_shift_a_conv_in_time, {"clipwise", "embedding", "framewise", "segment_clipwise"}),
        (_swap_two_outputs, {"clipwise", "segment_clipwise"}),
        (_flip_bits_of_a_weight, {"clipwise", "embedding", "framewise", "segment_clipwise"}),
    ],
)
def test_a_fault_planted_in_the_onnx_file_is_found(
    made_pann: Any, pann: Any, cases: tuple[Case, ...], tmp_path: Path, plant: Any, wrong: set[str], runtime: str
) -> None:
    model = onnx.load(str(made_pann.onnx))
    plant(model)
    onnx.save(model, str(tmp_path / "model.onnx"))
    checks = _run_file(tmp_path / "model.onnx", runtime, pann, cases, "fp32")
    assert _failed_values(checks) >= wrong
    assert exit_code(checks) == 1
    if plant is _swap_two_outputs:
        assert any("are they swapped?" in check.message for check in checks)
    if plant is not _shift_the_front_ends_pad:
        assert not any(check.output == "melspec" and check.status == "failed" for check in checks)


def test_a_wrong_axis_planted_in_the_onnx_file_is_found(
    made_pann: Any, pann: Any, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    model = onnx.load(str(made_pann.onnx))
    _pool_over_the_wrong_axis(model)
    onnx.save(model, str(tmp_path / "model.onnx"))
    checks = _run_file(tmp_path / "model.onnx", "onnxruntime", pann, cases, "fp32")
    assert _failed_values(checks) == {"framewise", "segment_clipwise"}
    assert exit_code(checks) == 1


@pytest.mark.parametrize("runtime", ["executor", "executor-float32"])
def test_the_made_package_passes(made_pann: Any, pann: Any, cases: tuple[Case, ...], runtime: str) -> None:
    checks = _run_file(made_pann.mlpackage, runtime, pann, cases, "mixed")
    assert {check.status for check in checks} == {"passed"}
    assert len(_values(checks)) == len(cases)


def _operations(spec: Any) -> list[Any]:
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    return list(block.operations)


def _making(spec: Any, output: str) -> Any:
    return next(op for op in _operations(spec) if any(value.name == output for value in op.outputs))


def _integers(spec: Any, name: str) -> Any:
    return _making(spec, name).attributes["val"].immediateValue.tensor.ints.values


def _shift_the_front_ends_pad_in_the_program(package: Path, spec: Any) -> None:
    pad = next(op for op in _operations(spec) if op.type == "pad")
    amounts = _integers(spec, pad.inputs["pad"].arguments[0].name)
    assert list(amounts)[-2:] == [512, 512]
    amounts[-2:] = [511, 513]


def _shift_a_conv_in_time_in_the_program(package: Path, spec: Any) -> None:
    pads = [_integers(spec, op.inputs["pad"].arguments[0].name) for op in _operations(spec) if op.type == "conv"]
    padded = [amounts for amounts in pads if list(amounts) == [1, 1, 1, 1]]
    assert len(padded) == 14
    padded[6][:] = [1, 1, 0, 2]


def _swap_two_outputs_of_the_program(package: Path, spec: Any) -> None:
    names = ("clipwise", "segment_clipwise")
    makers = [_making(spec, name) for name in names]
    for maker, name in zip(makers, reversed(names), strict=True):
        maker.outputs[0].name = name


def _flip_bits_of_the_weights(package: Path, spec: Any) -> None:
    weights = package / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    conv = [op for op in _operations(spec) if op.type == "conv"][6]
    start = _making(spec, conv.inputs["weight"].arguments[0].name).attributes["val"].blobFileValue.offset
    content = bytearray(weights.read_bytes())
    # The blob's header says where its data starts: coremltools' MILBlob/Blob/StorageFormat.hpp.
    data = int.from_bytes(content[start + 16 : start + 24], "little")
    for place in range(data + 1, data + 65, 2):
        content[place] ^= 0x08  # float16's exponent: up or down by a factor of four.
    weights.write_bytes(content)


@pytest.mark.parametrize("runtime", ["executor", "executor-float32"])
@pytest.mark.parametrize(
    ("plant", "wrong"),
    [
        (_shift_the_front_ends_pad_in_the_program, {"melspec"}),
        (_shift_a_conv_in_time_in_the_program, {"clipwise", "embedding", "framewise"}),
        (_swap_two_outputs_of_the_program, {"clipwise", "segment_clipwise"}),
        (_flip_bits_of_the_weights, {"clipwise", "embedding", "framewise"}),
    ],
)
def test_a_fault_planted_in_the_package_is_found(
    made_pann: Any, pann: Any, cases: tuple[Case, ...], tmp_path: Path, plant: Any, wrong: set[str], runtime: str
) -> None:
    package = copytree(made_pann.mlpackage, tmp_path / "model.mlpackage")
    spec = ct.utils.load_spec(str(package))
    plant(package, spec)
    (package / "Data" / "com.apple.CoreML" / "model.mlmodel").write_bytes(spec.SerializeToString())
    checks = _run_file(package, runtime, pann, cases, "mixed")
    assert _failed_values(checks) >= wrong
    assert exit_code(checks) == 1
    if plant is not _shift_the_front_ends_pad_in_the_program:
        assert not any(check.output == "melspec" and check.status == "failed" for check in checks)


@pytest.mark.parametrize("runtime", ["executor", "executor-float32"])
def test_a_wrong_axis_planted_in_the_package_is_found(
    made_pann: Any, pann: Any, cases: tuple[Case, ...], tmp_path: Path, runtime: str
) -> None:
    package = copytree(made_pann.mlpackage, tmp_path / "model.mlpackage")
    spec = ct.utils.load_spec(str(package))
    pools = [op for op in _operations(spec) if op.type == "avg_pool"]
    kernels = [_integers(spec, op.inputs["kernel_sizes"].arguments[0].name) for op in pools]
    pool, kernel = next((op, kernel) for op, kernel in zip(pools, kernels, strict=True) if list(kernel) == [1, 3])
    kernel[:] = [3, 1]
    _integers(spec, pool.inputs["pad"].arguments[0].name)[:] = [1, 1, 0, 0]
    (package / "Data" / "com.apple.CoreML" / "model.mlmodel").write_bytes(spec.SerializeToString())
    checks = _run_file(package, runtime, pann, cases, "mixed")
    assert _failed_values(checks) >= {"framewise"}
    assert exit_code(checks) == 1


def test_loosened_tolerances_are_those_of_the_precision(made_pann: Any, pann: Any, cases: tuple[Case, ...]) -> None:
    """A mixed package does not pass at float32's tolerances: the right ones are looked up."""
    assert _failed_values(_run_file(made_pann.mlpackage, "executor", pann, cases[:1], "fp32"))
    loose = Tolerance(atol=1e3, rtol=0, reason="anything goes here")
    outputs = tuple(replace(output, tolerances={**output.tolerances, "fp32": loose}) for output in pann.outputs)
    runner = choose_runtime(made_pann.mlpackage, "executor").open(made_pann.mlpackage)
    checks = check_values(runner, cases[:1], outputs, artifact="a", precision="fp32")
    assert not _failed_values(checks)
