"""Fixtures that several packages' tests share, and what a run says at its end of tests that it left out."""

import fcntl
import gc
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

# The processes of a parallel run share the cores already; torch and NumPy read this when they are imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shells have what runs in the background ignore Ctrl-C, and nohup has it ignore the terminal's end; the commands that
# tests send them to would do so too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

_ROOT = Path(__file__).resolve().parents[1]
_DATA = _ROOT / "tests" / "data"
_SHARED = _ROOT.parent / "shared"

Cases = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def _what_stays_is_no_garbage() -> None:
    """Conversions collect garbage themselves, and would look through all that was imported and collected each time.

    That was three quarters of the time of a small one.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """What is looked at no more is not taken apart at the end either, and bindings call that a leak."""
    gc.unfreeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line: how many tests were skipped, and what they lack."""
    # A report's longrepr is (file, line, "Skipped: REASON"); it comes from the workers of a parallel run as well.
    skipped = terminalreporter.getreports("skipped")
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    listed = [_counted(count, reason) for reason, count in reasons.most_common()]
    if listed:
        terminalreporter.write_line(f"skipped {len(skipped)}: {', '.join(listed)}")


def _counted(count: int, reason: str) -> str:
    lacking = reason.removeprefix("needs ")
    return f"{count}: {reason}" if lacking == reason else f"{count} lack{'s' * (count == 1)} {lacking}"


@dataclass(frozen=True)
class Said:
    """What a command left with."""

    exit_code: int
    stdout: str
    stderr: str

    def is_one_clear_error(self, part: str = "") -> bool:
        """Exit code 2, nothing on stdout, and one line of plain text on stderr, which begins so and says `part`."""
        lines = self.stderr.splitlines()
        clear = len(lines) == 1 and lines[0].startswith("error: ") and part in lines[0] and lines[0].isprintable()
        return self.exit_code == 2 and self.stdout == "" and clear


@pytest.fixture(scope="session")
def convert() -> Callable[..., Said]:
    """`convert("run", ...)`: the command in this process; an exception that escapes it fails the test."""

    def invoke(*arguments: object) -> Said:
        from typer.testing import CliRunner

        from convert.cli import app

        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of sounds, weights and true outputs that lies beside a checkout, where there is one."""
    if not _SHARED.is_dir():
        pytest.skip(f"needs the reference files in {_SHARED.name}/ beside the checkout")
    return _SHARED


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings, where there is one."""
    if not (_SHARED / "audio").is_dir():
        pytest.skip("needs the recordings beside the checkout")
    return _SHARED / "audio"


