"""The line at the end of a run, by a run of a few tests of its own."""

import re
import subprocess
import sys
from pathlib import Path
from shutil import copyfile

import pytest

TESTS = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_of_recordings(number):
    pytest.skip("needs the recordings beside the checkout")

def test_of_weights():
    pytest.skip("needs the real weights")

@pytest.mark.skipif(True, reason="the superuser may write anywhere")
def test_of_files(): ...

def test_of_nothing(): ...
"""


@pytest.mark.parametrize(
    "words",
    [pytest.param((), id="one process"), pytest.param(("-n", "2"), id="two", marks=pytest.mark.slow)],
)
def test_a_run_says_in_one_line_what_was_skipped_and_why(tmp_path: Path, words: tuple[str, ...]) -> None:
    copyfile(Path(__file__).with_name("conftest.py"), tmp_path / "conftest.py")
    (tmp_path / "test_few.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("skipped ")]
    head, reasons = lines[0].split(": ", 1)
    assert (len(lines), head) == (1, "skipped 5")
    # Those that are as many come in the order in which workers finished.
    first, *others = reasons.split(", ")
    assert first == "3 lack the recordings beside the checkout"
    assert sorted(others) == ["1 lacks the real weights", "1: the superuser may write anywhere"]
    assert re.search(r"1 passed, 5 skipped in", done.stdout)


def test_a_run_that_skips_nothing_says_nothing(tmp_path: Path) -> None:
    copyfile(Path(__file__).with_name("conftest.py"), tmp_path / "conftest.py")
    (tmp_path / "test_few.py").write_text("def test_of_nothing(): ...\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    assert "skipped" not in subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
