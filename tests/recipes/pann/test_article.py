"""Whether our front end and model give what the 2020 article on PANN in Core ML dumped of one recording."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recipes.base import audio
from recipes.base.config import find
from recipes.base.recipe import faithful_model, load
from recipes.base.tensor import Tolerance
from validators.compare import Sampled, compare
from validators.runners.pytorch import answers

PANN = find("pann")


@pytest.fixture(scope="module")
def dump(shared: Path) -> dict[str, np.ndarray]:
    """`framewise` ends with the last whole segment of 32 frames, where the published model goes on to the last."""
    arrays = json.loads((shared / "golden" / "PANN_out.ring_hello.json").read_bytes())
    names = ("segment_clipwise", "framewise", "melspec")
    return {name: np.array(array, np.float32)[None] for name, array in zip(names, arrays, strict=True)}


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
    ours = answers(model, {"waveform": waveform})
    ours["framewise"] = ours["framewise"][:, :32]
    for name, array in dump.items():
        atol = 1e-3 if name == "melspec" else 1e-4
        comparison = compare(Sampled.of(array), ours[name], Tolerance(atol, 0.0, "dB or probability"), "feature")
        assert comparison.passed, (name, comparison)
