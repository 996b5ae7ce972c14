"""What each preset is held to, and how far it is from that.

`python -m tests.recipes.mel.libraries` writes the table in docs/mel.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from exporters.lowering import lower
from recipes.base import config, sound
from recipes.base.recipe import faithful_model
from recipes.mel.spec import Variant

Array = NDArray[np.float32]
Answers = Iterator[tuple[str, Array, Array]]
"""Of each sound: its name, (batch, samples), and what the library gives, (batch, n_mels, frames)."""

_ROOT = Path(__file__).parents[3]
_DATA = _ROOT / "tests" / "data"
_TRUTH = _DATA / "truth"
_GOLDEN = _ROOT.parent / "shared" / "golden"
_DOCUMENT = _ROOT / "docs" / "mel.md"
_MARKS = ("<!-- table: python -m tests.recipes.mel.libraries -->\n", "<!-- end -->\n")


def sounds(rate: int) -> dict[str, Array]:
    """Of half a second; two clips of an odd length, and the extremes."""
    short = rate // 2
    return {
        "rich": sound.rich(short, rate, seed=21)[None],
        "odd": np.stack([sound.rich(short | 1, rate, seed) for seed in (22, 23)]),
        "square": sound.square(short, rate)[None],
        "tone": sound.tone(short, rate)[None],
        "noise": sound.noise(short, 0.5, seed=24)[None],
        "silence": np.zeros((1, short), np.float32),
    }


def by_librosa(variant: Variant, waveform: Array) -> Array:
    """feature.melspectrogram and, of `log: db`, power_to_db or amplitude_to_db, with the same numbers."""
    import librosa

    numbers = variant.front_end
    if numbers.centre == "reflect":
        # librosa reflects the last frames by themselves, twice where they are short, and the last sample is not that of
        # the whole sound reflected: 1e-3 of what is 60 dB below the rest. NumPy, PyTorch and Kaldi have the other.
        waveform = np.pad(waveform, ((0, 0), (numbers.n_fft // 2, numbers.n_fft // 2)), mode="reflect")
    found = librosa.feature.melspectrogram(
        y=waveform,
        sr=variant.sample_rate,
        n_fft=numbers.n_fft,
        win_length=numbers.win_length,
        hop_length=numbers.hop_length,
        window=_of_librosa(variant),
        center=numbers.centre not in ("none", "reflect"),
        pad_mode="edge" if numbers.centre == "replicate" else "constant",
        power=numbers.power,
        n_mels=numbers.n_mels,
        fmin=numbers.fmin,
        fmax=numbers.fmax,
        htk=numbers.mel_scale == "htk",
        norm=None if numbers.norm == "none" else numbers.norm,
    )
    if numbers.log == "db":
        to_db = librosa.power_to_db if numbers.power == 2 else librosa.amplitude_to_db
        ref = np.max if numbers.ref == "max" else numbers.ref
        # A clip at a time: librosa's greatest is that of all it is given.
        found = np.stack([to_db(clip, ref=ref, amin=numbers.amin, top_db=numbers.top_db) for clip in found])
    return found


def _of_librosa(variant: Variant) -> str | Array:
    numbers = variant.front_end
    names = {"rectangular": "boxcar"}
    if numbers.periodic:
        return names.get(numbers.window, numbers.window)
    import scipy.signal

    return scipy.signal.get_window(names.get(numbers.window, numbers.window), numbers.taps, fftbins=False)


def _librosa(variant: Variant) -> Answers:
    for name, waveform in sounds(variant.sample_rate).items():
        yield name, waveform, by_librosa(variant, waveform)


def _kaldi(variant: Variant) -> Answers:
    for name, waveform in sounds(variant.sample_rate).items():
        yield name, waveform, np.stack([by_kaldi(variant, clip) for clip in waveform])


def by_kaldi(variant: Variant, clip: Array) -> Array:
    """kaldi-native-fbank with the same numbers, (n_mels, frames)."""
    import kaldi_native_fbank

    numbers = variant.front_end
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = variant.sample_rate
    options.frame_opts.frame_length_ms = 1000 * numbers.taps / variant.sample_rate
    options.frame_opts.frame_shift_ms = 1000 * numbers.hop_length / variant.sample_rate
    options.frame_opts.preemph_coeff = numbers.pre_emphasis
    options.frame_opts.remove_dc_offset = numbers.remove_dc
    options.frame_opts.window_type = {"hann": "hanning"}.get(numbers.window, numbers.window)
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = numbers.n_mels
    options.mel_opts.low_freq = numbers.fmin
    options.mel_opts.high_freq = numbers.highest(variant.sample_rate)
    options.use_energy = False
    options.use_power = numbers.power == 2
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(variant.sample_rate, (clip * np.float32(numbers.input_scale)).tolist())
    fbank.input_finished()
    return np.stack([fbank.get_frame(frame) for frame in range(fbank.num_frames_ready)]).T


def _kept(file: Path, tensor: str, transposed: bool = False) -> Callable[[Variant], Answers]:
    """Answers in a file, by CASE/TENSOR."""

    def read(variant: Variant) -> Answers:
        with np.load(file) as arrays:
            for key in arrays:
                case, found = key.split("/")
                if found != tensor:
                    continue
                whole = f"{case}/waveform"
                waveform = arrays[whole] if whole in arrays else arrays[f"{whole}_int16"].astype(np.float32) / 32768
                yield case, waveform, arrays[key].swapaxes(1, 2) if transposed else arrays[key]

    return read


PRESETS: dict[str, dict[str, Callable[[Variant], Answers]]] = {
    "mel_librosa": {"librosa": _librosa},
    "mel_avatar": {"librosa": _librosa},
    "mel_torchaudio": {"librosa, htk=True, norm=None": _librosa},
    "mel_kaldi": {"kaldi-native-fbank": _kaldi},
    "mel_whisper80": {"openai-whisper": _kept(_DATA / "whisper.npz", "melspec80")},
    "mel_whisper128": {"openai-whisper": _kept(_DATA / "whisper.npz", "melspec128")},
    "mel_pann": {
        "audioset_tagging_cnn": _kept(_TRUTH / "pann_mobilenetv1.npz", "melspec", transposed=True),
        "the same, recordings": _kept(_GOLDEN / "pann_mobilenetv1.npz", "melspec", transposed=True),
    },
    "mel_efficientat": {
        "EfficientAT": _kept(_TRUTH / "mn04_as.npz", "melspec"),
        "the same, recordings": _kept(_GOLDEN / "mn04_as.npz", "melspec"),
    },
}
"""By preset and library: what gives its answers."""


def variant(preset: str) -> Variant:
    found = config.find(preset)
    assert isinstance(found, Variant)
    return found


def difference(variant: Variant, ours: NDArray, theirs: NDArray) -> float:
    """The worst: absolute where a log is taken; else relative, but to no less than 60 dB below the clip's greatest.

    Below that, a millionth of its power or a thousandth of its magnitude, a sum in float32 has no four digits: the
    loudest bin rounds at 6e-8 of itself.
    """
    assert ours.shape == theirs.shape
    apart = np.abs(ours.astype(np.float64) - theirs)
    if variant.front_end.log == "none":
        greatest = np.abs(theirs).max(axis=(1, 2), keepdims=True)
        apart = apart / np.maximum(
            np.maximum(np.abs(theirs), 1e-3**variant.front_end.power * greatest), np.finfo(np.float32).tiny
        )
    return float(apart.max())


def worst(variant: Variant, answers: Answers) -> tuple[float, str]:
    """Of all sounds, and which it was, by the form that ships."""
    module = lower(faithful_model(variant, {}), variant)
    with torch.inference_mode():
        found = [
            (difference(variant, module(torch.from_numpy(waveform))[0].numpy(), theirs), name)
            for name, waveform, theirs in answers
        ]
    return max(found)


def _units(variant: Variant) -> str:
    numbers = variant.front_end
    if numbers.log == "none":
        return "relative"
    unit = {"ln": "of ln", "log10": "of log10", "db": "dB"}[numbers.log]
    return unit if numbers.scale == 1 else f"{unit} / {numbers.scale:g}"


def _rows() -> Iterator[str]:
    yield "| preset | held to | worst difference | of | sound |"
    yield "|---|---|---|---|---|"
    for preset, libraries in PRESETS.items():
        for library, answers in libraries.items():
            apart, name = worst(variant(preset), answers(variant(preset)))
            yield f"| `{preset}` | {library} | {apart:.1e} | {_units(variant(preset))} | {name} |"


def main() -> None:
    torch.set_num_threads(1)
    before, rest = _DOCUMENT.read_text(encoding="utf-8").split(_MARKS[0])
    _, after = rest.split(_MARKS[1])
    table = "".join(f"{row}\n" for row in _rows())
    _DOCUMENT.write_text(f"{before}{_MARKS[0]}\n{table}\n{_MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
