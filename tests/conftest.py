"""Fixtures that several packages' tests share."""

import sys
from pathlib import Path
from subprocess import run

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of sounds, published layouts and true outputs that lies beside a checkout, where there is one."""
    if not _SHARED.is_dir():
        pytest.skip(f"needs the reference files in {_SHARED.name}/ beside the checkout")
    return _SHARED


@pytest.fixture(scope="session")
def pann_checkpoint(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the published container and layout of PANN MobileNetV1, with weights that are not the published."""
    folder = tmp_path_factory.mktemp("pann")
    run([sys.executable, shared / "checkpoints" / "synthesize.py", "pann_mobilenetv1", folder], check=True)
    (file,) = folder.iterdir()
    return file
