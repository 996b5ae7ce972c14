"""What a user sees first: fast, complete, and in the right stream."""

import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("list", "recipe", "check", "inspect", "run")
HEAVY = ("torch", "coremltools", "onnx", "onnxruntime", "onnxsim", "tract", "numpy", "scipy", "soundfile")

Convert = Callable[..., Any]


def _seconds(*words: str) -> float:
    """Processor time, which is what it takes on a machine with nothing else to do."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "convert", *words], check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_there_within_half_a_second() -> None:
    assert min(_seconds("--help") for _ in range(5)) < 0.5


@pytest.mark.parametrize("words", [[], ["recipe"], ["run"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom convert.cli import app\n"
        f"try:\n    app({[*words, '--help']!r})\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert "Usage:" in done.stdout
    assert "typer" in done.stderr.split()
    assert set(done.stderr.split()).isdisjoint(HEAVY)


def test_every_command_has_help(convert: Convert) -> None:
    everything = convert("--help")
    assert everything.exit_code == 0
    for command in COMMANDS:
        assert re.search(rf"\b{command} ", everything.stdout)
        said = convert(command, "--help")
        assert (said.exit_code, said.stderr) == (0, "")
        # Every option and argument says what it is for.
        for line in said.stdout.splitlines():
            assert not re.fullmatch(r"│ +\*? +-?-?[\w-]+( <\w+>)? *│", line), (command, line)
    assert "Exit codes: 0 passed, 1 failed, 2 usage or bad input" in " ".join(everything.stdout.split())


def test_no_arguments_show_the_help(convert: Convert) -> None:
    said = convert()
    assert said.exit_code == 2
    assert "Usage:" in said.stdout + said.stderr


@pytest.mark.parametrize(
    "words", [["nonsense"], ["recipe"], ["list", "--nonsense"], ["recipe", "pann", "--to", "tflite"]]
)
def test_wrong_usage_exits_with_2_and_says_so_on_stderr(convert: Convert, words: list[str]) -> None:
    said = convert(*words)
    assert (said.exit_code, said.stdout) == (2, "")
    assert "Usage:" in said.stderr
    assert "Traceback" not in said.stderr


def test_list_shows_every_variant(convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDPORT_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    said = convert("list")
    assert (said.exit_code, said.stderr) == (0, "")
    for part in (
        "pann",
        "mobilenetv1 (default)",
        "waveform (batch, samples)",
        "at 32000 Hz",
        "framewise (batch, frames, 527)",
        "onnx, coreml",
        "not cached",
    ):
        assert part in said.stdout


def test_list_in_json_has_the_same(convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDPORT_CACHE", str(tmp_path))
    said = convert("list", "--json")
    assert (said.exit_code, said.stderr) == (0, "")
    pann = next(entry for entry in json.loads(said.stdout) if entry["variant"] == "mobilenetv1")
    assert pann["family"] == "pann"
    assert pann["default"] is True
    assert pann["inputs"]["waveform"] == ["batch", "samples"]
    assert pann["outputs"]["clipwise"] == ["batch", 527]
    assert pann["formats"] == ["onnx", "coreml"]
    assert pann["checkpoint"] == "not cached"


def test_list_knows_what_is_cached(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pann: Any
) -> None:
    monkeypatch.setenv("SOUNDPORT_CACHE", str(tmp_path))
    monkeypatch.setattr("recipes.base.download._fault", lambda *_: None)
    states = {entry["variant"]: entry["checkpoint"] for entry in json.loads(convert("list", "--json").stdout)}
    assert (states["mobilenetv1"], states["mn04_as"]) == ("cached", "cached")
    assert states["mn20_as"] == "by --checkpoint", "it has no checksum, and is never fetched"