@pytest.fixture(scope="session")
def real_weights() -> Callable[[str], Path]:
    """`real_weights(name)`: the published checkpoint of a variant, from the cache or from beside the checkout."""
    from recipes.base.config import find
    from recipes.base.download import cached, is_published

    def get(name: str) -> Path:
        variant = find(name)
        if path := cached(variant):
            return path
        path = _SHARED / "checkpoints" / variant.source.file
        if not path.is_file():
            pytest.skip(f"needs the real weights of {name}, in the cache or beside the checkout")
        assert is_published(path, variant), f"{path.name} is not the file whose checksum the configuration has"
        return path

    return get


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """`made_once(name, make)`: a folder that `make` fills, once for all processes of a parallel run; read only."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder = base / name
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                partial = tmp_path_factory.mktemp(name) / name
                partial.mkdir()
                make(partial)
                partial.rename(folder)
        return folder

    return made


@pytest.fixture(scope="session")
def stand_in(made_once: Callable[..., Path]) -> Callable[[str], Path]:
    """`stand_in(name)`: a checkpoint in the published container and layout, its weights drawn; for EAT a run's folder.

    tests/data/README.md says which there are.
    """

    def get(name: str) -> Path:
        def make(folder: Path) -> None:
            run([sys.executable, _DATA / "stand_in.py", name, folder], check=True)

        folder = made_once(f"stand-in-{name}", make)
        files = list(folder.iterdir())
        return files[0] if len(files) == 1 else folder

    return get


@pytest.fixture(scope="session")
def pann_checkpoint(stand_in: Callable[[str], Path]) -> Path:
    """A file in the published container and layout of PANN MobileNetV1, with weights that are not the published."""
    return stand_in("pann_mobilenetv1")


@pytest.fixture(scope="session")
def truth() -> Callable[[str], Cases]:
    """`truth(name)[case][tensor]`: what the authors' own code answers with the weights of `stand_in(name)`.

    `waveform` is what the network was fed.
    """
    import numpy as np

    def read(name: str) -> Cases:
        cases = _cases(_DATA / "truth" / f"{name}.npz")
        for tensors in cases.values():
            waveform = tensors.pop("waveform_int16").astype(np.float32) / 32768
            missing = int(tensors.pop("length", waveform.shape[-1])) - waveform.shape[-1]
            tensors["waveform"] = np.pad(waveform, [(0, 0)] * (waveform.ndim - 1) + [(0, missing)])
        return cases

    return read


@pytest.fixture(scope="session")
def agreement() -> Callable[[str, str], dict[str, float]]:
    """`agreement(name, case)[tensor]`: how far from `truth(name)[case]` another computation in float32 may be.

    Three times what float32 itself was seen to change there: see tests/data/README.md.
    """
    rounding = json.loads((_DATA / "truth" / "agreement.json").read_text(encoding="utf-8"))

    def get(name: str, case: str) -> dict[str, float]:
        return {tensor: 3 * seen for tensor, seen in (rounding[name] | rounding.get(f"{name}/{case}", {})).items()}

    return get


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Cases]:
    """`golden(name)[case][tensor]`: the authors' answers to real recordings, where there are some.

    Those of mn04_as are made with its real weights, the others with those of `stand_in(name)`.
    """

    def read(name: str) -> Cases:
        path = _SHARED / "golden" / f"{name}.npz"
        if not path.is_file():
            pytest.skip("needs the authors' answers to recordings, beside the checkout")
        return _cases(path)

    return read


def _cases(path: Path) -> Cases:
    """Arrays named CASE/TENSOR, with PANN's `segmentwise` spread over the frames, which is its output `framewise`."""
    import numpy as np

    cases: Cases = {}
    with np.load(path) as file:
        for key in file:
            case, tensor = key.split("/")
            cases.setdefault(case, {})[tensor] = file[key]
    for tensors in cases.values():
        if "segmentwise" in tensors:
            segments = tensors.pop("segmentwise")
            frames = np.arange(tensors["melspec"].shape[1])
            tensors["framewise"] = segments[:, np.minimum(frames // 32, segments.shape[1] - 1)]
    return cases


@pytest.fixture(scope="session")
def pann() -> Any:
    """The variant PANN MobileNetV1."""
    from recipes.base.config import find

    return find("mobilenetv1")


@pytest.fixture(scope="session")
def synthetic_pann(pann: Any) -> Any:
    """The faithful model with synthetic weights."""
    from recipes.base.recipe import faithful_model, load

    return faithful_model(pann, load("pann").synthesize(pann))


@pytest.fixture(scope="session")
def exported_pann(made_once: Callable[..., Path], pann: Any, request: pytest.FixtureRequest) -> Path:
    """The synthetic model as the exporter writes it in opset 17, before it is simplified."""

    def make(folder: Path) -> None:
        import onnx

        from exporters.lowering import lower
        from exporters.onnx.export import export

        onnx.save(export(lower(request.getfixturevalue("synthetic_pann"), pann), pann), str(folder / "exported.onnx"))

    return made_once("exported", make) / "exported.onnx"


@dataclass(frozen=True)
class MadeFolder:
    """What the command made in `path`, and what it printed of it."""

    path: Path
    exit_code: int
    stdout: str
    stderr: str

    @property
    def onnx(self) -> Path:
        return self.path / "model.onnx"

    @property
    def mlpackage(self) -> Path:
        return self.path / "model.mlpackage"


@pytest.fixture(scope="session")
def made_pann(made_once: Callable[..., Path]) -> MadeFolder:
    """`convert recipe pann --to coreml --weights synthetic --json`, run as a user does; copy what you change."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "convert", "recipe", "pann", "--to", "coreml", "--weights", "synthetic"]
        # A home of its own, in which `tests/hostile/test_telemetry.py` looks for what somebody left there.
        (folder / "home").mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
        home = {**kept, "HOME": str(folder / "home")}
        done = run([*command, "-o", folder / "pann", "--json"], capture_output=True, text=True, cwd=_ROOT, env=home)
        if not (folder / "pann").is_dir():
            raise RuntimeError(f"the command made nothing: {done.stderr}")
        said = {"exit_code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
        (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")

    folder = made_once("made", make)
    return MadeFolder(folder / "pann", **json.loads((folder / "said.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def tiny(pann: Any) -> Any:
    """A variant that is fed four axes and gives four, for a network that takes a second to export."""
    from dataclasses import replace

    from recipes.base.spec import CoreML
    from recipes.base.tensor import Input

    clip, _, frames, *_ = pann.outputs
    return replace(
        pann,
        name="tiny",
        classes=5,
        input=Input("images", ("batch", 2, 3, "time"), "Anything", least=4, default=8, most=64),
        outputs=(
            replace(clip, name="logits", kind="logit", axes=("batch", 5)),
            replace(frames, name="map", kind="feature", axes=("batch", 4, 3, "time")),
        ),
        scores="logits",
        coreml=CoreML(float32_through=None),
    )


@pytest.fixture(scope="session")
def tiny_model() -> Any:
    """(batch, 2, 3, time) to logits (batch, 5) and a map (batch, 4, 3, time), as a faithful model gives them."""
    import torch
    from torch import Tensor, nn

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 4, 3, padding=1)
            self.fc = nn.Linear(4, 5)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            seen = torch.relu(self.conv(x))
            # A shape that the exporter keeps as operators for as long as the axes are free.
            flat = seen.reshape(x.shape[0], 4, -1)
            return {"logits": self.fc(flat.mean(dim=2)), "map": seen}

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Tiny().eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_exported(made_once: Callable[..., Path], tiny: Any, tiny_model: Any) -> Any:
    """The tiny graph in opset 13, with free axes and before anything is simplified; copy what you change."""
    import onnx

    def make(folder: Path) -> None:
        from exporters.lowering import lower
        from exporters.onnx.export import export

        onnx.save(export(lower(tiny_model, tiny), tiny, 13), str(folder / "tiny.onnx"))

    return onnx.load(str(made_once("tiny", make) / "tiny.onnx"))


@pytest.fixture(scope="session")
def npm_package() -> Path:
    """The package of ONNX Runtime Web, as a user has it: from the cache, or fetched."""
    from exporters.web.runtime import package
    from recipes.base.errors import UserError

    try:
        return package()
    except UserError:
        pytest.skip("needs ONNX Runtime Web, in the cache or from npm")


@pytest.fixture(scope="session")
def tiny_page(made_once: Callable[..., Path], npm_package: Path) -> Path:
    """A page of a model that is made by hand (tests/tiny_page.py); copy what you change."""
    from tests.tiny_page import write

    return made_once("tiny-page", lambda folder: write(folder, npm_package)) / "web"


@pytest.fixture(scope="session")
def browser_is_here() -> None:
    """Skips where there is no browser, or nothing to steer it with."""
    from validators.runners.runtime import needs_browser

    if reason := needs_browser():
        pytest.skip(f"needs a browser: {reason}")
