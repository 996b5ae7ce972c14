"""EAT's files against the authors' own answers, from both forms of a training run and in both opsets."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, copytree

import coremltools as ct
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from torch import nn

from exporters.coreml.convert import convert
from exporters.coreml.package import save
from exporters.lowering import lower
from exporters.onnx.export import export
from exporters.onnx.simplify import simplify
from recipes.base.facts import facts_of
from recipes.base.recipe import faithful_model, load
from recipes.base.spec import Variant
from recipes.base.tensor import Precision
from validators.runners import coreml, onnxruntime, tract
from validators.runners.runner import Runner, run_batch

# Opset 17 has LayerNormalization, and 13, which the compilers of small processors take, has not.
OPSETS = {"eat_s_esc50": 17, "eat_s_urban8k_dp": 13}
OPENERS = {"onnxruntime": onnxruntime.open_file, "tract": tract.open_file, "executor": coreml.open_stored}

each_run = pytest.mark.parametrize("name", OPSETS)
each_runtime = pytest.mark.parametrize("runtime", OPENERS)

Case = dict[str, np.ndarray]


@dataclass(frozen=True)
class Exported:
    """Files of one run's weights, each made once."""

    name: str
    variant: Variant
    model: nn.Module
    made_once: Callable[..., Path]

    @property
    def onnx(self) -> Path:
        def make(folder: Path) -> None:
            exported = export(lower(self.model, self.variant), self.variant, OPSETS[self.name])
            onnx.save(simplify(exported), str(folder / "model.onnx"))

        return self.made_once(f"exported-{self.name}", make) / "model.onnx"

    def package(self, precision: Precision) -> Path:
        def make(folder: Path) -> None:
            facts = facts_of(self.variant, "custom", "0" * 64, ("class",) * self.variant.classes)
            program = convert(lower(self.model, self.variant), self.variant, precision=precision).model
            save(program, folder / "model.mlpackage", self.variant, facts, precision)

        return self.made_once(f"exported-{self.name}-{precision}", make) / "model.mlpackage"

    def artifact(self, runtime: str) -> Path:
        return self.package("fp32") if runtime == "executor" else self.onnx

    def open(self, runtime: str) -> Runner:
        return OPENERS[runtime](self.artifact(runtime))


@pytest.fixture(scope="module")
def exported(made_once: Callable[..., Path], stand_in: Callable[[str], Path]) -> Callable[[str], Exported]:
    """`exported(name)`: the weights with which the authors' code answered, in whatever form is asked of it."""

    def get(name: str) -> Exported:
        recipe = load("eat")
        read = recipe.read_checkpoint(stand_in(name), None)
        return Exported(name, read.variant, faithful_model(read.variant, read.state), made_once)

    return get


def distance(runner: Runner, case: Case) -> float:
    """The largest error in units of what is allowed: a ten-thousandth of the largest logit."""
    logits = run_batch(runner, {"waveform": case["waveform"]})["logits"]
    assert logits.shape == case["logits"].shape
    return float(np.abs(logits - case["logits"]).max() / (1e-4 * np.abs(case["logits"]).max()))


@each_runtime
@each_run
def test_the_files_give_the_authors_answers(exported: Callable, truth: Callable, name: str, runtime: str) -> None:
    runner, cases = exported(name).open(runtime), truth(name)
    assert cases.keys() == {"rich", "batch2", "silence"}
    for case, expected in cases.items():
        assert distance(runner, expected) <= 1, case


@each_runtime
@each_run
def test_the_files_give_the_authors_answers_to_recordings(
    exported: Callable, golden: Callable, name: str, runtime: str
) -> None:
    cases = golden(name)
    assert len(cases) == 4
    runner = exported(name).open(runtime)
    for case, expected in cases.items():
        assert distance(runner, expected) <= 1, case


