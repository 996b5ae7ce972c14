"""A page's folder is held to what it should be: each fault is found, and said by itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from convert.targets.web import _known
from tests import tiny_page as tiny
from validators.web_page import check_web_page


@pytest.fixture
def folder(tiny_page: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_page, tmp_path / "web")


def _faults(folder: Path) -> dict[str, str]:
    variant = tiny.variant()
    checks = check_web_page(folder, variant.input, variant.outputs, 17, _known())
    assert {check.artifact for check in checks} == {"web"}
    return {check.kind: check.message for check in checks if check.status == "failed"}


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _changed(key: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        (folder / "model.json").write_text(json.dumps(about | {key: value}), encoding="utf-8")

    return change


def _longer(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"\n")


def _of_two_outputs(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    del model.graph.output[-1]
    onnx.save(model, folder / "model.onnx")


def test_a_page_as_it_was_made_has_no_fault(folder: Path) -> None:
    assert _faults(folder) == {}


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (_without("worker.js"), "file", "worker.js is missing"),
        (_without("ort/LICENSE.txt"), "file", "ort/LICENSE.txt is missing"),
        (_longer("draw.js"), "file", "draw.js is not that of this version"),
        (_longer("ort/ort.wasm.min.js"), "file", "ort/ort.wasm.min.js is not that of this version"),
        (_without("model.onnx"), "file", "no ONNX model"),
        (_of_two_outputs, "names", "outputs are"),
        (_without("model.json"), "rules", "model.json cannot be read"),
        (lambda folder: (folder / "model.json").write_text("[]"), "rules", "is no JSON object"),
        (_changed("facts", {}), "rules", "says other facts than the model has"),
        (_changed("outputs", []), "rules", "says other outputs"),
        (_changed("input", {"name": "waveform"}), "rules", "says other input"),
        (_without("sounds/low.wav"), "rules", "names a sound that is not there: 'sounds/low.wav'"),
        (_changed("sounds", [{"name": "x", "file": "../model.onnx"}]), "rules", "not there: '../model.onnx'"),
        (_changed("sounds", {"name": "x"}), "rules", "has no list of sounds"),
    ],
)
def test_a_fault_is_found(folder: Path, damage: Callable[[Path], None], kind: str, said: str) -> None:
    damage(folder)
    found = _faults(folder)
    assert list(found) == [kind]
    assert said in found[kind]
