"""The made folder that a model lies in: found, and read as often as it is written."""

import os
from pathlib import Path
from typing import Any

import pytest

from convert import manifest as manifests
from convert.models import made


def test_a_manifest_is_read_once_until_it_is_written_anew(
    made_pann: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (made_pann.path / "manifest.json").read_bytes()
    (tmp_path / "manifest.json").write_bytes(content)
    read, asked = manifests.read, []
    monkeypatch.setattr(manifests, "read", lambda folder: asked.append(folder) or read(folder))
    for name in ("model.onnx", "model.mlpackage", "model.onnx"):
        found = made(tmp_path / name)
        assert found is not None
        assert found[0] == tmp_path.resolve()
    assert len(asked) == 1
    (tmp_path / "manifest.json").write_bytes(content.replace(b'"mobilenetv1"', b'"mobilenetv2"'))
    os.utime(tmp_path / "manifest.json", ns=(1, 1))
    anew = made(tmp_path / "model.onnx")
    assert anew is not None
    assert anew[1].variant == "mobilenetv2"
