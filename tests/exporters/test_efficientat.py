"""EfficientAT's files against the authors' own answers, for both inputs, and in batches against one clip at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from torch import nn

from exporters.coreml.convert import convert
from exporters.coreml.package import save
from exporters.lowering import lower
from exporters.onnx.export import export
from exporters.onnx.simplify import simplify
from recipes.base.config import find
from recipes.base.facts import facts_of
from recipes.base.recipe import faithful_model, load
from recipes.base.sound import rich
from recipes.base.spec import Variant
from validators.coreml import CoreMLModel
from validators.runners import onnxruntime, tract
from validators.runners.pytorch import answers

# The export of DyMN takes ten seconds for each input.
EACH = pytest.mark.parametrize(
    ("name", "fed"),
    [
        ("mn04_as", "waveform"),
        ("mn04_as", "melspec"),
        ("dymn04_as", "waveform"),
        pytest.param("dymn04_as", "melspec", marks=pytest.mark.slow),
    ],
)
EACH_RUNTIME = pytest.mark.parametrize("runtime", [onnxruntime, tract], ids=["onnxruntime", "tract"])


@dataclass(frozen=True)
class Exported:
    variant: Variant
    model: nn.Module
    onnx: Path

    def inputs(self, waveform: np.ndarray, melspec: np.ndarray) -> dict[str, np.ndarray]:
        return {self.variant.input.name: waveform if self.variant.input.name == "waveform" else melspec[:, None]}


@pytest.fixture(scope="session")
def exported(
    made_once: Callable[..., Path], stand_in: Callable[[str], Path], real_weights: Callable[[str], Path]
) -> Callable[..., Exported]:
    """`exported(name, fed, real=False)`: the weights with which the authors' code answered, as a simplified graph."""

    def exported(name: str, fed: str, real: bool = False) -> Exported:
        whole = find(name)
        state = load(whole.family).read_checkpoint(real_weights(name) if real else stand_in(name), whole).state
        variant = whole.fed_by(fed)
        model = faithful_model(variant, state)

        def make(folder: Path) -> None:
            onnx.save(simplify(export(lower(model, variant), variant)), str(folder / "model.onnx"))

        return Exported(variant, model, made_once(f"exported-{name}-{fed}{'-real' * real}", make) / "model.onnx")

    return exported


@EACH_RUNTIME
@EACH
def test_the_graph_gives_the_authors_answers(
    exported: Callable[[str, str], Exported],
    truth: Callable,
    agreement: Callable,
    name: str,
    fed: str,
    runtime: ModuleType,
) -> None:
    made = exported(name, fed)
    runner = runtime.open_file(made.onnx)
    cases = truth(name)
    assert "odd_batch2" in cases
    for case, tensors in cases.items():
        allowed = agreement(name, case)
        outputs = runner.run(made.inputs(tensors["waveform"], tensors["melspec"]))
        assert list(outputs) == [output.name for output in made.variant.outputs]
        for output, value in outputs.items():
            np.testing.assert_allclose(
                value, tensors[output], atol=allowed[output], rtol=0, err_msg=f"{case}, {output}"
            )


@pytest.mark.parametrize(("name", "real"), [("dymn04_as", False), ("mn04_as", True)])
def test_the_graph_gives_the_authors_answers_to_recordings(
    exported: Callable[..., Exported], golden: Callable, name: str, real: bool
) -> None:
    cases = golden(name)
    made = exported(name, "waveform", real)
    for runtime in (onnxruntime, tract):
        runner = runtime.open_file(made.onnx)
        for case, tensors in cases.items():
            for output, value in runner.run({"waveform": tensors["waveform"]}).items():
                np.testing.assert_allclose(value, tensors[output], atol=1e-4, rtol=0, err_msg=f"{case}, {output}")


@EACH_RUNTIME
@EACH
def test_a_clip_is_answered_alike_in_any_batch(
    exported: Callable[[str, str], Exported], name: str, fed: str, runtime: ModuleType
) -> None:
    made = exported(name, fed)
    runner = runtime.open_file(made.onnx)
    for samples in (514, 1603, 32001):
        clips = np.stack([rich(samples, 32000, seed) for seed in range(8)])
        array = clips if fed == "waveform" else np.stack([np.resize(clip, (1, 128, samples // 257)) for clip in clips])
        alone = [answers(made.model, {fed: array[row : row + 1]}) for row in range(8)]
        for batch in (1, 2, 3, 8):
            for output, value in runner.run({fed: array[:batch]}).items():
                expected = np.concatenate([answer[output] for answer in alone[:batch]])
                np.testing.assert_allclose(value, expected, atol=2e-4, rtol=1e-5, err_msg=f"{batch} x {samples}")


@EACH
def test_the_graph_declares_its_axes(exported: Callable[[str, str], Exported], name: str, fed: str) -> None:
    made = exported(name, fed)
    graph = onnx.load(made.onnx).graph
    declared = {
        value.name: tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.output)
    }
    assert declared == {tensor.name: tensor.axes for tensor in (made.variant.input, *made.variant.outputs)}


@pytest.mark.slow
@pytest.mark.parametrize("fed", ["waveform", "melspec"])
def test_the_core_ml_program_of_dymn_gives_the_authors_answers(
    exported: Callable[[str, str], Exported], truth: Callable, agreement: Callable, tmp_path: Path, fed: str
) -> None:
    made = exported("dymn04_as", fed)
    package = tmp_path / "model.mlpackage"
    facts = facts_of(made.variant, "custom", "0" * 64, ("class",) * made.variant.classes)
    program = convert(lower(made.model, made.variant), made.variant, precision="fp32").model
    save(program, package, made.variant, facts, "fp32")
    model = CoreMLModel(package)
    for case, tensors in truth("dymn04_as").items():
        allowed = agreement("dymn04_as", case)
        for row in range(len(tensors["waveform"])):
            clip = made.inputs(tensors["waveform"][row : row + 1], tensors["melspec"][row : row + 1])
            for output, value in model.predict(clip).items():
                expected = tensors[output][row]
                np.testing.assert_allclose(value[0], expected, atol=allowed[output], rtol=0, err_msg=output)
