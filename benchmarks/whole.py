"""A family whole: naive and lowered in ONNX Runtime, and PyTorch, eager and compiled; and its front end alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from benchmarks import gemm, logmel
from benchmarks.machine import load, threads
from benchmarks.published import as_published
from benchmarks.sessions import cut, macs, run, session
from benchmarks.subject import Array, Settings, Subject, Truth, say
from benchmarks.tables import GEMM, LOWERED, NAIVE, Clip, Table, table
from benchmarks.timing import measure
from validators.runners.runner import shortened

EAGER = "PyTorch, eager"
COMPILED = "PyTorch, compiled"

_FRONT_END = "melspec"

# torch.compile takes up to half a minute for each length, batch and number of threads: it is shown for this clip.
_COMPILED_CLIP = Clip(10)

Contenders = dict[str, Callable[[], object]]


def whole(subject: Subject, settings: Settings) -> list[Table]:
    """A table for each clip and number of threads."""
    graphs = {name: subject.graph(name) for name in subject.forms}
    eager = as_published(subject.model, subject.variant.sample_rate)
    done = []
    for clip in settings.clips(subject.clips):
        sound = subject.sound(clip)
        beside = partial(_pytorch, eager, sound, compiled=subject.compiles and clip == _COMPILED_CLIP)
        done += _tables(subject.name, clip, graphs, sound, beside, subject.truth(sound), settings)
    return done


def front_end(subject: Subject, settings: Settings) -> list[Table]:
    """Cut out of the same files, and in the libraries that people compute it by on its own."""
    numbers = logmel.of(subject.variant)
    assert numbers is not None
    graphs = {name: cut(subject.graph(name), _FRONT_END) for name in subject.forms}
    done = []
    for clip in settings.clips(subject.clips):
        sound = subject.sound(clip)
        truth = {_FRONT_END: subject.truth(sound)[_FRONT_END]}
        beside = partial(_libraries, numbers, sound, compiled=subject.compiles and clip == _COMPILED_CLIP)
        done += _tables(f"{subject.name} front end", clip, graphs, sound, beside, truth, settings)
    return done


def _pytorch(model: nn.Module, sound: Array, compiled: bool) -> Contenders:
    given = torch.from_numpy(sound)
    found: Contenders = {EAGER: partial(answers, model, given)}
    if compiled:
        found[COMPILED] = partial(answers, torch.compile(model, dynamic=False), given)
    return found


def _libraries(numbers: logmel.LogMel, sound: Array, compiled: bool) -> Contenders:
    model, given = logmel.ByTorch(numbers), torch.from_numpy(sound)
    found: Contenders = {
        logmel.STFT_AND_MEL: partial(answers, model, given),
        "librosa": partial(numbers.by_librosa, sound),
    }
    if compiled:
        found[f"{logmel.STFT_AND_MEL}, compiled"] = partial(answers, torch.compile(model, dynamic=False), given)
    return found


def answers(model: Callable[[Tensor], object], sound: Tensor) -> object:
    """NumPy's arrays, as every contender gives them."""
    with torch.inference_mode():
        found = model(sound)
    if isinstance(found, dict):
        return {name: value.numpy() for name, value in found.items()}
    assert isinstance(found, Tensor)
    return found.numpy()


def _tables(
    name: str,
    clip: Clip,
    graphs: dict[str, onnx.ModelProto],
    sound: Array,
    beside: Callable[[], Contenders],
    truth: Truth,
    settings: Settings,
) -> list[Table]:
    """One for each number of threads; `beside` makes the contenders beside the graphs, compiled for that number."""
    products = {form: macs(graph, sound.shape) for form, graph in graphs.items()}
    done = []
    for count in settings.threads:
        with threads(count):
            torch._dynamo.reset()
            contenders: Contenders = {
                form: partial(run, session(graph, count), sound) for form, graph in graphs.items()
            }
            contenders |= beside()
            errors, notes = _errors(contenders, truth)
            contenders[GEMM] = gemm.contender(count)
            before = load()
            rounds = measure(contenders, settings.rounds)
        done.append(
            table(
                *(name, clip, count, rounds, before),
                errors=errors,
                macs=products,
                gemm_macs=gemm.MACS,
                notes=notes,
            )
        )
        say(f"{name}, {clip}, threads {count}: {done[-1].ratio(NAIVE, LOWERED).median:.2f} x, load {before:.1f}")
    return done


def _errors(contenders: Contenders, truth: Truth) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Of every contender; one that does not compile here is taken out, with a note."""
    errors, notes = {}, []
    for form, call in list(contenders.items()):
        try:
            given = call()
        # PyTorch asserts of itself, too.
        except (TorchDynamoException, AssertionError) as error:
            del contenders[form]
            notes.append(f"{form}: {shortened(error)}")
            continue
        errors[form] = worst(given, truth)
    return errors, notes


def worst(given: object, truth: Truth) -> dict[str, float]:
    """The greatest absolute difference of each output; an array is the one output that there is."""
    found: dict[str, float] = {}
    for name, expected in truth.items():
        value = np.asarray(given[name] if isinstance(given, dict) else given)
        # A difference of other shapes would be of no meaning, or of one value to all.
        assert value.shape == expected.shape, f"{name} has the shape {value.shape}, not {expected.shape}"
        found[name] = float(np.abs(value - expected).max())
    return found
