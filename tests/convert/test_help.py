"""What a user sees first: fast, complete, and in the right stream."""

import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text
from typer.core import TyperGroup as Group

from convert import cli
from convert.targets import TARGETS
from convert.targets.target import Target

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("list", "recipe", "check", "compare", "bisect", "inspect", "run")
HEAVY = ("torch", "coremltools", "onnx", "onnxruntime", "onnxsim", "tract", "numpy", "scipy", "soundfile")

Convert = Callable[..., Any]


def _words(target: Target) -> set[str]:
    """What its options are to be chosen from."""
    return {word for option in target.options if isinstance(option.kind, tuple) for word in option.kind}


def _seconds(*words: str) -> float:
    """Processor time, which is what it takes on a machine with nothing else to do."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "convert", *words], check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_there_within_half_a_second() -> None:
    assert min(_seconds("--help") for _ in range(5)) < 0.5


@pytest.mark.parametrize("words", [[], ["recipe"], ["run"], ["compare"]])
def test_help_imports_nothing_heavy(imported: Callable[..., Any], words: list[str]) -> None:
    said, modules = imported(*words, "--help")
    assert "Usage:" in said
    assert "typer" in modules
    assert modules.isdisjoint(HEAVY)


def test_every_command_has_help(convert: Convert) -> None:
    everything = convert("--help")
    assert everything.exit_code == 0
    for command in COMMANDS:
        assert re.search(rf"\b{command} ", everything.stdout)
        said = convert(command, "--help")
        assert (said.exit_code, said.stderr) == (0, "")
    assert "Exit codes: 0 passed, 1 failed, 2 usage or bad input" in " ".join(everything.stdout.split())
    known = typer.main.get_command(cli.app)
    assert isinstance(known, Group)
    assert set(known.commands) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_and_argument_says_what_it_is_for_brackets_and_all(command: str) -> None:
    """Rich takes what stands in brackets for a style, and shows nothing, unless a backslash is before them."""
    known = typer.main.get_command(cli.app)
    assert isinstance(known, Group)
    for option in known.commands[command].params:
        words = getattr(option, "help", None)
        assert words, option.name
        assert Text.from_markup(words).plain == words.replace("\\[", "["), option.name


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("recipe", {name for target in TARGETS for name in (target.name, *_words(target))}),
        ("run", {name for target in TARGETS for name in target.runtime_names()}),
        ("compare", {name for target in TARGETS for name in target.runtime_names()}),
    ],
)
def test_eighty_columns_break_no_name(
    convert: Convert, monkeypatch: pytest.MonkeyPatch, command: str, names: set[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    said = convert(command, "--help").stdout
    assert max(map(len, said.splitlines())) <= 80
    assert {name for name in names if not re.search(rf"(?<![\w-]){name}(?![\w-])", said)} == set()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["recipe", "pann", "--to", "onx"],
            "'onx' is not one of onnx, c, coreml, npu, swift, web (did you mean onnx?)",
        ),
        (["recipe", "pann", "--weights", "syntetic"], "'syntetic' is not one of published, synthetic (did you mean"),
        (["run", "a.onnx", "a.wav", "--runtime", "tracked"], "'tracked' is not one of onnxruntime, tract, "),
    ],
)
def test_a_word_that_is_none_of_an_options_is_told_the_nearest(convert: Convert, words: list[str], told: str) -> None:
    said = convert(*words)
    assert (said.exit_code, said.stdout) == (2, "")
    assert told in " ".join(said.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "words", [["recipe", "mn04"], ["recipe", "mel", "--set", "n_mel=40"], ["recipe", "pann", "--output", "clipwize"]]
)
def test_names_are_refused_before_anything_heavy_is_imported(imported: Callable[..., Any], words: list[str]) -> None:
    assert imported(*words)[1].isdisjoint(HEAVY)


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
