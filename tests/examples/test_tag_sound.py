"""The example says what the command says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tag_sound.py"


def test_it_says_what_the_command_says(made_pann: Any) -> None:
    sound = made_pann.path / "reference" / "rich.wav"
    words = [made_pann.onnx, sound]
    example = subprocess.run([sys.executable, EXAMPLE, *words], capture_output=True, text=True, check=True)
    command = [sys.executable, "-m", "convert", "run", *words, "--top", "5"]
    ours = subprocess.run(command, capture_output=True, text=True, check=True, cwd=EXAMPLE.parents[1])
    assert example.stdout == ours.stdout


def test_too_short_a_sound_is_told(made_pann: Any, tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "short.wav", np.zeros(100, np.float32), 32000)
    done = subprocess.run([sys.executable, EXAMPLE, made_pann.onnx, tmp_path / "short.wav"], capture_output=True)
    assert done.returncode == 1
    assert b"too short" in done.stderr
