"""The sounds of a reference: extremes that break conversions, and whatever users add."""

import re
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from recipes.base import audio
from recipes.base.errors import UserError
from recipes.base.sound import impulse, noise, rich, square, tone
from recipes.base.spec import Variant

# PANN's silence is -100 dB, its power floor; noise of this peak is barely above it.
VERY_QUIET_PEAK = 1e-5


@dataclass(frozen=True)
class SoundCase:
    """What to feed: (batch, samples) float32. `whole` asks for every output element, however long the dump gets."""

    name: str
    description: str
    waveform: NDArray[np.float32]
    whole: bool


def built_in(variant: Variant, seconds: float | None = None) -> list[SoundCase]:
    """The cases that every reference has; a variant that takes one length only has no odd and no shortest one.

    `seconds` sets the length of all but these two, and then long outputs may be sampled; else it is about 0.4 s, short
    enough that the dump holds all elements. Raises UserError for seconds that the variant does not take.
    """
    rate = variant.sample_rate
    least, most = variant.input.least, variant.input.most
    if seconds is not None and not (isfinite(seconds) and least <= round(seconds * rate) <= most):
        raise UserError(f"{variant.name}: takes {least / rate:g} to {most / rate:g} s, not {seconds:g}; choose another")

    def samples(usual: float) -> int:
        return min(max(round((seconds or usual) * rate), least), most)

    short = samples(0.4)
    pair = samples(0.45) if seconds else min(samples(0.45) | 1, most)
    sounds = {
        "rich": ("Voices, noise bursts and clicks over 60 dB", rich(samples(1.0), rate, seed=1)),
        "silence": ("Digital silence", np.zeros(short, np.float32)),
        "full_scale_square": ("A square wave between -1 and 1, about 64 Hz", square(short, rate)),
        "full_scale_tone": (
            "A high tone at 0.9 of full scale, and noise 20 dB below it",
            tone(short, rate),
        ),
        "impulse": ("A single 1 in the middle of silence", impulse(short)),
        "very_quiet_noise": ("White noise with a peak of 0.00001", noise(short, VERY_QUIET_PEAK, seed=1)),
        "batch_of_2": ("Two different sounds at once", np.stack([rich(pair, rate, seed) for seed in (2, 3)])),
    }
    if least < most:
        odd = min(max(round(0.42 * rate), least), most - 1) | 1
        sounds["odd_length"] = ("An odd number of samples", rich(odd, rate, seed=4))
        sounds["shortest"] = ("The fewest samples that the model takes", rich(least, rate, seed=5))
    whole = seconds is None
    return [SoundCase(name, text, np.atleast_2d(sound), whole) for name, (text, sound) in sounds.items()]


def from_audio(variant: Variant, name: str, waveform: NDArray[np.float32]) -> SoundCase:
    """A user's sound, (samples,) float32 at the variant's sample rate, as a case whose outputs may be sampled.

    `name` is the file's, without its ending; what cannot stand in a file name becomes `_`. Raises UserError for a
    length that the variant does not take and for samples that are not finite.
    """
    bounds = variant.input
    batch = audio.check(waveform, variant.sample_rate, bounds.least, bounds.most, origin=name)
    return SoundCase(re.sub(r"[^A-Za-z0-9_-]+", "_", name) or "_", f"Sound file {name}", batch, whole=False)
