"""What kills, stalls or starves a runtime is one clear line of the command that was asked to run it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.hostile.cases import some
from tests.hostile.conftest import Commands
from tests.hostile.test_models import MODELS, X


@pytest.mark.parametrize("name", some(MODELS, 10))
@pytest.mark.parametrize("command", ["run", "compare"])
def test_it_is_run_or_refused_in_one_line(
    commands: Commands, noted: Callable[[str, object], None], tmp_path: Path, command: str, name: str
) -> None:
    model, inputs = tmp_path / "model.onnx", tmp_path / "inputs.npz"
    model.write_bytes(MODELS[name]())
    np.savez(inputs, x=X)
    words = ("run", model, inputs) if command == "run" else ("compare", model, model, "--on", inputs)
    ended = commands.run(*words, "--timeout", 2)
    noted("seconds", ended.seconds)
    # What two runs of one file answer may well agree, and be nothing that can be compared.
    assert ended.exit_code in ((0, 2) if command == "run" else (0, 1, 2, 3)), ended
    lines = ended.stderr.splitlines()
    assert sum(not line.startswith(("warning: ", "note: ")) for line in lines) == (ended.exit_code == 2), ended
    assert all(line.isprintable() for line in lines)
    assert "Traceback" not in ended.stdout
    assert ended.seconds < 20
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["inputs.npz", "model.onnx"]
