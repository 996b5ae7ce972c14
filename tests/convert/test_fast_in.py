"""`--fast-in`: what it does to a file is listed with that file, and is a stage of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import exporters.onnx.tract
from convert.broken import breaks
from convert.progress import steps
from convert.stage_report import told
from convert.stages import stages

Convert = Callable[..., Any]


@pytest.fixture(scope="module")
def made(convert: Convert, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("fast_in") / "made"
    said = convert("recipe", "mel_pann", "--fast-in", "tract", "-v", "-o", folder)
    assert said.exit_code == 0, said.stdout + said.stderr
    return folder, said


def test_each_rewrite_is_listed_with_its_place(made: tuple[Path, Any]) -> None:
    folder, said = made
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    rewrites = manifest["artifacts"]["model.onnx"]["rewrites"]
    assert [(one["input"], one["rewrite"]) for one in rewrites] == [("waveform", "reshape-rows")]
    assert f"model.onnx, fed waveform: reshape-rows: {rewrites[0]['place']}" in said.stderr.splitlines()
    assert "reshape-rows" not in {one["rewrite"] for one in manifest["lowering"]}


def test_it_is_a_stage(convert: Convert, made: tuple[Path, Any]) -> None:
    said = convert("bisect", made[0], "--json")
    assert said.exit_code == 0, said.stdout + said.stderr
    made_of = {stage["name"]: stage["of"] for stage in json.loads(said.stdout)["stages"]}
    assert list(made_of)[:5] == ["faithful", "lowered", "for tract", "exported", "simplified"]
    assert (made_of["for tract"], made_of["exported"]) == ("lowered", "for tract")


def test_where_it_is_wrong_it_is_named_and_the_op(made: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    right = exporters.onnx.tract.reshape_rows

    def wrong(module: Any) -> Any:
        module, places = right(module)
        # A copy was made of it already: the lowered module keeps its own.
        largest = max(module.state_dict().values(), key=Tensor.numel)
        largest *= 1.1
        return module, places

    monkeypatch.setattr("exporters.onnx.tract.reshape_rows", wrong)
    found = stages(made[0], steps(False), run_code=False)
    status = {one.name: one.status for one in found.stages}
    assert (status["lowered"], status["for tract"]) == ("passed", "failed")
    (broken,) = breaks(found, steps(False))
    assert (broken.stage, broken.by, broken.agree) == ("for tract", "the form for tract", ("faithful", "lowered"))
    assert told(broken).startswith("the form for tract broke it: melspec is off by ")
    assert broken.divergence is not None
    assert broken.divergence.culprit is not None
