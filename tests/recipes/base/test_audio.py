from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from recipes.base import audio
from recipes.base.errors import UserError

RATE = 32000


def tone(seconds: float, rate: int, hertz: float = 440.0) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        audio.read(path, RATE)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "subtype", "bits"),
    [
        ("wav", "PCM_U8", 8),
        ("wav", "PCM_16", 16),
        ("wav", "PCM_24", 24),
        ("wav", "PCM_32", 32),
        ("wav", "FLOAT", 24),
        ("wav", "DOUBLE", 53),
        ("flac", "PCM_16", 16),
        ("flac", "PCM_24", 24),
    ],
)
def test_every_sample_format(suffix: str, subtype: str, bits: int, tmp_path: Path) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(0.1, RATE), RATE, subtype=subtype)
    read = audio.read(path, RATE)
    assert read.dtype == np.float32
    assert read.shape == (3200,)
    np.testing.assert_allclose(read, tone(0.1, RATE), rtol=0, atol=2.0 ** (1 - bits) + 2.0**-25)


def test_16_bit_full_scale_is_1(tmp_path: Path) -> None:
    path = tmp_path / "steps.wav"
    soundfile.write(path, np.array([-32768, -1, 0, 1, 32767], np.int16), RATE, subtype="PCM_16")
    assert audio.read(path, RATE).tolist() == [-1.0, -1 / 32768, 0.0, 1 / 32768, 32767 / 32768]


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    left, right, rear = np.random.RandomState(0).uniform(-1, 1, (3, 4000))
    soundfile.write(path, np.stack([left, right, rear], axis=1), RATE, subtype="DOUBLE")
    np.testing.assert_allclose(audio.read(path, RATE), (left + right + rear) / 3, rtol=0, atol=1e-7)
    soundfile.write(path, np.stack([left, -left], axis=1), RATE, subtype="DOUBLE")
    assert not audio.read(path, RATE).any()


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
def test_resampling_keeps_a_tone(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(1, rate), rate, subtype="DOUBLE")
    read = audio.read(path, RATE)
    assert read.shape == (RATE,)
    # Away from the ends, whose neighbours outside the file are silence.
    np.testing.assert_allclose(read[2000:-2000], tone(1, RATE)[2000:-2000], rtol=0, atol=1e-4)


def test_resampling_lets_nothing_alias(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(1, 96000, 20000), 96000, subtype="DOUBLE")
    assert np.abs(audio.read(path, RATE)[2000:-2000]).max() < 1e-4


def test_real_recordings(recordings: Path, golden: Callable) -> None:
    """The authors' answers were made from the samples of speech.wav, so that reading must not change one bit."""
    metro = audio.read(recordings / "metro_station_paris.wav", RATE)
    assert metro.shape == (320000,)
    assert 0.001 < np.sqrt(np.mean(metro**2)) < 0.5
    speech = audio.read(recordings / "speech.wav", RATE)
    np.testing.assert_array_equal(speech, soundfile.read(recordings / "speech.wav", dtype="float32")[0])
    (second,) = golden("pann_mobilenetv1")["speech_1s"]["waveform"]
    starts = np.flatnonzero(speech[: -len(second)] == second[0])
    assert any(np.array_equal(speech[start : start + len(second)], second) for start in starts)


def test_what_is_no_sound(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "nothing.wav")
    assert "is a folder" in refusal(tmp_path)
    path = tmp_path / "some.wav"
    for content in (b"", b"hello", b"RIFF\x00\x00\x00\x00WAVE", b"fLaC" + b"\xff" * 100):
        path.write_bytes(content)
        assert "is no sound file that can be read; convert it" in refusal(path)
    # soundfile asks for the sample rate of this suffix, if it is shown it.
    (tmp_path / "some.raw").write_bytes(b"\x00" * 100)
    assert "is no sound file that can be read; convert it" in refusal(tmp_path / "some.raw")


def test_no_samples(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0), RATE)
    assert "holds no samples" in refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(value: float, tmp_path: Path) -> None:
    path = tmp_path / "broken.wav"
    soundfile.write(path, np.array([0.0, value, 0.0]), RATE, subtype="FLOAT")
    assert "NaN or infinite" in refusal(path)


def test_more_samples_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a FLAC header that promises 2 ** 36 samples makes it, on systems that do not lend memory on trust."""
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(0.1, RATE), RATE)

    def read(*_arguments: object, **_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    assert "more samples than fit into memory; cut it into pieces" in refusal(path)


def check(waveform: object, **options: object) -> NDArray[np.float32]:
    return audio.check(waveform, **{"sample_rate": RATE, "least_samples": 100, **options})  # type: ignore[arg-type]


def test_takes_one_waveform_or_a_batch() -> None:
    one = np.ones(100, np.float32)
    assert check(one).shape == (1, 100)
    assert check(np.stack([one, one])).shape == (2, 100)
    assert check(one, most_samples=100).shape == (1, 100)


@pytest.mark.parametrize(
    ("waveform", "expected"),
    [
        (np.float32(1), "has shape ()"),
        (np.ones((1, 1, 100), np.float32), "has shape (1, 1, 100)"),
        (np.ones(100), "is float64; it must be float32"),
        (np.ones(100, np.int16), "is int16; it must be float32 with full scale at 1 (divide 16-bit"),
        (np.ones((0, 100), np.float32), "the batch is empty"),
        (np.ones(99, np.float32), "is too short: 99 samples (0.003094 s at 32000 Hz); the model needs at least 100"),
        (np.ones(0, np.float32), "is too short: 0 samples"),
        (np.ones(201, np.float32), "is too long: 201 samples (0.006281 s at 32000 Hz); the model takes at most 200"),
        (np.array([0.0] * 100 + [np.nan], np.float32), "NaN or infinite"),
        (np.array([[0.0] * 100, [np.inf] * 100], np.float32), "NaN or infinite"),
    ],
)
def test_refuses_what_the_model_cannot_take(waveform: object, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        check(waveform, most_samples=200, origin="some.npz")
    assert str(caught.value).startswith("some.npz: ")
    assert expected in str(caught.value)


def test_no_upper_bound_unless_asked() -> None:
    assert check(np.ones(10_000_000, np.float32)).shape == (1, 10_000_000)