def weights_a_hundredth_off(model: nn.Module, artifact: Path) -> None:
    """In either format a tensor's bytes stand in a file as they are in memory."""
    path = artifact if artifact.is_file() else next(artifact.rglob("weight.bin"))
    weight = model.get_parameter("down2.0.shortcut.weight").numpy()
    content = path.read_bytes()
    assert content.count(weight.tobytes()) == 1
    path.write_bytes(content.replace(weight.tobytes(), (weight * np.float32(1.01)).tobytes()))


def a_reflection_off_by_one(_: nn.Module, artifact: Path) -> None:
    """Those by two samples at either end: one before and three after."""
    if artifact.is_file():
        model = onnx.load(artifact)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        pads = ((node, tensors[node.input[1]]) for node in model.graph.node if node.op_type == "Pad")
        found = [node for node, pad in pads if numpy_helper.to_array(pad).tolist() == [0, 0, 0, 2, 0, 0, 0, 2]]
        moved = np.array([0, 0, 0, 1, 0, 0, 0, 3])
        model.graph.initializer.append(numpy_helper.from_array(moved, "moved"))
        for node in found:
            node.input[1] = "moved"
        assert found
        onnx.save(model, str(artifact))
    else:
        path = next(artifact.rglob("*.mlmodel"))
        spec = ct.utils.load_spec(str(path))
        (block,) = spec.mlProgram.functions["main"].block_specializations.values()
        pads = {op.inputs["pad"].arguments[0].name for op in block.operations if op.type == "pad"}
        constants = (op for op in block.operations if op.type == "const" and op.outputs[0].name in pads)
        values = (op.attributes["val"].immediateValue.tensor.ints.values for op in constants)
        found = [ints for ints in values if list(ints) == [0, 0, 0, 0, 0, 0, 2, 2]]
        for ints in found:
            ints[6:] = [1, 3]
        assert found
        path.write_bytes(spec.SerializeToString())


@pytest.mark.parametrize("fault", [weights_a_hundredth_off, a_reflection_off_by_one])
@each_runtime
@each_run
def test_planted_faults_do_not_pass(
    exported: Callable, truth: Callable, tmp_path: Path, name: str, runtime: str, fault: Callable[..., None]
) -> None:
    made = exported(name)
    source = made.artifact(runtime)
    wrong = tmp_path / source.name
    copytree(source, wrong) if source.is_dir() else copyfile(source, wrong)
    fault(made.model, wrong)
    assert distance(OPENERS[runtime](wrong), truth(name)["rich"]) > 1


@pytest.mark.parametrize("runtime", ["onnxruntime", "tract"])
@each_run
def test_a_clip_is_answered_alike_in_any_batch(exported: Callable, truth: Callable, name: str, runtime: str) -> None:
    runner, cases = exported(name).open(runtime), truth(name)
    clips = np.concatenate([cases[case]["waveform"] for case in ("rich", "batch2")])
    alone = np.concatenate([runner.run({"waveform": clip[None]})["logits"] for clip in clips])
    allowed = 1e-4 * np.abs(alone).max()
    for row, other in ((0, 1), (1, 2), (2, 0)):
        assert np.abs(alone[row] - alone[other]).max() > 1000 * allowed, "rows in another order would pass"
    for batch in (1, 2, 3):
        together = runner.run({"waveform": clips[:batch]})["logits"]
        np.testing.assert_allclose(together, alone[:batch], atol=allowed, rtol=0, err_msg=f"{batch} clips")


def test_the_program_in_float16_is_within_its_tolerance(exported: Callable, truth: Callable) -> None:
    made = exported("eat_s_esc50")
    (output,) = made.variant.outputs
    allowed = output.tolerances["mixed"]
    runner = coreml.open_stored(made.package("mixed"))
    for case, expected in truth(made.name).items():
        logits = run_batch(runner, {"waveform": expected["waveform"]})["logits"]
        np.testing.assert_allclose(
            logits, expected["logits"], atol=allowed.atol, rtol=allowed.rtol, err_msg=case, strict=True
        )
        # It does round as a device in float16 does, which the limit of float32 sees.
        assert distance(runner, expected) > 1
