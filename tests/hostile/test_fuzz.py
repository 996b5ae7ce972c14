"""Files of every kind with bytes changed, lost and added: each is read, or refused in one clear line.

A few of each always; in `make test-all` as many as half a minute or more each has, at random, ten minutes together.
"""

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert import inspection, manifest
from convert.manifest import Artifact
from convert.targets import named
from convert.verify import File, check_in, file_of
from recipes.base import checkpoint, decoding, labels, limits, plain_yaml
from recipes.base.errors import UserError
from recipes.base.facts import from_strings
from recipes.base.shown import shown
from recipes.base.tensor import Input, Output, Tolerance
from recipes.base.worker import Worker, WorkerError
from tests.hostile.models import model_of_sound
from tests.hostile.pickles import legacy, state, tensor
from validators import dumps, reference
from validators.coreml.contents import check_contents
from validators.coreml.errors import PackageError
from validators.results import Check
from validators.values import Case

pytestmark = pytest.mark.usefixtures("bounded_memory")

# One edit: where, in parts of the whole or in bytes from one end, how many bytes go, and what comes in their place.
_PLACE = st.one_of(st.floats(0, 1), st.integers(0, 4000), st.integers(-4000, -1))
EDITS = st.lists(st.tuples(_PLACE, st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=4)

# Seconds of each kind; without any, a few examples, and the same ones every time.
ALWAYS, AT_LENGTH = 0.0, 45.0
_FEW, _ROUND = 5, 100


@dataclass
class Fuzz:
    """`fuzz(strategy, holds)`: calls `holds` on values, for as long as this run has, and notes on how many."""

    seconds: float
    noted: Callable[[str, object], None]
    tried: int = 0

    def __call__(self, values: st.SearchStrategy[Any], holds: Callable[[Any], object]) -> None:
        end = time.monotonic() + self.seconds
        always = not self.seconds

        @settings(
            max_examples=_FEW if always else _ROUND,
            deadline=20_000,
            derandomize=always,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(values)
        def one_round(value: Any) -> None:
            self.tried += 1
            holds(value)

        one_round()
        while time.monotonic() < end:
            one_round()
        self.noted("tried", self.tried)


@pytest.fixture(params=[ALWAYS, pytest.param(AT_LENGTH, marks=pytest.mark.slow)], ids=["always", "at-length"])
def fuzz(request: pytest.FixtureRequest, noted: Callable[[str, object], None]) -> Fuzz:
    return Fuzz(request.param, noted)


def edited(content: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for where, lost, added in edits:
        place = round(where * len(content)) if isinstance(where, float) else where
        place = max(0, min(len(content), place if place >= 0 else len(content) + place))
        content = content[:place] + added + content[place + lost :]
    return content


def read_or_refused(read: Callable[[], object]) -> None:
    """Any other exception escapes, and fails the test; what is said fits one line."""
    said = ""
    try:
        read()
    except (UserError, PackageError) as error:
        said = shown(str(error))
    assert said.isprintable()


# Checkpoints


@cache
def saved() -> bytes:
    stream = io.BytesIO()
    tree = {
        "model": {"a.weight": torch.ones(3, 2), "a.steps": torch.tensor(1)},
        "scores": np.float64(2),
        "lr": [1, 0.5],
    }
    torch.save(tree, stream)
    return stream.getvalue()


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.state_dict(checkpoint.read(path, checkpoint.NUMPY), path)


def test_checkpoints(tmp_path: Path, fuzz: Fuzz) -> None:
    path = tmp_path / "it.pt"

    def holds(edits: Any) -> None:
        path.write_bytes(edited(saved(), edits))
        read_or_refused(lambda: weights(path))

    fuzz(EDITS, holds)


def test_a_real_checkpoint(tmp_path: Path, fuzz: Fuzz, real_weights: Callable[[str], Path]) -> None:
    """It is refused, or its numbers are those that were published."""
    published, path = real_weights("mn04_as"), tmp_path / "it.pt"
    content, own = published.read_bytes(), weights(published)

    def holds(edits: Any) -> None:
        path.write_bytes(edited(content, edits))
        with suppress(UserError):
            found = weights(path)
            assert found.keys() == own.keys()
            assert all(torch.equal(found[name], value) for name, value in own.items())

    fuzz(EDITS, holds)


def test_old_checkpoints(tmp_path: Path, fuzz: Fuzz) -> None:
    path = tmp_path / "it.pt"
    whole = legacy(path, state(w=tensor(), v=tensor((2,), (2,)))).read_bytes()

    def holds(edits: Any) -> None:
        path.write_bytes(edited(whole, edits))
        read_or_refused(lambda: weights(path))

    fuzz(EDITS, holds)


def test_pickles_of_random_opcodes(tmp_path: Path, fuzz: Fuzz) -> None:
    def holds(opcodes: bytes) -> None:
        path = legacy(tmp_path / "it.pt", b"\x80\x02" + opcodes + b".")
        read_or_refused(lambda: weights(path))

    fuzz(st.binary(max_size=60), holds)


# Models and packages

_INPUT = Input("x", ("batch", "samples"), "what is fed", least=1, default=8, most=64)
_NEAR = dict.fromkeys(("fp32", "mixed", "fp16"), Tolerance(1e-4, 0, "small sums of a few numbers"))


def in_one_piece(checks: list[Check]) -> None:
    """Each check says how it ended and, where it failed, why, in a line."""
    assert checks
    for check in checks:
        assert check.status == "passed" or shown(check.message).isprintable()
        assert check.status != "failed" or check.message
        assert "Traceback" not in check.message


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(limits.MEMORY, "1")
    with limits.time_limit(2):
        yield


@pytest.mark.usefixtures("limited")
def test_models(tmp_path: Path, fuzz: Fuzz) -> None:
    target, path, content = named("onnx"), tmp_path / "it.onnx", model_of_sound().SerializeToString()
    artifact = Artifact("onnx", "x", "fp32", None, {"opset": 17})
    output = Output("y", ("batch", 8), "logit", "what comes", _NEAR)
    file = File(tmp_path, "it.onnx", artifact, target, _INPUT, (output,))
    case = Case("a row", {"x": np.ones((1, 8), np.float32)}, {"y": np.ones((1, 8), np.float32)})

    with Worker(target.needs()) as worker:

        def holds(edits: Any) -> None:
            path.write_bytes(edited(content, edits))
            in_one_piece(check_in(worker, file, [case]))

        fuzz(EDITS, holds)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("part", ["Manifest.json", "model.mlmodel", "weight.bin"])
def test_packages(tmp_path: Path, fuzz: Fuzz, made_pann: Any, part: str) -> None:
    """The real one, of which what describes it is changed."""
    package = copytree(made_pann.mlpackage, tmp_path / "model.mlpackage")
    (path,) = package.rglob(part)
    content, name = path.read_bytes(), "model.mlpackage"
    file = file_of(tmp_path, manifest.read(made_pann.path), name)

    with Worker((*file.target.needs(), inspection.__name__)) as worker:

        def holds(edits: Any) -> None:
            path.write_bytes(edited(content, edits))
            in_one_piece(check_in(worker, file, []))
            with suppress(UserError, WorkerError):
                worker.call(inspection.inspect, package, False, returns=inspection.Inspection, raises=(UserError,))

        fuzz(EDITS, holds)


# Sounds and arrays


@cache
def sound(form: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.random.RandomState(0).uniform(-0.5, 0.5, (3000, 2)), 44100, format=form)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "AIFF", "MP3", "W64", "CAF"])
def test_sounds(tmp_path: Path, form: str, fuzz: Fuzz) -> None:
    path = tmp_path / f"it.{form.lower()}"
    fuzz.seconds /= 7

    def holds(edits: Any) -> None:
        path.write_bytes(edited(sound(form), edits))
        read_or_refused(lambda: decoding.read(path, 32000, 60 * 32000))

    fuzz(EDITS, holds)


def test_arrays(tmp_path: Path, fuzz: Fuzz) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.arange(50, dtype=np.float32), b=np.zeros((2, 3)))
    path = tmp_path / "it.npz"

    def holds(edits: Any) -> None:
        path.write_bytes(edited(stream.getvalue(), edits))
        read_or_refused(lambda: dumps.read(path))

    fuzz(EDITS, holds)


