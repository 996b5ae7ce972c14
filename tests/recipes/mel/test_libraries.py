"""The numbers of a preset are those of the library that it is from."""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from recipes.base import config, sound
from recipes.mel.model import Convolved, Transformed
from recipes.mel.spec import Variant
from tests.recipes.mel import libraries
from tests.recipes.mel.libraries import PRESETS, by_kaldi, by_librosa, difference, worst

# Relative, or in the output's own units. Kaldi's own float32 is 9e-4 from float64 there, on the tone; PANN's and
# EfficientAT's kernels were rounded before training, and what ships has the sines that they were rounded from.
ALLOWED = {"mel_kaldi": 2e-3, "mel_pann": 2e-3}


def test_every_preset_is_held_to_a_library() -> None:
    assert set(PRESETS) == {variant.name for variant in config.variants() if variant.family == "mel"}


@pytest.mark.parametrize(("preset", "library"), [(name, library) for name in PRESETS for library in PRESETS[name]])
@pytest.mark.filterwarnings("ignore:Empty filters detected")
def test_a_preset_is_the_library_s(preset: str, library: str, request: pytest.FixtureRequest) -> None:
    if "recordings" in library:
        request.getfixturevalue("shared")
    variant = libraries.variant(preset)
    apart, name = worst(variant, PRESETS[preset][library](variant))
    assert apart < ALLOWED.get(preset, 1e-4), name


def test_another_library_s_numbers_are_found_out(numbered: Callable[..., Variant]) -> None:
    """Each of these is one default for another, as happens in ports by hand."""
    answers = list(PRESETS["mel_librosa"]["librosa"](numbered()))
    for wrong in ({"mel_scale": "htk"}, {"norm": "none"}, {"periodic": False}, {"centre": "reflect"}, {"fmin": 5.0}):
        assert worst(numbered(**wrong), iter(answers))[0] > 1e-3, wrong


def settings(count: int) -> Iterator[dict[str, object]]:
    """Drawn from the numbers that librosa knows too."""
    random = np.random.RandomState(5)
    while count:
        rate = int(random.choice([8000, 16000, 22050, 32000, 44100, 48000]))
        n_fft = int(random.randint(32, 1200))
        win_length = int(random.randint(16, n_fft + 1)) if random.rand() < 0.5 else None
        fmin = float(random.choice([0, 20, 60, 300]))
        drawn = {
            "sample_rate": rate,
            "n_fft": n_fft,
            "win_length": win_length,
            "hop_length": int(random.randint(8, n_fft)),
            "window": str(random.choice(["hann", "hamming", "blackman", "rectangular"])),
            "periodic": bool(random.rand() < 0.7),
            "centre": str(random.choice(["constant", "reflect", "replicate", "none"])),
            "power": int(random.choice([1, 2])),
            "n_mels": int(random.randint(1, 140)),
            "fmin": fmin,
            "fmax": float(random.randint(int(fmin) + 500, rate // 2 + 1)) if random.rand() < 0.7 else None,
            "mel_scale": str(random.choice(["htk", "slaney"])),
            "norm": str(random.choice(["slaney", "none"])),
        }
        if random.rand() < 0.5:
            amin = float(10.0 ** random.uniform(-10, -3))
            drawn |= {"log": "db", "amin": amin, "ref": "max" if random.rand() < 0.5 else float(random.uniform(0.1, 2))}
            drawn |= {"top_db": float(random.uniform(20, 100))} if random.rand() < 0.5 else {}
        yield drawn
        count -= 1


def _is_librosa_s(numbered: Callable[..., Variant], count: int) -> None:
    for drawn in settings(count):
        variant = numbered(**drawn)
        waveform = np.stack([sound.rich(4001, variant.sample_rate, seed) for seed in (31, 32)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = by_librosa(variant, waveform)
        for module in (Convolved(variant), Transformed(variant)):
            with torch.inference_mode():
                found = module(torch.from_numpy(waveform)).numpy()
            if variant.front_end.log == "db":
                # Of the decibels, where a quiet band beside a loud one has few digits.
                np.testing.assert_allclose(found, expected, rtol=1e-4, atol=5e-3, err_msg=str(drawn))
            else:
                assert difference(variant, found, expected) < 1e-4, drawn


def test_any_numbers_are_librosa_s(numbered: Callable[..., Variant]) -> None:
    _is_librosa_s(numbered, 60)


@pytest.mark.slow
def test_hundreds_of_numbers_are_librosa_s(numbered: Callable[..., Variant]) -> None:
    _is_librosa_s(numbered, 400)


@pytest.mark.parametrize(
    "numbers",
    [
        {"window": "hamming"},
        {"window": "rectangular", "pre_emphasis": 0.5},
        {"remove_dc": False},
        {"pre_emphasis": 0, "pre_emphasis_start": "zero"},
        {"n_mels": 23, "fmin": 0, "fmax": 7000, "power": 1},
        {"sample_rate": 8000, "n_fft": 256, "win_length": 200, "hop_length": 80, "input_scale": 32768},
    ],
    ids=str,
)
def test_other_numbers_are_kaldi_s_too(numbered: Callable[..., Variant], numbers: dict[str, object]) -> None:
    variant = numbered("mel_kaldi", **numbers)
    # With a mean, which the frames lose or keep; a greater one costs Kaldi's own float32 too much.
    clip = sound.rich(5000, variant.sample_rate, seed=33) * np.float32(0.5) + np.float32(0.0005)
    expected = by_kaldi(variant, clip)
    for module in (Convolved(variant), Transformed(variant)):
        with torch.inference_mode():
            found = module(torch.from_numpy(clip[None])).numpy()[0]
        np.testing.assert_allclose(found, expected, atol=2e-3, rtol=0)


def test_the_table_in_the_documentation_names_each() -> None:
    text = libraries._DOCUMENT.read_text(encoding="utf-8")
    table = text.split(libraries._MARKS[0])[1].split(libraries._MARKS[1])[0]
    for preset, answers in PRESETS.items():
        for library in answers:
            assert f"| `{preset}` | {library} |" in table
