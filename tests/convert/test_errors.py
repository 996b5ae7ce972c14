"""Bad input, full disks and interruptions of `convert recipe`: one line, the right exit code, and nothing left."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

Convert = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["recipe", "nonsense"], "there is no recipe 'nonsense'; `convert list` shows all"),
        (["recipe", "pann", "--atol", "scores:1"], "there is no output 'scores'; the outputs are clipwise, "),
        (
            ["recipe", "pann", "--output", "scores"],
            "mobilenetv1 has no output 'scores'; choose from clipwise, embedding, ",
        ),
        (["recipe", "pann", "--output", "clipwize"], "no output 'clipwize' (did you mean clipwise?); choose from clip"),
        (["recipe", "mn04_as", "--input", "melspek"], "no input 'melspek' (did you mean melspec?); choose from wave"),
        (["recipe", "mel", "--set", "n_mel=40"], "n_mel: is no number of mel_librosa (did you mean n_mels?); `convert"),
        (["recipe", "pann", "--output", ""], "mobilenetv1 has no output ''; choose from clipwise, "),
        (
            ["recipe", "pann", "--output", "clipwise", "--atol", "framewise:1"],
            "no output 'framewise'; the outputs are clip",
        ),
        (["recipe", "pann", "--output", "clipwise", "--output-name", "melspec:x"], "has no tensor 'melspec' to rename"),
        (
            ["recipe", "pann", "--output", "clipwise", "--output-name", "melspec"],
            "two tensors would be called 'melspec'",
        ),
        (["recipe", "mn04_as", "--output", "melspec", "--input", "melspec"], "gives no melspec when it is fed that"),
        (["recipe", "eat", "--output", "embedding"], "has no output 'embedding'; choose from logits"),
        (["recipe", "pann", "--atol", "-1"], "--atol -1: give a number of 0 or more"),
        (["recipe", "pann", "--atol", "clipwise:-1"], "--atol clipwise:-1: give a number"),
        (["recipe", "pann", "--atol", "clipwise"], "--atol clipwise: give a number"),
        (["recipe", "pann", "--atol", "nan"], "--atol nan: give a number"),
        (["recipe", "pann", "--atol", "inf"], "--atol inf: give a number"),
        (["recipe", "pann", "--atol", "clipwise:"], "--atol clipwise:: give a number"),
        (["recipe", "pann", "--seconds", "1"], "add --to coreml or --to npu or --to swift, or leave it out"),
        (["recipe", "pann", "--precision", "fp16"], "--precision belongs to --to coreml or --to swift; add"),
        (["recipe", "pann", "--to", "coreml", "--seconds", "0.3"], "takes 0.31 to 60 s"),
        (["recipe", "pann", "--to", "coreml", "--seconds", "61"], "takes 0.31 to 60 s"),
        (["recipe", "pann", "--to", "coreml", "--seconds", "0"], "takes 0.31 to 60 s"),
        (["recipe", "pann", "--to", "coreml", "--seconds", "inf"], "takes 0.31 to 60 s"),
        (["recipe", "pann", "--checkpoint", "nowhere.pth"], "nowhere.pth: there is no such file"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_bad_words(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert convert(*words).is_one_clear_error(part)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("opset", [12, 21])
def test_an_unknown_opset(convert: Convert, synthetic_checkpoint: Path, tmp_path: Path, opset: int) -> None:
    words = ["recipe", "pann", "--checkpoint", synthetic_checkpoint, "--opset", opset, "-o", tmp_path / "made"]
    said = convert(*words)
    assert (said.exit_code, said.stdout) == (2, "")
    assert "--opset" in said.stderr
    assert "Traceback" not in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_that_are_none(
    convert: Convert, synthetic_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "pwned"),)

    monkeypatch.chdir(tmp_path)
    whole = synthetic_checkpoint.read_bytes()
    torch.save({"model": Hostile()}, tmp_path / "hostile.pth")
    hostile = (tmp_path / "hostile.pth").read_bytes()
    for name, content, part in (
        ("truncated.pth", whole[: len(whole) // 2], "is no checkpoint of torch.save, or a part is missing"),
        ("empty.pth", b"", "the file is empty"),
        ("page.pth", b"<!DOCTYPE html><html></html>", "is a web page"),
        ("hostile.pth", hostile, "nothing was run"),
    ):
        (tmp_path / name).write_bytes(content)
        said = convert("recipe", "pann", "--checkpoint", tmp_path / name)
        assert said.is_one_clear_error(part), (name, said)
        assert name in said.stderr
        (tmp_path / name).unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_model(convert: Convert, tmp_path: Path) -> None:
    import torch

    torch.save({"features.0.0.weight": torch.ones(8, 1, 3, 3)}, tmp_path / "another.pt")
    said = convert("recipe", "pann", "--checkpoint", tmp_path / "another.pt", "-o", tmp_path / "made")
    assert said.is_one_clear_error("these weights do not fit mobilenetv1")
    assert [path.name for path in tmp_path.iterdir()] == ["another.pt"]


def test_sounds_that_do_not_fit(
    convert: Convert, quick: list[str], sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    for path, part in (
        (sounds / "short.wav", "9919 samples"),
        (sounds / "silence.wav", "two cases are called 'silence'"),
        (tmp_path / "text.wav", "is no sound file"),
        (tmp_path / "nowhere.wav", "there is no such file"),
    ):
        said = convert(*quick, "--audio", path, "-o", tmp_path / "made")
        assert said.is_one_clear_error(part), said
    assert [path.name for path in tmp_path.iterdir()] == ["text.wav"]


def test_targets_that_are_not_ours(convert: Convert, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("precious")
    words = ["recipe", "pann", "--weights", "synthetic", "-o"]
    assert convert(*words, tmp_path / "file").is_one_clear_error("is a file; choose a folder with -o")
    assert convert(*words, tmp_path / "folder").is_one_clear_error("notes.txt, which this command did not make")
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "notes.txt").read_text() == "precious"


def test_a_target_below_a_file(convert: Convert, quick: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert convert(*quick, "-o", tmp_path / "file" / "made").is_one_clear_error("file: File exists")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_parent_that_is_read_only(convert: Convert, quick: list[str], tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        assert convert(*quick, "-o", tmp_path / "made").is_one_clear_error("Permission denied")
    finally:
        tmp_path.chmod(0o755)


def test_a_parent_that_refuses(
    convert: Convert, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "made"))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    said = convert(*quick, "-o", tmp_path / "made")
    assert said.is_one_clear_error("Permission denied; free space or check the path and its rights")


def test_a_full_disk(convert: Convert, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "model.onnx")

    monkeypatch.setattr("onnx.save", full)
    said = convert(*quick, "-o", tmp_path / "made")
    assert said.is_one_clear_error("model.onnx: No space left on device; free space")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_in_earnest(synthetic_checkpoint: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for it: the operating system itself refuses, in the middle of a file."""
    limited = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))\n"
        "import runpy\nrunpy.run_module('convert', run_name='__main__', alter_sys=True)"
    )
    words = ["recipe", "pann", "--checkpoint", synthetic_checkpoint, "-o", tmp_path / "made"]
    done = subprocess.run([sys.executable, "-c", limited, *words], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "File too large" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "place",
    [
        "exporters.onnx.simplify.simplify",
        pytest.param("convert.pipeline.check_in", marks=pytest.mark.slow),
        pytest.param("convert.papers.write", marks=pytest.mark.slow),
        "validators.reference.write",
    ],
)
def test_an_interruption_leaves_nothing(
    convert: Convert, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    said = convert(*quick, "-o", tmp_path / "made")
    assert (said.exit_code, said.stdout) == (130, "")
    assert said.stderr == "error: interrupted; nothing half-written is left\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_keeps_what_an_earlier_run_made(
    convert: Convert, quick: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("exporters.onnx.simplify.simplify", interrupt)
    assert convert(*quick, "-o", folder).exit_code == 130
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["pann"]


def test_ctrl_c_in_earnest(synthetic_checkpoint: Path, tmp_path: Path) -> None:
    """The signal that a terminal sends, while the exporter is at work."""
    words = ["recipe", "pann", "--checkpoint", synthetic_checkpoint, "-o", tmp_path / "made", "-v"]
    with subprocess.Popen(
        [sys.executable, "-m", "convert", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while not (line := process.stderr.readline()).startswith("lowering: "):
            assert line, "it ended before the export began"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.stdout.read() == ""
    # A shell says 130 of both. Python ends by the signal where it came amid an exec() of text, caught or not:
    # run_eval_code_obj in https://github.com/python/cpython/blob/3.11/Python/pythonrun.c
    assert process.returncode in (130, -signal.SIGINT)
    assert rest == "error: interrupted; nothing half-written is left\n"
    assert list(tmp_path.iterdir()) == []


def test_a_swallowed_ctrl_c_is_not_lost(
    convert: Convert, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import suppress

    def swallow(model: Any) -> Any:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return model

    monkeypatch.setattr("exporters.onnx.simplify.simplify", swallow)
    before = signal.getsignal(signal.SIGINT)
    said = convert(*quick, "-o", tmp_path / "made")
    assert (said.exit_code, said.stdout) == (130, "")
    assert signal.getsignal(signal.SIGINT) is before
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_is_one_line(
    convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pann: Any
) -> None:
    from requests import ConnectionError

    def no_network(*_: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setenv("SOUNDPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("recipes.base.download._download", no_network)
    said = convert("recipe", "pann", "-o", tmp_path / "made")
    assert said.is_one_clear_error("--weights synthetic")
    assert not (tmp_path / "made").exists()
