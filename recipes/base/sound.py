"""Generated sounds: they exercise a model, and calibrate synthetic weights, the same on every machine.

Only NumPy's frozen `RandomState`, whose uniform numbers are plain arithmetic on random bits, and elementary functions
are used, and what went through a sine is rounded to 24-bit PCM: the last bit of a sine differs between maths libraries.
"""

from functools import lru_cache

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

Sound = NDArray[np.float32]
_Signal = NDArray[np.float64]

# Low enough that its odd harmonics, 128 Hz apart, leave no mel band empty, so that all log-mel values mean something:
# where a band holds nothing but rounding noise, two correct front ends differ by many dB.
SQUARE_HERTZ = 64

# 12.8 kHz at 32 kHz.
_TONE_OF_RATE = 0.4


def rich(samples: int, sample_rate: int, seed: int = 0) -> Sound:
    """(samples,) in [-1, 1]: gliding harmonic voices, noise bursts at formants, clicks and background noise.

    Its level moves over about 60 dB, and in every stretch that is loud the spectrum is filled from 50 Hz to near
    Nyquist within 60 dB. Pitches, formants, rhythm and levels are drawn from the seed.
    """
    return _rich(samples, sample_rate, seed).copy()


# Reference, sweep and calibration ask for the same ones, and each has a hundred sines.
@lru_cache(maxsize=32)
def _rich(samples: int, sample_rate: int, seed: int) -> Sound:
    random = RandomState(seed)
    time = np.arange(samples) / sample_rate
    voices = sum(_voice(time, sample_rate, random) for _ in range(2))
    bursts = sum(_burst(time, sample_rate, random) for _ in range(6))
    hiss = random.uniform(-0.04, 0.04, samples)
    foreground = (voices + bursts + _clicks(samples, sample_rate, random) + hiss) * _envelope(time, random)
    background = random.uniform(-3e-4, 3e-4, samples)
    return _pcm24(0.9 * foreground / np.abs(foreground).max() + background)


def square(samples: int, sample_rate: int) -> Sound:
    """(samples,), a square wave between -1 and 1 of about 64 Hz, its period a whole number of samples."""
    half = max(1, round(sample_rate / SQUARE_HERTZ / 2))
    return np.where(np.arange(samples) // half % 2 == 0, 1, -1).astype(np.float32)


def tone(samples: int, sample_rate: int) -> Sound:
    """(samples,) in [-1, 1]: a sine of 0.9 near the top of the spectrum, where pre-emphasis amplifies.

    The noise 20 dB below it leaves no mel band to what leaks from the sine.
    """
    cycles = _TONE_OF_RATE * np.arange(samples)
    return _pcm24(0.9 * np.sin(2 * np.pi * cycles) + RandomState(0).uniform(-0.1, 0.1, samples))


def impulse(samples: int) -> Sound:
    """(samples,), all zero but for one 1 in the middle, out of reach of a front end's reflection at the ends."""
    sound = np.zeros(samples, np.float32)
    sound[samples // 2] = 1
    return sound


def noise(samples: int, peak: float, seed: int = 0) -> Sound:
    """(samples,), white noise, uniform between -peak and peak."""
    return RandomState(seed).uniform(-peak, peak, samples).astype(np.float32)


def _voice(time: _Signal, sample_rate: int, random: RandomState) -> _Signal:
    """A harmonic tone whose pitch glides steadily, its partials falling like 1 / n, with tremolo."""
    start, end, offset = random.uniform(60, 400), random.uniform(60, 400), random.uniform(0, 1)
    cycles = offset + start * time + (end - start) * time**2 * sample_rate / (2 * len(time))
    partials = int(min(40, 0.45 * sample_rate / max(start, end)))
    tone = sum(np.sin(2 * np.pi * n * cycles) / n for n in range(1, partials + 1))
    tremolo = 0.6 + 0.4 * np.sin(2 * np.pi * (random.uniform(3, 9) * time + random.uniform(0, 1)))
    return random.uniform(0.3, 1.0) * tone * tremolo


def _burst(time: _Signal, sample_rate: int, random: RandomState) -> _Signal:
    """Noise in a band around a formant, with a sharp start and a decay."""
    centre = 200 * (0.4 * sample_rate / 200) ** random.uniform(0, 1)
    width = random.uniform(0.1, 0.4) * centre
    reach = max(1, round(sample_rate / width))
    # A moving average is the lowpass; the carrier moves it up to the formant.
    total = np.cumsum(random.uniform(-1, 1, len(time) + reach))
    lowpass = (total[reach:] - total[: len(time)]) / np.sqrt(reach)
    since = time - random.uniform(-0.1, 0.9) * len(time) / sample_rate
    shape = np.where(since >= 0, np.exp(-np.abs(since) / random.uniform(0.03, 0.3)), 0.0)
    return random.uniform(0.3, 1.2) * lowpass * np.sin(2 * np.pi * centre * time) * shape


def _clicks(samples: int, sample_rate: int, random: RandomState) -> _Signal:
    """About eight single-sample clicks a second, at least one."""
    clicks = np.zeros(samples)
    count = max(1, round(8 * samples / sample_rate))
    places = (random.uniform(0, 1, count) * samples).astype(np.int64)
    clicks[places] = random.uniform(-2, 2, count)
    return clicks


def _envelope(time: _Signal, random: RandomState) -> _Signal:
    """A level that swings between 0 and -60 dB, two to four times a second."""
    swing = np.sin(2 * np.pi * (random.uniform(2, 4) * time + random.uniform(0, 1)))
    return 10 ** (1.5 * (swing - 1))


def _pcm24(signal: _Signal) -> Sound:
    return (np.clip(np.round(signal * 2**23), -(2**23), 2**23) / 2**23).astype(np.float32)
