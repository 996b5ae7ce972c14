"""Files of every kind with bytes changed, lost and added: each is read, or refused in one clear line."""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert import manifest
from recipes.base import audio, checkpoint, labels, plain_yaml
from recipes.base.errors import UserError
from recipes.base.facts import from_strings
from recipes.base.shown import shown
from tests.hostile.pickles import legacy, state, tensor
from validators import dumps
from validators.coreml.contents import check_contents
from validators.coreml.errors import PackageError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bounded")]

# One edit: where, in parts of the whole, how many bytes go, and what comes in their place.
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=4)
many = settings(
    max_examples=1500,
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def edited(content: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for part, lost, added in edits:
        place = round(part * len(content))
        content = content[:place] + added + content[place + lost :]
    return content


def read_or_refused(read: Callable[[], object]) -> None:
    """Any other exception escapes, and fails the test."""
    with suppress(UserError, PackageError):
        read()


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


@many
@given(EDITS)
def test_checkpoints(tmp_path: Path, edits: Any) -> None:
    path = tmp_path / "it.pt"
    path.write_bytes(edited(saved(), edits))
    read_or_refused(lambda: weights(path))


@many
@given(EDITS)
def test_old_checkpoints(tmp_path: Path, edits: Any) -> None:
    path = tmp_path / "it.pt"
    whole = legacy(path, state(w=tensor(), v=tensor((2,), (2,)))).read_bytes()
    path.write_bytes(edited(whole, edits))
    read_or_refused(lambda: weights(path))


@many
@given(st.binary(max_size=60))
def test_pickles_of_random_opcodes(tmp_path: Path, opcodes: bytes) -> None:
    path = legacy(tmp_path / "it.pt", b"\x80\x02" + opcodes + b".")
    read_or_refused(lambda: weights(path))


@cache
def sound(form: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.random.RandomState(0).uniform(-0.5, 0.5, (3000, 2)), 44100, format=form)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "AIFF", "MP3", "W64", "CAF"])
@settings(many, max_examples=300)
@given(EDITS)
def test_sounds(tmp_path: Path, form: str, edits: Any) -> None:
    path = tmp_path / f"it.{form.lower()}"
    path.write_bytes(edited(sound(form), edits))
    read_or_refused(lambda: audio.read(path, 32000, 60 * 32000))


@cache
def arrays() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.arange(50, dtype=np.float32), b=np.zeros((2, 3)))
    return stream.getvalue()


@many
@given(EDITS)
def test_arrays(tmp_path: Path, edits: Any) -> None:
    path = tmp_path / "it.npz"
    path.write_bytes(edited(arrays(), edits))
    read_or_refused(lambda: dumps.read(path))


@settings(many, max_examples=400)
@given(EDITS)
def test_manifests(tmp_path: Path, made_pann: Any, edits: Any) -> None:
    content = (made_pann.path / "manifest.json").read_bytes()
    (tmp_path / "manifest.json").write_bytes(edited(content, edits))
    read_or_refused(lambda: manifest.read(tmp_path))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@many
@given(JSON)
def test_labels_and_lists_of_packages(tmp_path: Path, value: object) -> None:
    text = json.dumps(value)
    (tmp_path / "labels.json").write_text(text)
    read_or_refused(lambda: labels.read(tmp_path / "labels.json", 3))
    package = tmp_path / "it.mlpackage"
    package.mkdir(exist_ok=True)
    for listed in (text, f'{{"itemInfoEntries": {text}}}', f'{{"itemInfoEntries": {{"a": {{"path": {text}}}}}}}'):
        (package / "Manifest.json").write_text(listed)
        read_or_refused(lambda: check_contents(package))
    values = dict.fromkeys(("labels", "sample_rate", "least_size", "scores", "scores_kind", "weights", "peak"), text)
    read_or_refused(lambda: from_strings(values, "it"))


@many
@given(st.text(max_size=200))
def test_settings(text: str) -> None:
    read_or_refused(lambda: plain_yaml.read(text, "it.yml"))


@many
@given(st.text(st.characters(), max_size=2000))
def test_any_text_is_shown_in_one_line(text: str) -> None:
    said = shown(text)
    assert not set(said) & set("\n\r\x1b\x07\x9b\u202e\u2066\u2028")
    said.encode()
    assert len(said) <= 10 * 4100
