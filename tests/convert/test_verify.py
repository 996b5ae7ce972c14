"""Checks of a folder's files: two that are called alike, in folders of their own, are two."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest

from convert import manifest as manifests
from convert.evidence import gather
from convert.folder import listing
from convert.manifest import Artifact
from convert.progress import steps
from convert.targets import named
from convert.verify import File, check_artifact
from recipes.base.tensor import Input, Output, Precision, Tolerance
from validators.report import junit, verdict
from validators.results import Check, exit_code, judged, unverified
from validators.runners.runtime import Runtime
from validators.values import Case

# A program that gives what it is fed.
PROGRAM = """#!{python}
import io, sys
import numpy as np
x = np.frombuffer(sys.stdin.buffer.read(), "<f4")
np.save(answer := io.BytesIO(), x[None])
sys.stdout.buffer.write(answer.getvalue())
"""
NAMES = ("c/tag", "c.melspec/tag")
X = np.ones((1, 5), np.float32)


def _of_its_name(path: Path, *_: Any) -> list[Check]:
    """As all that look at a file's form say whose it is."""
    return [judged(path.name, "fp32", "file", [])]


@pytest.fixture
def checks(tmp_path: Path) -> list[Check]:
    """Of two programs in two folders, of which no case has the length that the second one takes."""
    runtimes = (Runtime("native", "validators.runners.c:open_program"),)
    target = replace(named("c"), check_file=_of_its_name, runtimes=runtimes)
    fed = Input("x", ("batch", "samples"), "Anything", least=1, default=5, most=9)
    allowed: dict[Precision, Tolerance] = dict.fromkeys(("fp32", "mixed", "fp16"), Tolerance(0, 0, "what is fed"))
    given = Output("y", ("batch", "samples"), "feature", "what comes", allowed)
    found = []
    for name, samples in zip(NAMES, ("samples", 7), strict=True):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(PROGRAM.format(python=sys.executable))
        os.chmod(path, 0o755)
        said = {"inputs": [{"name": "x", "axes": [1, samples]}], "outputs": [{"name": "y", "axes": [1, "samples"]}]}
        (path.parent / "model.json").write_text(json.dumps(said | {"metadata": {}}))
        artifact = Artifact("c", "x", "fp32", None, {"binary": ()})
        file = File(tmp_path, name, artifact, target, fed, (given,))
        found += check_artifact(file, [Case("ones", {"x": X}, {"y": X})])
    return found


def test_a_file_that_nothing_verified_does_not_hide_behind_one_that_is_called_alike(checks: Sequence[Check]) -> None:
    assert {check.artifact for check in checks} == set(NAMES)
    assert {check.status for check in checks if check.artifact == "c/tag"} == {"passed"}
    assert unverified(checks) == ["c.melspec/tag"]
    assert exit_code(checks) == 3
    assert verdict(checks).endswith("; the values of c.melspec/tag were verified by no runtime")


def test_each_has_tests_of_its_own_in_junit(checks: Sequence[Check]) -> None:
    text = junit(checks)
    for name in NAMES:
        assert text.count(f'classname="{name}, fp32" name="file"') == 1
    assert 'classname="c/tag, native, fp32" name="ones, y, values"' in text


def test_a_page_has_the_answers_of_the_file_that_gave_them(made_pann: Any, tmp_path: Path) -> None:
    folder = copytree(made_pann.path, tmp_path / "made")
    (folder / "inside").mkdir()
    (folder / "inside" / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    manifest = manifests.read(folder)
    artifacts = dict.fromkeys(("model.onnx", "inside/model.onnx"), manifest.artifacts["model.onnx"])
    manifests.write(replace(manifest, artifacts=artifacts, files=listing(folder)), folder)
    passed = Check("inside/model.onnx", "onnxruntime", "fp32", "rich", "clipwise", "values", "passed")
    failed = Check("model.onnx", "", "fp32", "", "", "file", "failed", "is no graph")
    found = gather(folder, [passed, failed], steps(False))
    assert {answer.artifact for answer in found.answers} == {"inside/model.onnx"}
    assert found.unseen == ("model.onnx: is not opened for pictures, since its form failed",)
