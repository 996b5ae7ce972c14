"""`--to web`: from the command to a folder that any web server may serve."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convert import manifest as manifests
from convert.folder import listing
from convert.manifest import Artifact
from convert.targets.web import make
from exporters.web import folder as page
from recipes.base.config import find
from recipes.base.facts import from_strings
from validators.runners.onnxruntime import open_file

Convert = Callable[..., Any]


@pytest.mark.slow
def test_a_page_is_a_whole_folder_and_without_a_browser_not_verified(
    convert: Convert, quick: list[str], npm_package: Path, here: Callable[..., None], tmp_path: Path
) -> None:
    here("onnxruntime")
    folder = tmp_path / "made"
    said = convert(*quick, "--to", "web", "-o", folder)
    assert said.exit_code == 3
    assert "NOT VERIFIED web, browser, fp32, values: not here" in " ".join(said.stdout.split())
    files = {path.relative_to(folder / "web").as_posix() for path in (folder / "web").rglob("*") if path.is_file()}
    runtime = {f"ort/ort{name}" for name in (".wasm.min.js", "-wasm-simd-threaded.mjs", "-wasm-simd-threaded.wasm")}
    sounds = {name for name in files if name.startswith("sounds/")}
    assert files - sounds == {*page.static(), *runtime, "model.json", "model.onnx"}
    assert {"sounds/rich.wav", "sounds/silence.wav"} <= sounds
    # The very file that is held to the whole sweep.
    assert (folder / "web/model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()
    about = json.loads((folder / "web/model.json").read_text(encoding="utf-8"))
    assert {sound["file"] for sound in about["sounds"]} == sounds
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["artifacts"]["web"]["settings"] == {"opset": 17}
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "## `web` in JavaScript, ONNX Runtime Web" in card
    assert 'await Tagger.open("web/")' in card


def test_a_made_page_is_checked_and_run(
    convert: Convert, made_pann: Any, npm_package: Path, tmp_path: Path, browser_is_here: None
) -> None:
    """The made folder with a page beside its files, as `--to web` lays it there."""
    folder = shutil.copytree(made_pann.path, tmp_path / "pann")
    (folder / "web").mkdir()
    facts = from_strings(open_file(folder / "model.onnx").metadata, "model.onnx")
    page.write(folder / "web", folder / "model.onnx", find("mobilenetv1"), facts, {}, npm_package)
    manifest = manifests.read(folder)
    artifacts = {"web": Artifact("web", "waveform", "fp32", None, {"opset": 17})}
    (folder / "manifest.json").unlink()
    manifests.write(replace(manifest, artifacts=artifacts, files=listing(folder)), folder)

    said = convert("check", folder)
    assert said.exit_code == 0, said.stdout
    assert "web, browser, fp32" in said.stdout
    by_onnx, by_page = (
        json.loads(convert("run", folder / name, folder / "reference/rich.wav", "--json").stdout)
        for name in ("model.onnx", "web")
    )
    assert (by_onnx["runtime"], by_page["runtime"]) == ("onnxruntime", "browser")
    assert by_page["outputs"] == by_onnx["outputs"]
    assert [best["label"] for best in by_page["top"][0]] == [best["label"] for best in by_onnx["top"][0]]


def test_no_page_is_made_of_a_model_that_is_fed_no_sound(tmp_path: Path) -> None:
    branch = SimpleNamespace(stem="model.melspec", variant=SimpleNamespace(input=SimpleNamespace(name="melspec")))
    product = make(SimpleNamespace(branch=branch, folder=tmp_path))  # type: ignore[arg-type]
    assert product.artifacts == {}
    assert "a page takes sound" in product.warnings[0]
    assert list(tmp_path.iterdir()) == []
