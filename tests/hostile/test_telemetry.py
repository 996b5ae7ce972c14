"""Nothing leaves the machine: no dependency opens a socket, or leaves a file in the user's folders."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("convert", "exporters", "validators", "recipes", "benchmarks", "examples")
# These import it, or are it.
TELLING = ("onnxruntime", "onnxsim")

# Imports a module of the project where the first import of a runtime that tells is one that was told not to; each in a
# fork of its own, after PyTorch, which tells nothing and takes seconds.
_WATCHED = """
import importlib, json, os, sys, traceback
import torch

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in {telling}:
            assert os.environ.get("ORT_DISABLE_TELEMETRY") == "1", f"{{name}} is imported before it is told"
            seen.append(name)
        return None

assert not set({telling}) & set(sys.modules)
modules, sys.argv[1:] = sys.argv[1:], ["no-model.onnx", "no-sound.wav"]
for module in modules:
    sys.stdout.flush()
    if os.fork() == 0:
        seen, fault = [], ""
        sys.meta_path.insert(0, Watch())
        try:
            importlib.import_module(module)
        except Exception as error:
            # An example is a script, which finds no model; by then all is imported.
            if isinstance(error, AssertionError) or not module.startswith("examples."):
                fault = traceback.format_exc()
        print(json.dumps([module, seen, fault]), flush=True)
        os._exit(0)
    os.wait()
"""

# Before a command begins, the system is told to kill whatever asks for a socket of any network, natively or not: this
# process, its threads, and all that they start. https://docs.kernel.org/userspace-api/seccomp_filter.html
_SEALED = """
import ctypes, platform, socket, struct, sys
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, KILL = 0x7FFF0000, 0x80000000
steps = [
    (LOAD, 0, 0, 0),  # the number of the call
    (EQUAL, 0, 2, {"x86_64": 41, "aarch64": 198}.get(platform.machine(), -1)),
    (LOAD, 0, 0, 16),  # its first argument, the kind of network
    (EQUAL, 0, 1, socket.AF_UNIX),  # the system's own name service, asked for a user's name
    (RETURN, 0, 0, ALLOW),
    (RETURN, 0, 0, KILL),
]
content = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(content)))
system = ctypes.CDLL(None)
if system.prctl(38, 1, 0, 0, 0) or system.prctl(22, 2, program):
    sys.exit(77)
"""

# Whatever Python itself asks for is seen before it comes to that, and told.
_AUDITED = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        sys.stderr.write(f"{event} {arguments}")
        sys.stderr.flush()
        import os
        os._exit(99)

sys.addaudithook(refuse)
"""
_COMMAND = """
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


@pytest.fixture(scope="module")
def imported() -> dict[str, tuple[list[str], str]]:
    """Of each such module the runtimes that it imported, and what went wrong."""
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    line = [sys.executable, "-c", _WATCHED.format(telling=TELLING), *_importing()]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    found = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    return {module: (seen, fault) for module, seen, fault in found}


@pytest.mark.parametrize("module", _importing())
def test_every_import_of_a_runtime_that_tells_comes_after_it_was_told_not_to(
    module: str, imported: dict[str, tuple[list[str], str]]
) -> None:
    seen, fault = imported[module]
    assert not fault, fault
    assert seen


def test_the_imports_are_found() -> None:
    assert {"validators.runners.onnxruntime", "exporters.onnx.simplify", "examples.tag_sound"} <= set(_importing())


def _home(folder: Path) -> tuple[Path, dict[str, str]]:
    """A fresh home, and an environment that knows of no other place of the user's."""
    home = folder / "home"
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_", "SOUNDPORT_"))}
    return home, {**kept, "HOME": str(home)}


def _quietly(folder: Path, *words: object) -> None:
    """The command in a fresh home, from which it must not be seen: no socket, and no file there afterwards."""
    home, environment = _home(folder)
    line = [sys.executable, "-c", _SEALED + _AUDITED + _COMMAND, *words]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert [path.relative_to(home) for path in home.rglob("*")] == []
    shutil.rmtree(home)


@pytest.fixture
def sealed() -> None:
    """Skips where nobody can be kept from the network; that it keeps them is tested below."""
    done = subprocess.run([sys.executable, "-c", _SEALED], capture_output=True)
    if done.returncode:
        pytest.skip("needs a system that can keep a process from the network")


# What asks for a socket beside Python: in this process, in a thread, and in another that it starts.
_NATIVE = "system.socket(2, 1, 0)"


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize(
    ("code", "code_of_exit"),
    [
        (_NATIVE, -signal.SIGSYS),
        ("system.socket(10, 2, 0)", -signal.SIGSYS),
        (f"import threading, time; threading.Thread(target=lambda: {_NATIVE}).start(); time.sleep(9)", -signal.SIGSYS),
        (
            f"import os; pid = os.fork(); {_NATIVE} if pid == 0 else sys.exit(os.waitpid(pid, 0)[1])",
            signal.SIGSYS,
        ),
        ("from urllib.request import urlopen; urlopen('http://127.0.0.1:9')", 99),
        ("import socket; socket.getaddrinfo('example.org', 443)", 99),
        ("system.socket(1, 1, 0)", 0),
        ("print('nothing')", 0),
    ],
)
def test_whoever_asks_for_a_socket_is_seen(code: str, code_of_exit: int) -> None:
    done = subprocess.run([sys.executable, "-c", f"{_SEALED}{_AUDITED}\n{code}"], capture_output=True, cwd=ROOT)
    # A core dump would be told beside the signal.
    assert done.returncode & ~0x80 == code_of_exit & ~0x80 if done.returncode > 0 else done.returncode == code_of_exit


@pytest.mark.usefixtures("sealed")
def test_a_check_tells_nobody(made_pann: Any, tmp_path: Path) -> None:
    _quietly(tmp_path, "check", made_pann.path)


@pytest.mark.usefixtures("sealed")
def test_a_run_tells_nobody(made_pann: Any, tmp_path: Path) -> None:
    sound = made_pann.path / "reference" / "rich.wav"
    for runtime in ("onnxruntime", "tract"):
        _quietly(tmp_path, "run", made_pann.onnx, sound, "--runtime", runtime)


@pytest.mark.slow
@pytest.mark.usefixtures("sealed")
def test_a_conversion_tells_nobody(tmp_path: Path) -> None:
    _quietly(tmp_path, "recipe", "pann", "--weights", "synthetic", "--to", "coreml", "-o", tmp_path / "made")
    _quietly(tmp_path, "inspect", tmp_path / "made" / "model.mlpackage")


def test_a_conversion_leaves_nothing_in_the_home(made_pann: Any) -> None:
    """That of the session, to ONNX and to Core ML, which had a home of its own."""
    home = made_pann.path.parent / "home"
    assert home.is_dir()
    assert list(home.iterdir()) == []


def test_a_file_in_the_home_is_seen(tmp_path: Path) -> None:
    """What a runtime leaves there that nobody told not to."""
    home, environment = _home(tmp_path)
    subprocess.run(
        [sys.executable, "-c", "import onnxruntime"], check=True, capture_output=True, cwd=tmp_path, env=environment
    )
    if not any(path.is_file() for path in home.rglob("*")):
        pytest.skip("this build of ONNX Runtime keeps no diary")
