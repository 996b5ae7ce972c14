"""The Swift package: whole, parsed by a parser of Swift, and compiled and tested where Swift is."""

import json
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convert.manifest import Artifact
from convert.targets.swift import TARGET, make
from convert.targets.target import Job
from exporters.lowering import lower
from exporters.swift import COMMAND, package
from recipes.base.facts import facts_of

FILES = package.static()


@pytest.fixture(scope="module")
def made(tiny: Any, tiny_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`swift` of a model that takes a second to convert."""
    folder = tmp_path_factory.mktemp("made")
    facts = facts_of(tiny, "synthetic", "0" * 64, ("a", "b", "c", "d", "e"))
    branch = SimpleNamespace(variant=tiny, facts=facts, stem="model", size=lambda samples: samples)
    settings = TARGET.settings({"precision": "fp32"})
    job = Job(branch, lower(tiny_model, tiny), settings, folder, lambda name: nullcontext())  # type: ignore[arg-type]
    assert make(job).artifacts == {"swift": Artifact("swift", tiny.input.name, "fp32", None, settings)}
    return folder / "swift"


def test_a_package_is_its_own_files_and_the_model(made: Path) -> None:
    assert {name: (made / name).read_bytes() for name in FILES} == FILES
    assert "Package.swift" in FILES
    assert (made / "Sources/SoundTagger/Model/model.mlpackage/Manifest.json").is_file()
    about = json.loads((made / "Sources/SoundTagger/Model/model.json").read_text(encoding="utf-8"))
    assert about["input"] == {
        "name": "images",
        "between": [2, 3],
        "size": None,
        "least": 4,
        "default": 8,
        "most": 64,
    }
    # What Package.swift copies is what lies there.
    assert '.copy("Model")' in FILES["Package.swift"].decode()


def _errors(source: bytes) -> list[str]:
    """What a parser of Swift takes for no Swift."""
    parser = pytest.importorskip("tree_sitter", reason="needs tree-sitter-swift")
    swift = pytest.importorskip("tree_sitter_swift", reason="needs tree-sitter-swift")
    tree = parser.Parser(parser.Language(swift.language())).parse(source)
    errors, nodes = [], [tree.root_node]
    while nodes:
        node = nodes.pop()
        if node.type == "ERROR" or node.is_missing:
            errors.append(f"line {node.start_point[0] + 1}: {node.text.decode()[:80]}")
        nodes += node.children
    return errors


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_is_swift(name: str) -> None:
    assert _errors(FILES[name]) == []


@pytest.mark.parametrize("name", sorted(FILES))
def test_what_is_no_swift_is_found(name: str) -> None:
    assert _errors(FILES[name].replace(b"{", b"(", 1).replace(b"Package(", b"Package{", 1)) != []


def test_core_ml_is_behind_one_file() -> None:
    importing = [name for name, content in FILES.items() if b"import CoreML" in content]
    assert importing == ["Sources/SoundTagger/CoreMLNetwork.swift"]
    assert FILES[importing[0]].startswith(b"#if canImport(CoreML)\n")
    assert FILES[importing[0]].endswith(b"#endif\n")


def test_the_cards_sample_is_a_program_of_the_package() -> None:
    sample = TARGET.sample.format(file="swift").partition("```swift\n")[2].partition("```")[0]
    assert sample.encode() == FILES[COMMAND]


@pytest.mark.slow
def test_the_package_passes_its_own_tests(made: Path, tmp_path: Path) -> None:
    """On Linux those that need no Core ML; the others are there on a Mac."""
    if not shutil.which("swiftc"):
        pytest.skip("needs Swift")
    built = tmp_path / "built"
    command = ["swift", "test", "--filter", "TaggerTests|EachFault", "--package-path", made, "--scratch-path", built]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with 0 failures" in done.stdout + done.stderr


def test_no_package_is_made_of_a_model_that_is_fed_no_sound(tmp_path: Path) -> None:
    branch = SimpleNamespace(stem="model.melspec", variant=SimpleNamespace(input=SimpleNamespace(name="melspec")))
    product = make(SimpleNamespace(branch=branch, folder=tmp_path))  # type: ignore[arg-type]
    assert product.artifacts == {}
    assert "it takes sound" in product.warnings[0]
    assert list(tmp_path.iterdir()) == []
