"""What is said of a stage that is wrong: held to its own tolerances, and no more than what was looked at bears out."""

import shutil
from contextlib import nullcontext
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console

from convert import broken, targets
from convert.broken import Break, breaks
from convert.manifest import Artifact
from convert.stage_report import text
from convert.stages import Run, Stage, Stages
from convert.subject import Branch
from convert.targets import named
from convert.targets.target import Job, Product, Target
from convert.verify import File
from exporters.lowering import lower
from recipes.base.errors import UserError
from recipes.base.facts import facts_of
from recipes.base.tensor import Tolerance
from validators.compare import Sampled, compare
from validators.results import Check
from validators.runners.pytorch import answers
from validators.values import Case

LIMIT = 1e-4


def _held(output: str, precision: str, atol: float) -> Check:
    found = compare(Sampled.of(np.zeros(1)), np.zeros(1), Tolerance(atol=atol, rtol=0, reason="the test's"), "logit")
    return Check("", "", precision, "rich", output, "values", "passed", comparison=found)


@pytest.mark.parametrize(
    ("checks", "off", "fits"),
    [
        # A proof's checks come after those of the stage, and allow far less.
        ((_held("x", "fp32", 1e-2), _held("x", "fp64", 1e-9)), 5e-3, True),
        ((_held("x", "fp32", 1e-2), _held("x", "fp64", 1e-9)), 2e-2, False),
        # What was held to no tolerance is held to what a float32 model may be off by.
        ((), 9, False),
        ((_held("y", "fp32", 10),), 9, False),
        ((), LIMIT / 2, True),
    ],
)
def test_an_output_on_the_way_is_held_to_its_stage_s_tolerance(
    checks: tuple[Check, ...], off: float, fits: bool
) -> None:
    used = broken._used(Stage("lowered", "the lowering", None, checks, ()), LIMIT)
    assert (used("x", np.ones(3, np.float32), np.full(3, 1 + off, np.float32)) <= 1) is fits


@pytest.fixture
def branch(tiny: Any, tiny_model: Any) -> Branch:
    x = np.random.default_rng(1).standard_normal((1, 2, 3, 8)).astype(np.float32)
    cases = [Case("rich", {"images": x}, answers(tiny_model, {"images": x}))]
    facts = facts_of(tiny, "synthetic", "0" * 64, tuple("abcde"))
    return Branch(tiny, tiny_model, facts, cases, (), "model", lambda samples: samples, {})


@pytest.fixture
def job(branch: Branch, tiny_exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Of C, into a folder that lies there with the graph that it is made of."""
    monkeypatch.setattr("exporters.onnx.export.export", lambda *_: tiny_exported)
    (tmp_path / "made").mkdir()
    lowered = lower(branch.model, branch.variant)
    graph = Job(branch, lowered, named("onnx").settings({"opset": 13}), tmp_path / "made", lambda name: nullcontext())
    named("onnx").make(graph)
    return replace(graph, settings=named("c").settings({}))


def _artifacts(*formats: str) -> dict[str, Artifact]:
    return {name: Artifact(name, "images", "fp32", None, dict(named(name).settings({"opset": 13}))) for name in formats}


def _found(job: Job, target: Target, *formats: str) -> list[Break]:
    """What is said of the folder's C, after a lowered model that is right."""
    made: Any = type("Manifest", (), {"artifacts": _artifacts(*formats), "versions": {}})
    variant, cases = job.branch.variant, job.branch.cases
    file = File(job.folder, "c", _artifacts("c")["c"], target, variant.input, variant.outputs)
    run = Run(file, target.runtimes[0], job)
    lowered = Stage("lowered", "the lowering", None, (_held("logits", "fp32", 1e-3),), cases)
    stage = Stage("c, c", "the file c", "lowered", run.checks(cases), cases, run=run)
    assert stage.status == "failed"
    return breaks(Stages(job.folder, made, (lowered, stage)), job.step)


def test_a_file_that_is_made_beside_another_is_told_from_what_makes_it(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    monkeypatch.setenv("CFLAGS", "-O0")
    named("c").make(job)
    header = job.folder / "c" / "model.h"
    header.write_text(header.read_text() + "\n")
    (wrong,) = _found(job, named("c"), "onnx", "c")
    assert wrong.by == "the file c itself"
    assert wrong.why[0].startswith("what is made of this model now passes")
    assert "model.h is not what this version makes of the graph" in wrong.check.message


def test_what_is_made_beside_others_finds_them_in_every_folder() -> None:
    needed = {name: target.beside for target in targets.TARGETS for name in target.beside}
    assert set(needed) == {"onnx"}
    assert all(named(name).always for name in needed)


@pytest.fixture
def unseen(job: Job, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A format like C whose file fails where it lies, and of which nothing here runs another."""

    def make(again: Job) -> Product:
        assert (again.folder / "model.onnx").is_file()
        return Product(_artifacts("c"))

    def checks(run: Run, _: object) -> tuple[Check, ...]:
        lies = run.file.folder == job.folder
        form = Check("c", "", "fp32", "", "", "file", "failed" if lies else "passed", "is another" if lies else "")
        return form, Check("c", "c", "fp32", "", "", "values", "not verified", "no compiler is here")

    monkeypatch.setattr(Run, "checks", checks)
    return replace(named("c"), make=make)


def test_what_nothing_could_verify_is_not_said_to_pass(job: Job, unseen: Target) -> None:
    (wrong,) = _found(job, unseen, "onnx", "c")
    assert wrong.by == "the file c"
    assert wrong.why == ("it, or what makes it: what is made of this model now is NOT VERIFIED: no compiler is here",)


def test_a_folder_that_lacks_what_a_file_is_made_beside_is_refused(job: Job, unseen: Target) -> None:
    with pytest.raises(UserError, match="artifacts: none is ONNX fed images, and c is made beside it"):
        _found(job, unseen, "c")


def test_the_worst_of_a_stage_is_the_furthest_off_and_in_float32() -> None:
    def failed(error: float, precision: str, atol: float) -> Check:
        allowed = Tolerance(atol=atol, rtol=0, reason="the test's")
        figures = compare(Sampled.of(np.zeros(1)), np.array([error]), allowed, "logit")
        return replace(_held("x", precision, atol), status="failed", comparison=figures)

    small, great, double = failed(1e-6, "fp32", 0), failed(10, "fp32", 0), failed(99, "fp64", 0)
    for checks in ((small, great, double), (double, great, small)):
        assert Stage("lowered", "the lowering", None, checks, ()).worst is great
    form = Check("c", "", "fp32", "", "", "file", "passed")
    assert Stage("c", "the file c", None, (form, _held("x", "fp32", 1)), ()).worst == _held("x", "fp32", 1)


def test_a_long_name_leaves_the_table_its_status() -> None:
    stage = Stage(
        "c.melspec/tag-aarch64-linux-musl, aarch64-linux", "the file", None, (_held("segment_clipwise", "fp32", 1),), ()
    )
    unseen = Stage("c/tag, native", "the file", None, (), ())
    said = StringIO()
    Console(width=80, file=said).print(text(Stages(Path(), cast("Any", None), (stage, unseen)), []))
    table = said.getvalue().partition("AGREE")[0]
    assert "…" not in table
    assert " agrees " in table
    assert " NOT VERIFIED " in table
