"""Sound fed chunk by chunk gives the frames of the whole: of any chunk and length, at both ends too."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from exporters.lowering import lowered, shipped
from recipes.base import sound
from recipes.base.errors import UserError
from recipes.base.recipe import load
from recipes.base.streaming import Stream
from recipes.base.tensor import Stream as Numbers
from recipes.mel.model import Model
from recipes.mel.spec import Variant
from tests.recipes.mel.test_model import EVERY

Run = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

# What goes by the clip's greatest cannot be streamed, nor what shares no samples.
STREAMED = {
    name: (preset, {**numbers, "top_db": None, "ref": 1})
    for name, (preset, numbers) in EVERY.items()
    if numbers.get("hop_length", 0) < numbers.get("win_length", numbers.get("n_fft", 2048)) and "short" not in name
} | {
    "a short window in frames of an n_fft": (
        "mel_librosa",
        {"n_fft": 512, "win_length": 301, "hop_length": 100, "centre": "none"},
    ),
    "a frame dropped that would end within the sound": (
        "mel_librosa",
        {"n_fft": 256, "hop_length": 250, "n_mels": 20, "drop_last_frame": True, "centre": "replicate"},
    ),
    "emphasis from zero, and padding": ("mel_avatar", {"pre_emphasis": 0.97, "n_fft": 401, "hop_length": 130}),
}


def stream_of(variant: Variant, frames: int, lower: bool = False) -> tuple[Numbers, Run]:
    """What says how it is fed, and what computes a chunk in float64."""
    streaming = load("mel").streaming
    assert streaming is not None
    fed, model = streaming(variant, frames)
    double = model.double()
    module = lowered(double, fed).module if lower else shipped(double, fed)

    def run(chunk: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            melspec, following = module(torch.from_numpy(chunk), torch.from_numpy(state))
        assert melspec.shape[2] == frames
        return melspec.numpy(), following.numpy()

    assert fed.input.stream is not None
    return fed.input.stream, run


def parts(whole: np.ndarray, sizes: tuple[int, ...]) -> Iterator[np.ndarray]:
    start, turn = 0, 0
    while start < whole.shape[1]:
        size = sizes[turn % len(sizes)]
        yield whole[:, start : start + size]
        start, turn = start + size, turn + 1


def streamed(numbers: Numbers, run: Run, whole: np.ndarray, sizes: tuple[int, ...] = (10**6,)) -> np.ndarray:
    stream = Stream(run, asdict(numbers), len(whole), np.float64)
    found = [frames for part in parts(whole, sizes) for frames in stream.feed(part)]
    return np.concatenate([*found, *stream.finish()], axis=2)


def of_whole(variant: Variant, waveform: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return Model(variant).double()(torch.from_numpy(waveform))["melspec"].numpy()


def voices(variant: Variant, samples: int) -> np.ndarray:
    return np.stack([sound.rich(samples, variant.sample_rate, seed) for seed in (41, 42)]).astype(np.float64) + 0.01


@pytest.mark.parametrize("name", STREAMED)
def test_chunks_give_the_frames_of_the_whole(name: str, numbered: Callable[..., Variant]) -> None:
    """In float64, where a sample that is wrong is no rounding."""
    preset, numbers = STREAMED[name]
    variant = numbered(preset, **numbers)
    least, hop = variant.input.least, variant.front_end.hop_length
    for frames in (1, 2, 7):
        fed, run = stream_of(variant, frames, lower=frames == 2)
        # Of whole hops, the last frame hears all that is put behind the sound.
        for samples in (least, least + 1, least + hop + 3, hop * (least // hop + 9)):
            waveform = voices(variant, samples)
            expected = of_whole(variant, waveform)
            # Lowered, what was rounded to float32 is exact, and the logarithm shows it.
            exact = {"rtol": 1e-9, "atol": 1e-9} if frames != 2 else {"rtol": 1e-5, "atol": 2e-4}
            # One sample fewer than what is reflected needs, and then that one.
            reflected = fed.front + fed.first_dropped
            for sizes in ((samples,), (max(1, reflected), 0, 1, hop + 1, 3 * hop)):
                np.testing.assert_allclose(streamed(fed, run, waveform, sizes), expected, **exact)


LATE: dict[str, dict[str, object]] = {
    "mel_librosa": {},
    "mel_kaldi": {},
    "mel_pann": {},
    "mel_efficientat": {},
    "mel_whisper80": {"top_db": None},
    "mel_avatar": {"n_fft": 401, "hop_length": 130},
}


@pytest.mark.parametrize("name", LATE)
def test_a_frame_is_given_as_late_as_is_said_and_no_later(name: str, numbered: Callable[..., Variant]) -> None:
    variant = numbered(name, **LATE[name])
    numbers = variant.front_end
    # What of the first frame is its window's middle.
    middle = 0 if numbers.centre != "none" else numbers.taps // 2
    for frames in (1, 3):
        fed, run = stream_of(variant, frames)
        stream = Stream(run, asdict(fed), dtype=np.float64)
        given, waits = 0, []
        for heard, sample in enumerate(voices(variant, 4 * numbers.n_fft)[0], start=1):
            if found := stream.feed(sample[None]):
                waits.append(heard - middle - given * numbers.hop_length)
                given += sum(one.shape[2] for one in found)
        assert given > 4
        assert max(waits) == fed.latency


FORGETFUL: dict[str, Callable[[Run], Run]] = {
    "a state that is forgotten": lambda run: lambda chunk, state: (run(chunk, state)[0], 0 * state),
    "a state that never changes": lambda run: lambda chunk, state: (run(chunk, state)[0], state),
    "a state of a sample ago": lambda run: (
        lambda chunk, state: (
            run(chunk, state)[0],
            np.roll(run(chunk, state)[1], 1, axis=1),
        )
    ),
}
MISTAKEN = {
    "a sample more in front": {"front": 401},
    "padding of another kind": {"padding": "replicate"},
    "a sample fewer behind": {"back": 399},
    "emphasis that is not the model's": {"emphasis": 0.1},
}


@pytest.mark.parametrize("mistake", [*FORGETFUL, *MISTAKEN])
def test_a_mistake_does_not_give_the_frames_of_the_whole(mistake: str, numbered: Callable[..., Variant]) -> None:
    variant = numbered("mel_avatar")
    fed, run = stream_of(variant, 2)
    waveform = voices(variant, 2400)
    expected = of_whole(variant, waveform)
    np.testing.assert_allclose(streamed(fed, run, waveform), expected, rtol=1e-9)
    run = FORGETFUL[mistake](run) if mistake in FORGETFUL else run
    found = streamed(replace(fed, **MISTAKEN.get(mistake, {})), run, waveform)
    assert found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-3)


def test_the_host_refuses_what_is_no_sound(numbered: Callable[..., Variant]) -> None:
    fed, run = stream_of(numbered("mel_kaldi"), 1)
    stream = Stream(run, asdict(fed))
    with pytest.raises(ValueError, match="int16"):
        stream.feed(np.zeros(100, np.int16))
    with pytest.raises(ValueError, match=r"of shape \(2, 100\), not float32 \(samples,\) or \(1, samples\)"):
        stream.feed(np.zeros((2, 100), np.float32))
    with pytest.raises(ValueError, match="NaN or infinite"):
        stream.feed(np.full(100, np.nan, np.float32))
    with pytest.raises(ValueError, match="NaN or infinite"), np.errstate(over="ignore"):
        stream.feed(np.full(100, 1e39))
    stream.feed(np.zeros(399, np.float32))
    with pytest.raises(ValueError, match="399 samples; too few for a frame, which takes 400"):
        stream.finish()


def test_the_host_takes_real_numbers_of_any_size_and_ends_once(numbered: Callable[..., Variant]) -> None:
    """As libraries read sound: in float64, and as lists."""
    fed, _ = stream_of(numbered("mel_kaldi"), 2)
    heard: list[np.ndarray] = []

    def run(chunk: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        heard.extend((chunk, state))
        return np.zeros((1, 80, 2), np.float32), state

    stream = Stream(run, asdict(fed))
    sound = np.linspace(-1, 1, 1100)
    found = [*stream.feed(sound[:500]), *stream.feed(sound[500:].tolist()), *stream.finish()]
    assert {array.dtype for array in heard} == {np.dtype(np.float32)}
    # The end was in the midst of a chunk: a second one would cut the last frames again.
    assert sum(frames.shape[2] for frames in found) == 5
    for after in (stream.finish, lambda: stream.feed(sound)):
        with pytest.raises(ValueError, match="the sound has ended"):
            after()


@pytest.mark.parametrize(
    ("preset", "numbers", "why"),
    [
        ("mel_whisper80", {}, "mel_whisper80 has top_db 80: that goes by the whole clip's greatest"),
        ("mel_avatar", {"log": "db", "amin": 1e-5, "ref": "max"}, "has ref max: that goes by the whole clip's"),
        ("mel_librosa", {"hop_length": 2048}, "are 2048 samples every 2048 and share none"),
        ("mel_whisper80", {"top_db": None, "hop_length": 399}, "a chunk of so many hops is over 30 s"),
    ],
)
def test_what_chunks_cannot_tell_is_refused_by_name(
    preset: str, numbers: dict[str, object], why: str, numbered: Callable[..., Variant]
) -> None:
    with pytest.raises(UserError, match=why):
        stream_of(numbered(preset, **numbers), 5000)


def test_a_chunk_is_as_long_as_a_sound_may_be(numbered: Callable[..., Variant]) -> None:
    streaming = load("mel").streaming
    assert streaming is not None
    for numbers, frames in (({}, 9600), ({"hop_length": 1}, 1_900_000)):
        fed, _ = streaming(numbered("mel_avatar", **numbers), frames)
        assert fed.input.stream is not None
        assert fed.input.stream.latency > 1_900_000


def test_numbers_that_share_no_samples_have_no_state(numbered: Callable[..., Variant]) -> None:
    fed, _ = stream_of(numbered("mel_kaldi"), 1)
    with pytest.raises(ValueError, match="share no sample"):
        replace(fed, window=fed.hop)
