"""Nothing leaves the machine: no dependency opens a socket, or leaves a file in the user's folders."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("convert", "exporters", "validators", "recipes", "benchmarks", "examples")
# These import it, or are it.
TELLING = ("onnxruntime", "onnxsim")

# Imports a module of the project where the first import of a runtime that tells is one that was told not to.
_WATCHED = """
import importlib, os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in {telling}:
            assert os.environ.get("ORT_DISABLE_TELEMETRY") == "1", f"{{name}} is imported before it is told"
            print(name)
        return None

sys.meta_path.insert(0, Watch())
sys.argv[1:] = ["no-model.onnx", "no-sound.wav"]
try:
    importlib.import_module({module!r})
except Exception:
    # An example is a script, which finds no model; by then all is imported.
    if not {module!r}.startswith("examples."):
        raise
"""

# Whatever Python asks the system for, its sockets and names are seen here; `strace` sees native code's too.
_AUDITED = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        sys.stderr.write(f"{event} {arguments}")
        sys.stderr.flush()
        import os
        os._exit(99)

sys.addaudithook(refuse)
sys.argv[0] = "convert"
from convert.__main__ import main
main()
"""


def _importing() -> list[str]:
    """The project's modules with an import of what tells, wherever in the file."""
    found = []
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
                if any(name.partition(".")[0] in TELLING for name in names):
                    found.append(".".join(file.relative_to(ROOT).with_suffix("").parts))
    return sorted(set(found))


@pytest.mark.parametrize("module", _importing())
def test_every_import_of_a_runtime_that_tells_comes_after_it_was_told_not_to(module: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    code = _WATCHED.format(telling=TELLING, module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()


def test_the_imports_are_found() -> None:
    assert {"validators.runners.onnxruntime", "exporters.onnx.simplify", "examples.tag_sound"} <= set(_importing())


def _home(folder: Path) -> tuple[Path, dict[str, str]]:
    """A fresh home, and an environment that knows of no other place of the user's."""
    home = folder / "home"
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_", "SOUNDPORT_"))}
    return home, {**kept, "HOME": str(home)}


def _quietly(folder: Path, *words: object, trace: bool) -> subprocess.CompletedProcess[str]:
    """The command in a fresh home, from which it must not be seen: no socket, and no file there afterwards."""
    home, environment = _home(folder)
    traced = folder / "trace"
    strace = ["strace", "-f", "--seccomp-bpf", "-e", "trace=socket,connect", "-o", traced] if trace else []
    line = [*strace, sys.executable, "-c", _AUDITED, *words]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode != 99, done.stderr
    assert [path.relative_to(home) for path in home.rglob("*")] == []
    if trace:
        # The system's own name service, asked for a user's name, is local.
        opened = [line for line in traced.read_text().splitlines() if "socket(" in line or "connect(" in line]
        assert [line for line in opened if "AF_UNIX" not in line] == []
    shutil.rmtree(home)
    return done


def _can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=socket", "true"], capture_output=True)
    return tried.returncode == 0


def test_a_check_tells_nobody(made_pann: Any, tmp_path: Path) -> None:
    done = _quietly(tmp_path, "check", made_pann.path, trace=_can_trace())
    assert done.returncode == 0, done.stderr


def test_a_run_tells_nobody(made_pann: Any, tmp_path: Path) -> None:
    sound = made_pann.path / "reference" / "rich.wav"
    for runtime in ("onnxruntime", "tract"):
        done = _quietly(tmp_path, "run", made_pann.onnx, sound, "--runtime", runtime, trace=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_conversion_tells_nobody(tmp_path: Path) -> None:
    words = ["recipe", "pann", "--weights", "synthetic", "--to", "coreml", "-o", tmp_path / "made"]
    done = _quietly(tmp_path, *words, trace=_can_trace())
    assert done.returncode == 0, done.stderr
    done = _quietly(tmp_path, "inspect", tmp_path / "made" / "model.mlpackage", trace=_can_trace())
    assert done.returncode == 0, done.stderr


def test_a_conversion_leaves_nothing_in_the_home(made_pann: Any) -> None:
    """That of the session, to ONNX and to Core ML, which had a home of its own."""
    home = made_pann.path.parent / "home"
    assert home.is_dir()
    assert list(home.iterdir()) == []


def test_a_socket_is_seen(tmp_path: Path) -> None:
    """The watch works: what opens a socket, or writes into the home, does not pass."""
    code = _AUDITED.replace("from convert", "import socket; socket.socket()\nfrom convert")
    done = subprocess.run([sys.executable, "-c", code, "list"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 99
    home, environment = _home(tmp_path)
    subprocess.run(
        [sys.executable, "-c", "import onnxruntime"], check=True, capture_output=True, cwd=tmp_path, env=environment
    )
    if not any(path.is_file() for path in home.rglob("*")):
        pytest.skip("this build of ONNX Runtime keeps no diary")
