"""The form that ships: proved, told in the manifest, refused by name where a rewrite is wrong, or the authors' own."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from convert.lowering import Form, Proof, faithful_form, held, lowered_form, proved, prover
from convert.subject import Branch
from exporters.lowering import REWRITES, Applied
from exporters.lowering.graph import change_layer, layer, nodes
from recipes.base.errors import UserError
from recipes.base.renamed import renamed
from validators.runners.pytorch import answers
from validators.values import Case

Convert = Callable[..., Any]


class Small(nn.Module):
    """(batch, 2, 3, time) to logits (batch, 5) and a map (batch, 4, 3, time), with a norm to fold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)
        nn.init.uniform_(self.norm.weight, 0.5, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen = torch.relu(self.norm(self.conv(x)))
        return {"logits": self.fc(seen.mean(dim=(2, 3))), "map": seen}


def _branch(tiny: Any, stem: str = "model") -> Branch:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Small().eval().requires_grad_(False)
        sounds = [torch.randn(2, 2, 3, size).numpy() for size in (4, 9, 11)]
    first, *rest = (Case(f"case {i}", {"images": x}, answers(model, {"images": x})) for i, x in enumerate(sounds))
    return Branch(tiny, model, cast("Any", None), [first], rest, stem, lambda samples: samples, {})


def _slightly_wrong(graph: GraphModule, by: float) -> Iterator[str]:
    """Scales the first kernels that it meets."""
    for node in nodes(graph):
        conv = layer(node)
        if isinstance(conv, nn.Conv2d):
            wrong = nn.Conv2d(2, 4, 3, padding=1)
            wrong.weight = nn.Parameter(conv.weight * (1 + by), requires_grad=False)
            wrong.bias = conv.bias
            change_layer(node, wrong)
            yield str(node.target)


def _proved(branch: Branch) -> tuple[Form, Proof]:
    form = lowered_form(branch)
    return form, proved(branch, form)


def _failed(proof: Proof) -> set[tuple[str, str]]:
    return {(check.precision, check.output) for check in proof.checks if check.status == "failed"}


def test_what_was_applied_is_told_and_proved_in_both_precisions(tiny: Any) -> None:
    form, proof = _proved(_branch(tiny))
    assert form.applied == (Applied("fold-norms", "norm into conv"),)
    assert (_failed(proof), proof.warnings) == (set(), [])
    cases = {precision: {c.case for c in proof.checks if c.precision == precision} for precision in ("fp32", "fp64")}
    assert cases == {"fp32": {"case 0", "case 1", "case 2"}, "fp64": {"case 0", "case 1", "case 2"}}
    assert {check.output for check in proof.checks} == {"logits", "map"}


@pytest.mark.parametrize(("by", "precisions"), [(1e-2, {"fp32", "fp64"}), (1e-6, {"fp64"})])
def test_a_wrong_rewrite_fails_and_is_named(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, by: float, precisions: set[str]
) -> None:
    monkeypatch.setitem(cast("Any", REWRITES), "carry-axes", partial(_slightly_wrong, by=by))
    _, proof = _proved(_branch(tiny))
    assert {precision for precision, _ in _failed(proof)} == precisions
    (warning,) = proof.warnings
    assert warning.startswith("with the rewrite carry-axes answers are over their tolerance")
    assert "--no-lowering" in warning


def _called_otherwise(branch: Branch) -> Branch:
    names = {"logits": "scores"}
    cases = [replace(case, expected={names.get(n, n): x for n, x in case.expected.items()}) for case in branch.cases]
    return replace(
        branch, variant=branch.variant.renamed(names), model=renamed(branch.model, names), cases=cases, sweep=[]
    )


def _dies(sent: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a fork")
def test_a_proof_goes_on_beside_and_where_it_dies_that_is_said(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    branch = _branch(tiny)
    form = lowered_form(branch)
    assert prover(branch, form)() == proved(branch, form)
    called = _called_otherwise(branch)
    form = lowered_form(called)
    proof = prover(called, form)()
    assert {check.output for check in proof.checks} == {"scores", "map"}
    assert proof == proved(called, form)
    monkeypatch.setattr("convert.lowering._proved", _dies)
    with pytest.raises(UserError, match=r"what proves the lowered model crashed \(signal 9, SIGKILL\); --no-lowering"):
        prover(branch, form)()


def test_the_faithful_form_is_not_lowered(tiny: Any) -> None:
    branch = _branch(tiny)
    form = faithful_form(branch)
    assert form.applied == ()
    assert any(isinstance(module, nn.BatchNorm2d) for module in form.module.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in lowered_form(branch).module.modules())


def test_cases_of_another_input_say_so(tiny: Any) -> None:
    _, proof = _proved(_branch(tiny, "model.images"))
    assert "case 0, fed images" in {check.case for check in proof.checks}


def test_the_manifest_lists_each_rewrite_and_its_place(made_pann: Any) -> None:
    manifest = json.loads((made_pann.path / "manifest.json").read_text(encoding="utf-8"))
    assert "--no-lowering" not in manifest["command"]
    assert {"input": "waveform", "rewrite": "fold-norms", "place": "features.0.2 into features.0.0"} in manifest[
        "lowering"
    ]
    assert {entry["rewrite"] for entry in manifest["lowering"]} == {
        "fold-norms",
        "merge-pools",
        "pool-means",
        "carry-axes",
        "factorise-dft",
    }


def test_the_proof_is_among_the_checks(made_pann: Any) -> None:
    checks = json.loads(made_pann.stdout)["checks"]
    proved = {(c["runtime"], c["precision"]) for c in checks if c["runtime"].startswith("pytorch-lowered")}
    assert proved == {
        ("pytorch-lowered", "fp32"),
        ("pytorch-lowered", "fp64"),
        ("pytorch-lowered, without factorise-dft", "fp64"),
    }


def test_no_lowering_ships_the_authors_graph(
    convert: Convert, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import exporters.onnx.export

    seen: list[Any] = []
    export = exporters.onnx.export.export
    monkeypatch.setattr("exporters.onnx.export.export", lambda *words: seen.append(words[0]) or export(*words))
    said = convert(*quick, "--no-lowering", "-o", tmp_path / "made")
    assert said.exit_code == 0, said.stdout + said.stderr
    manifest = json.loads((tmp_path / "made" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["lowering"] == []
    assert "--no-lowering" in manifest["command"]
    assert "pytorch-lowered" not in said.stdout
    (module,) = seen
    assert sum(isinstance(part, nn.BatchNorm2d) for part in module.modules()) == 28
    assert convert("check", tmp_path / "made").exit_code == 0


@pytest.mark.slow
def test_a_wrong_rewrite_fails_the_command(
    convert: Convert, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(graph: GraphModule) -> Iterator[str]:
        for node in nodes(graph):
            linear = layer(node)
            if isinstance(linear, nn.Linear):
                new = nn.Linear(linear.in_features, linear.out_features)
                new.weight = nn.Parameter(linear.weight * 1.5, requires_grad=False)
                new.bias = linear.bias
                change_layer(node, new)
                yield str(node.target)

    monkeypatch.setitem(cast("Any", REWRITES), "merge-pools", wrong)
    said = convert(*quick, "-o", tmp_path / "made")
    assert said.exit_code == 1
    assert "FAILED pytorch-lowered, fp32" in said.stdout
    assert "warning: with the rewrite merge-pools answers are over their tolerance" in said.stderr


@pytest.mark.parametrize(("by", "precisions"), [(0, set()), (1e-6, {"fp64"})])
def test_a_form_for_one_runtime_is_held_to_the_lowered_one(tiny: Any, by: float, precisions: set[str]) -> None:
    branch = _branch(tiny)
    plain, own = lowered_form(branch).module, lowered_form(branch).module
    with torch.no_grad():
        next(part for part in own.modules() if isinstance(part, nn.Conv2d)).weight.mul_(1 + by)
    checks = held(branch, own, plain, "for tract")
    assert {check.case for check in checks} == {"case 0", "case 1", "case 2"}
    assert {check.precision for check in checks if check.status == "failed"} == precisions
