"""The card's Rust is compiled and run wherever Cargo has the crate that it needs; nothing is fetched for it."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_MANIFEST = """[package]
name = "sample"
version = "0.1.0"
edition = "2021"

[dependencies]
tract-onnx = "*"
"""


@pytest.mark.slow
def test_the_cards_rust_runs(made_pann: Any, tmp_path: Path) -> None:
    if not shutil.which("cargo"):
        pytest.skip("needs Cargo")
    (tmp_path / "src").mkdir()
    (tmp_path / "Cargo.toml").write_text(_MANIFEST, encoding="utf-8")
    card = (made_pann.path / "README.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"^## `model\.onnx` in Rust, tract\n.*?^```rust\n(.*?)^```", card, re.DOTALL | re.MULTILINE)
    imports, _, rest = sample.partition("\n\n")
    program = f'{imports}\nfn main() -> TractResult<()> {{\n{rest}println!("{{}}", outputs.len());\nOk(())\n}}\n'
    (tmp_path / "src" / "main.rs").write_text(program, encoding="utf-8")
    shutil.copyfile(made_pann.onnx, tmp_path / "model.onnx")

    def cargo(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["cargo", *words, "--offline"], cwd=tmp_path, capture_output=True, text=True)

    if cargo("generate-lockfile").returncode:
        pytest.skip("needs the crate tract-onnx in Cargo's cache")
    done = cargo("run", "--release", "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "5\n"
