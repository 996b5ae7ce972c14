"""Log-mel front ends by themselves, beside what they are taken for: librosa, `torch.stft`, Kaldi's own.

Each row computes the same frames and bands. librosa is called as its users call it, `feature.melspectrogram`, which
makes its bank anew each time; *torch.stft + mel* has window and bank made before, as torchaudio and openai-whisper have
it. Where a front end has steps that these two do not know (Kaldi's frame by frame, a symmetric window, a bank straight
in mel), they leave them out or take their own, which costs no more; their error is then not shown.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import gemm
from benchmarks.logmel import STFT_AND_MEL
from benchmarks.machine import load, threads
from benchmarks.sessions import macs, run, session
from benchmarks.subject import NOT_LOWERED, Array, Settings, Subject, say
from benchmarks.tables import GEMM, LOWERED, Clip, Table, table
from benchmarks.timing import measure
from benchmarks.whole import Contenders, answers, worst
from exporters.lowering import lower
from exporters.onnx.export import export
from exporters.onnx.simplify import simplify
from recipes.base import config, recipe, spec
from recipes.mel import constants
from recipes.mel.model import LogMel, Transformed
from recipes.mel.spec import Variant

TRACT = "lowered, tract"
TORCH = "module"
KALDI = "kaldi-native-fbank"
LIBROSA = "librosa"

# The last is a frame of a film at 30 a second.
CLIPS = (Clip(10), Clip(1), Clip(0.033))
PRIME = "n_fft 1102"


class ByStft(LogMel):
    """By `torch.stft`, whose frames are an n_fft long."""

    window: Tensor

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant)
        self.constant("window", constants.window(self.numbers))

    def squares(self, x: Tensor) -> Tensor:
        numbers = self.numbers
        margin = (numbers.n_fft - numbers.taps) // 2
        x = F.pad(x[:, 0], (margin, numbers.n_fft - numbers.taps - margin))
        spectrum = torch.stft(
            x, numbers.n_fft, numbers.hop_length, numbers.taps, self.window, center=False, return_complex=True
        )
        parts = torch.view_as_real(spectrum[:, self.bins.start : self.bins.stop])
        return (parts * parts).sum(dim=-1)


def by_librosa(variant: Variant, sound: Array) -> Array:
    """As its users write it, with decibels or a logarithm behind."""
    import librosa

    numbers = variant.front_end
    found = librosa.feature.melspectrogram(
        y=sound,
        sr=variant.sample_rate,
        n_fft=numbers.n_fft,
        win_length=numbers.taps,
        hop_length=numbers.hop_length,
        center=numbers.centre != "none",
        pad_mode="reflect" if numbers.centre == "reflect" else "constant",
        power=numbers.power,
        n_mels=numbers.n_mels,
        fmin=numbers.fmin,
        fmax=numbers.fmax,
        htk=numbers.mel_scale != "slaney",
        norm=None if numbers.norm == "none" else numbers.norm,
    )
    if numbers.log == "none":
        return found
    if numbers.log == "db":
        return librosa.power_to_db(found, amin=numbers.amin, top_db=None)
    return np.log(np.maximum(found, np.float32(max(numbers.amin, numbers.added))))


def by_kaldi(variant: Variant, samples: list[float]) -> Array:
    import kaldi_native_fbank

    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = variant.sample_rate
    options.mel_opts.num_bins = variant.front_end.n_mels
    options.use_energy = False
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(variant.sample_rate, samples)
    fbank.input_finished()
    return np.stack([fbank.get_frame(frame) for frame in range(fbank.num_frames_ready)]).T[None]


def subjects() -> dict[str, Subject]:
    """A preset each, and one whose n_fft has no factor in common with its hop."""
    found = {variant.name: variant for variant in config.variants() if variant.family == "mel"}
    prime = config.called({"sample_rate": 22050, "n_fft": 1102, "hop_length": 275})
    found[f"mel_avatar, {PRIME}"] = config.with_numbers(found["mel_avatar"], prime)
    return {name: Subject(name, variant, CLIPS) for name, variant in found.items()}


def front_end(subject: Subject, settings: Settings) -> list[Table]:
    """A table for each clip and number of threads."""
    variant = subject.variant
    assert isinstance(variant, Variant)
    graphs = {name: subject.graph(name) for name in (NOT_LOWERED, LOWERED)}
    modules: dict[str, nn.Module] = {
        f"{TORCH}, eager": Transformed(variant),
        f"{TORCH}, lowered": _First(lower(subject.model, variant)),
        STFT_AND_MEL: ByStft(variant),
    }
    done = []
    for clip in settings.clips(subject.clips):
        sound = subject.sound(clip)
        truth = {"melspec": Transformed(variant).double()(torch.from_numpy(sound).double()).numpy()}
        products = {form: macs(graph, sound.shape) for form, graph in graphs.items()}
        for count in settings.threads:
            with threads(count), tempfile.TemporaryDirectory() as folder:
                torch._dynamo.reset()
                contenders: Contenders = {
                    form: partial(run, session(graph, count), sound) for form, graph in graphs.items()
                }
                given = torch.from_numpy(sound)
                contenders |= {name: partial(answers, module, given) for name, module in modules.items()}
                if clip == CLIPS[0]:
                    compiled = torch.compile(Transformed(variant), dynamic=False)
                    contenders[f"{TORCH}, compiled"] = partial(answers, compiled, given)
                if count == 1:
                    contenders[TRACT] = _in_tract(graphs[LOWERED], variant, sound, Path(folder))
                contenders[LIBROSA] = partial(by_librosa, variant, sound)
                if variant.name == "mel_kaldi":
                    contenders[KALDI] = partial(by_kaldi, variant, sound[0].tolist())
                errors = {name: worst(call(), truth) for name, call in contenders.items() if _same(name, variant)}
                contenders[GEMM] = gemm.contender(count)
                before = load()
                rounds = measure(contenders, settings.rounds)
            done.append(
                table(*(subject.name, clip, count, rounds, before), errors=errors, macs=products, gemm_macs=gemm.MACS)
            )
            say(f"{subject.name}, {clip}, threads {count}: librosa {done[-1].ratio(LIBROSA, LOWERED).median:.2f} x")
    return done


def in_chunks(subject: Subject, settings: Settings) -> list[Table]:
    """One frame at a time, as a host calls it: a hop of sound and the state; nothing for what goes by a whole clip."""
    streaming = recipe.load(subject.variant.family).streaming
    assert streaming is not None
    if settings.quick or not streams(subject.variant):
        return []
    fed, model = streaming(subject.variant, 1)
    graph = simplify(export(lower(model, fed), fed))
    rng = np.random.default_rng(1)
    arrays = [rng.uniform(-1, 1, shape).astype(np.float32) for shape in fed.input.shapes(1, fed.input.default)]
    opened = session(graph, 1)
    call = partial(opened.run, list(fed.input.given(fed.outputs)), dict(zip(fed.input.fed(), arrays, strict=True)))
    before = load()
    with threads(1):
        rounds = measure({LOWERED: call}, settings.rounds)
    done = table(chunks(subject.name), frame(subject.variant), 1, rounds, before)
    say(f"{done.subject}: {1e6 * done.rows[LOWERED].spread.median:.0f} us for {1000 * done.clip.seconds:.3g} ms")
    return [done]


def chunks(name: str) -> str:
    """What a subject's files that are fed chunks are called."""
    return f"{name}, a frame in chunks"


def frame(variant: spec.Variant) -> Clip:
    """As long as the sound that a frame is further than the one before."""
    assert isinstance(variant, Variant)
    return Clip(variant.front_end.hop_length / variant.sample_rate)


def streams(variant: spec.Variant) -> bool:
    """Whether there are chunks of it."""
    assert isinstance(variant, Variant)
    return not variant.front_end.top_db


class _First(nn.Module):
    """The one output of a lowered module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.module(x)[0]
        return found


def _in_tract(graph: onnx.ModelProto, variant: Variant, sound: Array, folder: Path) -> partial[dict[str, Array]]:
    from validators.runners import tract

    model = onnx.ModelProto()
    model.CopyFrom(graph)
    # onnxsim notes shapes of one trace, with which tract refuses every other one.
    del model.graph.value_info[:]
    onnx.save(model, str(folder / "model.onnx"))
    return partial(tract.open_file(folder / "model.onnx").run, {variant.input.name: sound})


def _same(name: str, variant: Variant) -> bool:
    """Whether a contender computes this very front end, and not one that costs as much."""
    if name == LIBROSA:
        return variant.front_end.log == "none" and variant.front_end.mel_scale == "slaney"
    return name != STFT_AND_MEL or not variant.front_end.remove_dc
