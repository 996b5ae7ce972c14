"""The 2020 article's dump, and whether our front end and model give its answers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recipes.base import audio
from recipes.base.config import find
from recipes.base.errors import UserError
from recipes.base.recipe import faithful_model, load
from recipes.base.tensor import Tolerance
from validators.compare import Sampled, compare
from validators.reference import article
from validators.runners.pytorch import answers

PANN = find("pann")


@pytest.fixture(scope="module")
def dump(shared: Path) -> dict[str, np.ndarray]:
    return article.read(shared / "golden" / "PANN_out.ring_hello.json")


@pytest.fixture(scope="module")
def waveform(recordings: Path) -> np.ndarray:
    return audio.read(recordings / "ring_hello.wav", PANN.sample_rate)[None]


def test_our_front_end_meets_its_melspec(
    dump: dict[str, np.ndarray], waveform: np.ndarray, pann_checkpoint: Path
) -> None:
    """The DFT and mel matrices in the stand-in are the published ones."""
    shapes = {name: array.shape for name, array in dump.items()}
    assert shapes == {"segment_clipwise": (1, 527), "framewise": (1, 32, 527), "melspec": (1, 41, 64)}
    np.testing.assert_array_equal(dump["framewise"].max(axis=1), dump["segment_clipwise"])
    model = faithful_model(PANN, load("pann").read_checkpoint(pann_checkpoint, PANN).state)
    within = Tolerance(atol=1e-4, rtol=0.0, reason="0.0001 dB; float32 was seen to be 0.00007 dB off")
    melspec = answers(model, {"waveform": waveform})["melspec"]
    comparison = compare(Sampled.of(dump["melspec"]), melspec, within, "feature")
    assert comparison.passed, comparison


def test_the_published_weights_give_its_answers(
    dump: dict[str, np.ndarray], waveform: np.ndarray, real_weights: Callable[[str], Path]
) -> None:
    model = faithful_model(PANN, load("pann").read_checkpoint(real_weights("mobilenetv1"), PANN).state)
    expected, actual = article.common_rows(dump, answers(model, {"waveform": waveform}))
    for name, array in expected.items():
        atol = 1e-3 if name == "melspec" else 1e-4
        comparison = compare(Sampled.of(array), actual[name], Tolerance(atol, 0.0, "dB or probability"), "feature")
        assert comparison.passed, (name, comparison)


def test_only_the_rows_that_both_have_are_kept() -> None:
    ours = {name: np.zeros((1, 41, 3), np.float32) for name in ("framewise", "melspec", "embedding")}
    dump = {"framewise": np.ones((1, 32, 3), np.float32), "melspec": np.ones((1, 41, 3), np.float32)}
    expected, actual = article.common_rows(dump, ours)
    assert {name: array.shape for name, array in actual.items()} == {"framewise": (1, 32, 3), "melspec": (1, 41, 3)}
    assert {name: array.shape for name, array in expected.items()} == {"framewise": (1, 32, 3), "melspec": (1, 41, 3)}
    assert expected["framewise"].all()
    assert not actual["framewise"].any()


def _layout(classes: int = 3, rows: int = 32, frames: int = 41) -> list[list[object]]:
    return [[0.5] * classes, [[0.5] * 3 for _ in range(rows)], [[0.5] * 4 for _ in range(frames)]]


def test_a_longer_recording_has_more_segments(tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    path.write_text(json.dumps(_layout(rows=64, frames=95)))
    assert article.read(path)["framewise"].shape == (1, 64, 3)


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[1, 2, 3]",
        "[[1], [[1]]]",
        "not JSON",
        "",
        json.dumps([[], [], []]),
        json.dumps(_layout(rows=41)),
        json.dumps(_layout(classes=4)),
        json.dumps(_layout(frames=31)),
        json.dumps([*_layout(), [1.0]]),
        json.dumps(_layout()).replace("0.5", "NaN", 1),
        json.dumps(_layout()).replace("0.5", '"a"', 1),
        json.dumps(_layout()).replace("[0.5, 0.5, 0.5, 0.5]", "[0.5, 0.5, 0.5]", 1),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "dump.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"dump.json: is not \[segment_clipwise: classes, framewise: 32"):
        article.read(path)


def test_a_missing_dump_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        article.read(tmp_path / "dump.json")
