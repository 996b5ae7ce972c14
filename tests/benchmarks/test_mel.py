"""What is timed beside the front ends computes the same as they do, and each has its bars."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import mel
from benchmarks.bars import BARS, DURATION, judge
from benchmarks.subject import Settings
from benchmarks.tables import LOWERED, Row
from recipes.base import config
from recipes.base.sound import rich
from recipes.mel.model import Transformed

PRESETS = [variant.name for variant in config.variants() if variant.family == "mel"]


@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize("name", PRESETS)
def test_other_libraries_compute_the_same_spectrogram(name: str) -> None:
    subject = mel.subjects()[name]
    variant = subject.variant
    sound = rich(12345, variant.sample_rate, seed=3)[None]
    with torch.inference_mode():
        expected = Transformed(variant)(torch.from_numpy(sound)).numpy()
        by_stft = mel.ByStft(variant)(torch.from_numpy(sound)).numpy()
    assert by_stft.shape == expected.shape
    if mel._same(mel.STFT_AND_MEL, variant):
        np.testing.assert_allclose(by_stft, expected, rtol=1e-3, atol=1e-4)
    by_librosa = mel.by_librosa(variant, sound)
    # Whisper leaves the last frame out, EfficientAT the first sample; their cost is the same.
    assert abs(by_librosa.shape[2] - expected.shape[2]) <= 1
    if mel._same(mel.LIBROSA, variant):
        np.testing.assert_allclose(by_librosa, expected, rtol=1e-3, atol=1e-4)


def test_kaldi_s_own_gives_the_frames_of_the_preset() -> None:
    variant = mel.subjects()["mel_kaldi"].variant
    sound = rich(8000, variant.sample_rate, seed=3)
    expected = Transformed(variant)(torch.from_numpy(sound[None])).numpy()
    np.testing.assert_allclose(mel.by_kaldi(variant, sound.tolist()), expected, atol=2e-3, rtol=0)


def test_a_frame_in_chunks_is_timed_and_held_to_its_duration() -> None:
    subject = mel.subjects()["mel_kaldi"]
    (table,) = mel.in_chunks(subject, Settings(rounds=1, threads=(1,)))
    assert table.clip.seconds == 0.01
    (judged,) = (one for one in judge([table]) if one.measured is not None)
    assert (judged.bar.subject, judged.bar.against) == ("mel_kaldi, a frame in chunks", DURATION)
    assert judged.measured == 0.01 / table.rows[LOWERED].spread.median
    assert mel.in_chunks(mel.subjects()["mel_whisper80"], Settings()) == []
    late = replace(table, rows={LOWERED: Row([0.0011])})
    assert [one.verdict for one in judge([late]) if one.measured is not None] == ["MISSED"]


def test_every_preset_has_to_be_ahead() -> None:
    held = {(bar.subject, bar.against) for bar in BARS}
    for name in PRESETS:
        assert {(name, mel.LIBROSA), (name, mel.STFT_AND_MEL)} <= held
