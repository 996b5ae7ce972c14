"""Generated sounds: the same bytes everywhere, in range, and as rich as they claim."""

from collections.abc import Callable
from hashlib import sha256

import numpy as np
import pytest

from recipes.base.sound import Sound, impulse, noise, rich, square, tone


def _levels(sound: Sound) -> np.ndarray:
    """Power in dB of stretches of 1024 samples: (stretches, bins)."""
    stretches = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::320] * np.hanning(1024)
    return 10 * np.log10(np.abs(np.fft.rfft(stretches)) ** 2 + 1e-20)


@pytest.mark.parametrize(
    ("make", "digest"),
    [
        (lambda: rich(20000, 32000, 7), "ff07dbd20f098bb9b998dc7d10bb3e9db9145ba1d90ced59a4e6614cd2cf809e"),
        (lambda: square(20000, 32000), "8105f3cf171b4a7cb064d86463cd488c35b38f1f0fce4382907454109a02541c"),
        (lambda: tone(20000, 32000), "eeded767a16739f230e3631b2d23d69a155fc4ee5c0c66c09b7c0e08d61fafa0"),
        (lambda: noise(20000, 1e-5, 7), "17ab9eae96355a9c6432c8163ef8a7476794798d3b7873b8f2171d913b98c723"),
    ],
    ids=["rich", "square", "tone", "noise"],
)
def test_the_bytes_are_the_same_on_every_machine(make: Callable[[], Sound], digest: str) -> None:
    assert sha256(make().astype("<f4").tobytes()).hexdigest() == digest


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050, 32000, 48000])
@pytest.mark.parametrize("samples", [1, 2, 63, 9920, 32001])
def test_sounds_are_float32_of_that_length_in_range(samples: int, sample_rate: int) -> None:
    every = (rich(samples, sample_rate, 3), square(samples, sample_rate), impulse(samples), noise(samples, 0.5))
    every += (tone(samples, sample_rate),)
    for sound in every:
        assert sound.shape == (samples,)
        assert sound.dtype == np.float32
        assert np.abs(sound).max() <= 1
        assert np.abs(sound).max() > 0


@pytest.mark.parametrize("seed", range(5))
def test_rich_fills_the_spectrum_over_60_db(seed: int) -> None:
    levels = _levels(rich(64000, 32000, seed))
    mean = 10 * np.log10(np.mean(10 ** (levels / 10), axis=0))
    low, high = round(50 / 31.25), round(15900 / 31.25)
    assert mean[low:high].min() > mean.max() - 60
    loudness = 10 * np.log10(np.sum(10 ** (levels / 10), axis=1))
    assert np.ptp(loudness) > 50


def test_seeds_differ_strongly() -> None:
    sounds = [rich(32000, 32000, seed) for seed in range(8)]
    likeness = np.asarray(np.corrcoef(np.stack([_levels(sound).mean(axis=0) for sound in sounds])))
    correlation = np.asarray(np.corrcoef(np.stack(sounds)))
    assert np.abs(correlation[np.triu_indices(8, 1)]).max() < 0.3
    assert likeness[np.triu_indices(8, 1)].min() < 0.9


def test_the_square_is_full_scale_and_balanced() -> None:
    wave = square(32000, 32000)
    assert set(wave.tolist()) == {-1.0, 1.0}
    assert np.count_nonzero(np.diff(wave)) == 127
    assert abs(wave.mean()) < 0.01


def test_the_tone_is_full_scale_and_leaves_no_band_empty() -> None:
    """A power of 65504 is the most that float16 holds."""
    wave = tone(32000, 32000)
    power = 10 ** (_levels(wave - 0.97 * np.roll(wave, 1)) / 10)
    assert power.max(axis=1).min() > 65504
    assert abs(power.mean(axis=0).argmax() / 1024 - 0.4) < 1 / 1024
    assert np.median(_levels(wave), axis=0).min() > -20


def test_noise_stays_under_its_peak_and_comes_near() -> None:
    assert 0.999e-5 < np.abs(noise(12800, 1e-5)).max() <= np.float32(1e-5)
    assert not np.array_equal(noise(100, 1.0, 1), noise(100, 1.0, 2))


def test_the_impulse_is_alone() -> None:
    assert np.flatnonzero(impulse(1001)).tolist() == [500]
    assert impulse(1001)[500] == 1
