"""A Swift package is held to what it should be, and on a Mac to its own tests; none but our own programs are run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from convert.manifest import Artifact
from convert.targets.swift import TARGET
from exporters.swift import COMMAND, RESOURCES, package
from recipes.base.facts import from_strings
from validators import swift_package
from validators.results import Check
from validators.runners.onnxruntime import open_file

MODEL = RESOURCES + "/model.mlpackage"


@pytest.fixture(scope="module")
def whole(made_pann: Any, pann: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "swift"
    facts = from_strings(open_file(made_pann.onnx).metadata, "model.onnx")
    package.write(folder, pann, facts, None)
    shutil.copytree(made_pann.mlpackage, folder / MODEL)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "swift")


@pytest.fixture
def checked(pann: Any) -> Callable[[Path], list[Check]]:
    artifact = Artifact("swift", "waveform", "mixed", None, {"precision": "mixed", "seconds": None})
    return lambda folder: TARGET.check_file(folder, artifact, pann.input, pann.outputs)


def test_a_package_as_it_was_made_is_not_verified_off_a_mac(
    whole: Path, checked: Callable[[Path], list[Check]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swift_package.sys, "platform", "linux")
    *others, tests = checked(whole)
    assert {check.status for check in others} == {"passed"}
    assert {check.artifact for check in others} == {"swift"}
    assert (tests.runtime, tests.kind, tests.status) == ("swift-test", "values", "not verified")
    assert "run `swift test` in this folder there" in tests.message


def _with(name: str, content: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)

    return write


def _of_another_rate(folder: Path) -> None:
    path = folder / RESOURCES / "model.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    about["facts"]["sample_rate"] = "16000"
    path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("damage", "kind", "said"),
    [
        (_with("Package.swift", "import Foundation"), "file", "Package.swift is not that of this version"),
        (_with("Sources/SoundTagger/More.swift", ""), "file", "Sources/SoundTagger/More.swift is no file of this"),
        (_with("Plugins/run.swift", ""), "file", "Plugins/run.swift is no file of this"),
        (lambda folder: (folder / COMMAND).unlink(), "file", "Tag.swift is missing"),
        (lambda folder: shutil.rmtree(folder / MODEL), "file", "no readable package"),
        (_of_another_rate, "metadata", "says other facts than the model has"),
        (_with(RESOURCES + "/model.json", "{"), "metadata", "model.json cannot be read"),
    ],
)
def test_a_fault_is_found_and_nothing_is_run(
    folder: Path,
    checked: Callable[[Path], list[Check]],
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], None],
    kind: str,
    said: str,
) -> None:
    ran = []
    monkeypatch.setattr(swift_package.sys, "platform", "darwin")
    monkeypatch.setattr(swift_package, "which", lambda _: "/usr/bin/swift")
    monkeypatch.setattr(
        swift_package.subprocess, "run", lambda *_, **__: ran.append(1) or CompletedProcess([], 0, "", "")
    )
    damage(folder)
    failed = [check for check in checked(folder) if check.status == "failed"]
    assert any(check.kind == kind and said in check.message for check in failed)
    assert ran == []


@pytest.mark.parametrize(
    ("done", "status", "said"),
    [
        (CompletedProcess([], 0, "Executed 8 tests, with 0 failures", ""), "passed", ""),
        (
            CompletedProcess([], 1, "", "x.swift:9: error: -[T t] : rich, clipwise\nmore"),
            "failed",
            "x.swift:9: error: -[T t] : rich, clipwise",
        ),
        (CompletedProcess([], 1, "", "error: no such module 'XCTest'"), "not verified", "XCTest is not installed"),
    ],
    ids=["passed", "failed", "without XCTest"],
)
def test_on_a_mac_its_tests_are_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: CompletedProcess, status: str, said: str
) -> None:
    commands = []
    monkeypatch.setattr(swift_package.sys, "platform", "darwin")
    monkeypatch.setattr(swift_package, "which", lambda _: "/usr/bin/swift")
    monkeypatch.setattr(swift_package.subprocess, "run", lambda command, **_: commands.append(command) or done)
    check = swift_package.tested(tmp_path / "swift", "mixed")
    assert (check.status, check.artifact) == (status, "swift")
    assert said in check.message
    assert commands[0][:4] == ["swift", "test", "--package-path", str(tmp_path / "swift")]
    # Built elsewhere: the folder holds what was made, and nothing else.
    assert not Path(commands[0][5]).is_relative_to(tmp_path / "swift")


def test_a_mac_without_swift_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swift_package.sys, "platform", "darwin")
    monkeypatch.setattr(swift_package, "which", lambda _: None)
    check = swift_package.tested(tmp_path, "mixed")
    assert check.status == "not verified"
    assert "Xcode brings it" in check.message