# Papers


@pytest.mark.parametrize("name", ["manifest.json", "reference.json", "reference/rich.wav"])
def test_papers_of_a_folder(folder: Path, name: str, fuzz: Fuzz) -> None:
    """Manifest, reference, and a sound of it."""
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    fuzz.seconds /= 3

    def holds(edits: Any) -> None:
        (folder / name).write_bytes(edited(content, edits))
        read_or_refused(lambda: manifest.read(folder))
        read_or_refused(lambda: reference.read(folder))

    fuzz(EDITS, holds)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_labels_and_lists_of_packages(tmp_path: Path, fuzz: Fuzz) -> None:
    package = tmp_path / "it.mlpackage"
    package.mkdir()

    def holds(value: object) -> None:
        text = json.dumps(value)
        (tmp_path / "labels.json").write_text(text)
        read_or_refused(lambda: labels.read(tmp_path / "labels.json", 3))
        for listed in (text, f'{{"itemInfoEntries": {text}}}', f'{{"itemInfoEntries": {{"a": {{"path": {text}}}}}}}'):
            (package / "Manifest.json").write_text(listed)
            read_or_refused(lambda: check_contents(package))
        names = ("labels", "sample_rate", "least_size", "scores", "scores_kind", "weights", "peak")
        read_or_refused(lambda: from_strings(dict.fromkeys(names, text), "it"))

    fuzz(JSON, holds)


def test_settings(fuzz: Fuzz) -> None:
    fuzz.seconds /= 3
    # Random text alone hardly ever has a tag, or a number.
    tokens = (
        "a",
        ": ",
        "? ",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'",
        '"',
        "|",
        ">",
        "&a ",
        "*a",
        "---\n",
        "~",
    )
    tags = (f"!!{kind} " for kind in ("bool", "float", "int", "map", "null", "seq", "str", "set", "binary"))
    numbers = ("_", "0x", "0b", "1", ".", "e", "+", ":", ".inf", "''", "yes", "2001-99-99", "<<", "%YAML 9.9\n")
    yaml_ = st.lists(st.sampled_from([*tokens, *tags, *numbers]), max_size=30).map("".join)
    fuzz(st.text(max_size=200) | yaml_, lambda text: read_or_refused(lambda: plain_yaml.read(text, "it.yml")))


def test_any_text_is_shown_in_one_line(fuzz: Fuzz) -> None:
    fuzz.seconds /= 3

    def holds(text: str) -> None:
        said = shown(text)
        assert not set(said) & set("\n\r\x1b\x07\x9b\u202e\u2066\u2028")
        said.encode()
        assert len(said) <= 10 * 4100

    fuzz(st.text(st.characters(), max_size=2000), holds)


def test_what_is_wrong_is_found() -> None:
    """A reader that fails on one byte of many is, by edits alone."""

    def fragile(edits: Any) -> None:
        if 0xFF in edited(bytes(1000), edits)[:500]:
            raise KeyError("what nobody foresaw")

    with pytest.raises(KeyError):
        Fuzz(5, lambda *_: None)(EDITS, fragile)
