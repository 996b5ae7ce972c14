"""Which runtimes there are, what they run, and whether they are here."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from recipes.base.errors import UserError
from validators.runners.runner import Runner


def _always() -> None:
    return None


def _tract_missing() -> str | None:
    return None if find_spec("tract") else "tract is not installed; `pip install tract` adds it"


def _not_macos() -> str | None:
    return None if sys.platform == "darwin" else "Apple's runtime is on macOS only"


@dataclass(frozen=True)
class Runtime:
    """One way to run one kind of artifact. `absent()` says why it cannot run here, or None."""

    name: str
    suffix: str
    opener: tuple[str, str]
    absent: Callable[[], str | None] = _always

    def open(self, artifact: Path) -> Runner:
        """Raises RunnerError when the runtime refuses the artifact."""
        module, function = self.opener
        opened: Runner = getattr(import_module(f"validators.runners.{module}"), function)(artifact)
        return opened


RUNTIMES = (
    Runtime("onnxruntime", ".onnx", ("onnxruntime", "open_file")),
    Runtime("tract", ".onnx", ("tract", "open_file"), _tract_missing),
    Runtime("coreml", ".mlpackage", ("coreml", "open_native"), _not_macos),
    Runtime("executor", ".mlpackage", ("coreml", "open_stored")),
    Runtime("executor-float32", ".mlpackage", ("coreml", "open_float32")),
)


def runtimes_for(artifact: Path) -> tuple[Runtime, ...]:
    """All that know this kind of artifact, here or not, the one to prefer first."""
    found = tuple(runtime for runtime in RUNTIMES if runtime.suffix == artifact.suffix)
    if not found:
        known = " or ".join(dict.fromkeys(runtime.suffix for runtime in RUNTIMES))
        raise UserError(f"{artifact}: not an artifact that can be run; its name must end in {known}")
    return found


def choose(artifact: Path, name: str | None = None) -> Runtime:
    """The runtime of that name, or the first that is here. `coreml` is Apple's where it is and else the executor."""
    known = runtimes_for(artifact)
    if not artifact.exists():
        raise UserError(f"{artifact}: no such file; `convert recipe` makes one")
    if name == "coreml" and artifact.suffix == ".mlpackage":
        name = None
    wanted = [runtime for runtime in known if name in (None, runtime.name)]
    if not wanted:
        others = "coreml" if artifact.suffix == ".mlpackage" else " or ".join(runtime.name for runtime in known)
        raise UserError(f"{artifact.name} cannot be run by {name}; choose {others}")
    for runtime in wanted:
        if runtime.absent() is None:
            return runtime
    raise UserError(f"{artifact.name}: {wanted[0].absent()}")
