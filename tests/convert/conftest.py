"""The command, in process where its streams and exit codes are all that matters."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import torch

from convert import targets
from recipes.base.sound import rich


@pytest.fixture(scope="session")
def imported() -> Callable[..., tuple[str, set[str]]]:
    """`imported("list")`: what the command prints in a process of its own, and the modules that it has imported."""

    def run(*words: str) -> tuple[str, set[str]]:
        code = (
            "import sys\nfrom convert.cli import app\n"
            f"try:\n    app({list(words)!r})\nexcept SystemExit:\n    pass\n"
            "sys.stderr.write(' '.join(sys.modules))"
        )
        line = [sys.executable, "-c", code]
        done = subprocess.run(line, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        return done.stdout, set(done.stderr.split())

    return run


@pytest.fixture
def folder(made_pann: Any, tmp_path: Path) -> Path:
    """A copy of the made folder, to damage."""
    return copytree(made_pann.path, tmp_path / "pann")


@pytest.fixture(scope="session")
def synthetic_checkpoint(synthetic_pann: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic weights as a user's file."""
    path = tmp_path_factory.mktemp("checkpoint") / "mine.pth"
    torch.save({"model": synthetic_pann.state_dict()}, path)
    return path


@pytest.fixture
def quick(exported_pann: Path, synthetic_checkpoint: Path, pann: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of a recipe that takes seconds: the graph comes from the session's export, and the sweep is short.

    For whatever happens around the export; it gives what the export of these very weights gives.
    """
    content = exported_pann.read_bytes()
    short = replace(pann, input=replace(pann.input, default=pann.input.least))
    monkeypatch.setattr("convert.request.find", lambda _: short)
    monkeypatch.setattr("exporters.onnx.export.export", lambda *_: onnx.load_from_string(content))
    return ["recipe", "pann", "--checkpoint", str(synthetic_checkpoint)]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`here("tract")`: on this machine are these runtimes and no others."""

    def only(*names: str) -> None:
        def told(target: Any) -> Any:
            runtimes = tuple(r if r.name in names else replace(r, absent=lambda: "not here") for r in target.runtimes)
            return replace(target, runtimes=runtimes)

        monkeypatch.setattr(targets, "TARGETS", tuple(map(told, targets.TARGETS)))

    return only


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of sound as `tone.wav` and `tone.flac` (32 kHz mono), and `stereo.wav` (44.1 kHz, 24 bit, stereo)."""
    folder = tmp_path_factory.mktemp("sounds")
    sound = rich(32000, 32000, seed=9)
    soundfile.write(folder / "tone.wav", sound, 32000, "FLOAT")
    soundfile.write(folder / "tone.flac", sound, 32000, "PCM_24")
    stereo = np.stack([rich(44100, 44100, seed) for seed in (1, 2)], axis=1)
    soundfile.write(folder / "stereo.wav", stereo, 44100, "PCM_24")
    soundfile.write(folder / "short.wav", sound[:9919], 32000, "FLOAT")
    soundfile.write(folder / "silence.wav", np.zeros(32000, np.float32), 32000, "FLOAT")
    return folder
