"""`--suggest`: ops to keep in float32 are found where rounding is what fails, and hold once they are converted."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convert.broken import Break
from convert.manifest import Artifact
from convert.stages import Run, Stage, Stages
from convert.subject import Branch
from convert.suggestion import Suggestion, suggestions
from convert.targets import named
from convert.targets.target import Job
from convert.verify import File
from exporters.lowering import shipped
from recipes.base.facts import facts_of
from recipes.base.tensor import Tolerance
from validators.coreml import CoreMLModel
from validators.coreml.halving import Halving
from validators.runners.pytorch import answers
from validators.values import Case

# Half of what float16 throughout is off by.
ATOL = 6e-4
SETTINGS: Mapping[str, Any] = {"precision": "fp16", "float32_op": (), "seconds": None}


class Chain(nn.Module):
    """(batch, 2, 3, time) to logits (batch, 5) and a map: eight convolutions, of which one is loud."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.more = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(7))
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen = torch.tanh(self.first(x))
        for place, conv in enumerate(self.more):
            # What cancels was rounded as it was large.
            loud = conv(seen) * 300
            seen = torch.tanh(loud - loud.mean(dim=(2, 3), keepdim=True) if place == 3 else loud / 300)
        return {"logits": self.fc(seen.mean(dim=(2, 3))), "map": seen}


@pytest.fixture(scope="module")
def branch(tiny: Any) -> Branch:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Chain().eval().requires_grad_(False)
        sounds = [torch.randn(1, 2, 3, size).numpy() for size in (8, 11)]
    cases = [Case(f"case {i}", {"images": x}, answers(model, {"images": x})) for i, x in enumerate(sounds)]
    facts = facts_of(tiny, "synthetic", "0" * 64, tuple("abcde"))
    return Branch(tiny, model, facts, cases, (), "model", lambda samples: samples, {})


@pytest.fixture(scope="module")
def job(branch: Branch) -> Job:
    return Job(branch, shipped(branch.model, branch.variant), SETTINGS, Path(), lambda name: nullcontext())


def _made(job: Job, folder: Path, **settings: Any) -> Path:
    folder.mkdir()
    named("coreml").make(replace(job, folder=folder, settings={**SETTINGS, **settings}))
    return folder / "model.mlpackage"


def test_all_ops_in_float16_give_what_the_executor_gives(job: Job, branch: Branch, tmp_path: Path) -> None:
    exact = CoreMLModel(_made(job, tmp_path / "fp32", precision="fp32"), precision="float32")
    stored = CoreMLModel(_made(job, tmp_path / "fp16"))
    inputs = dict(branch.cases[0].inputs)
    run = Halving(exact, inputs)
    everything = {op.outputs[0].name for op in exact.package.function.operations}
    right: Any = exact.predict(inputs)
    halves: Any = stored.predict(inputs)
    for name, value in run.outputs(everything).items():
        np.testing.assert_array_equal(value, halves[name])
        assert np.abs(value - right[name]).max() > 1e-4
    for name, value in run.outputs(()).items():
        np.testing.assert_array_equal(value, right[name])


def _suggested(job: Job, branch: Branch, folder: Path, atol: float, **settings: Any) -> list[Suggestion]:
    """For a package that is held to this tolerance, as `convert bisect` comes by it."""
    allowed = Tolerance(atol=atol, rtol=0, reason="what the test sets")
    outputs = tuple(
        replace(output, tolerances=dict.fromkeys(output.tolerances, allowed)) for output in branch.variant.outputs
    )
    settings = {**SETTINGS, **settings}
    variant = replace(branch.variant, outputs=outputs)
    job = replace(job, branch=replace(branch, variant=variant), settings=settings)
    path = _made(job, folder, **settings)
    target = named("coreml")
    artifact = Artifact("coreml", "images", "fp16", None, dict(settings))
    file = File(folder, path.name, artifact, target, variant.input, outputs)
    run = Run(file, target.runtimes[1], job)
    stage = Stage("package", "the file", None, run.checks(branch.cases), branch.cases, run=run)
    manifest: Any = type("Manifest", (), {"command": "convert recipe tiny"})
    wrong = Break("package", "rounding", (), stage.checks[0], rounding=True)
    assert stage.status == "failed"
    return suggestions(Stages(folder, manifest, (stage,)), [wrong], job.step)


def test_the_ops_that_round_are_found_and_hold_once_converted(job: Job, branch: Branch, tmp_path: Path) -> None:
    (found,) = _suggested(job, branch, tmp_path / "made", ATOL)
    assert found.ops, found.why
    assert 3 <= len(found.ops) < found.count
    assert len(found.most) == 3
    assert set(found.most) <= set(found.ops)
    assert (found.float32, found.kept) == (0, len(found.ops))
    assert found.command == "convert recipe tiny" + "".join(f" --float32-op {name}" for name in found.ops)
    assert not [check for check in found.checks if check.status == "failed"]
    # As anybody makes it who types that.
    again = CoreMLModel(_made(job, tmp_path / "again", float32_op=found.ops))
    for case in branch.cases:
        given: Any = again.predict(dict(case.inputs))
        for name, value in case.expected.items():
            assert np.abs(given[name] - np.asarray(value)).max() <= ATOL


def test_what_float32_does_not_mend_is_said(job: Job, branch: Branch, tmp_path: Path) -> None:
    (found,) = _suggested(job, branch, tmp_path / "made", 1e-12)
    assert found.ops == ()
    assert "in float32 throughout too" in found.why


def test_what_takes_too_many_ops_is_said(job: Job, branch: Branch, tmp_path: Path) -> None:
    (found,) = _suggested(job, branch, tmp_path / "made", 3e-6)
    assert found.ops == ()
    assert "that is not enough: take --precision fp32" in found.why
