"""What is measured: variants, the sounds that they are fed, and the graphs that are made of them."""

from __future__ import annotations

import sys
import time
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import naive
from benchmarks.published import has_choice, with_front_end
from benchmarks.tables import LOWERED, NAIVE, Clip
from exporters.lowering import lower, shipped
from exporters.onnx.export import export
from exporters.onnx.simplify import simplify
from exporters.onnx.tract import for_tract
from recipes.base import recipe
from recipes.base.config import find
from recipes.base.sound import rich
from recipes.base.spec import Variant

Array = NDArray[np.float32]
Truth = dict[str, NDArray[np.float64]]

STFT = f"{NAIVE}, STFT operator"
NOT_LOWERED = "not lowered"
FOR_TRACT = f"{LOWERED}, --fast-in tract"


@dataclass(frozen=True)
class Settings:
    """How much is measured: rounds, numbers of threads, and only clips of 10 s at batch 1 if `quick`."""

    rounds: int = 7
    threads: tuple[int, ...] = (1, 2)
    quick: bool = False

    def clips(self, clips: tuple[Clip, ...]) -> tuple[Clip, ...]:
        return tuple(clip for clip in clips if not self.quick or clip == Clip(10))


@dataclass
class Subject:
    """A variant with synthetic weights, which take as long as any, and the graphs that are made of it, once each.

    `compiles`: torch.compile is shown of it.
    """

    name: str
    variant: Variant
    clips: tuple[Clip, ...]
    compiles: bool = True
    graphs: dict[str, onnx.ModelProto] = field(default_factory=dict)

    @cached_property
    def model(self) -> nn.Module:
        return recipe.faithful_model(self.variant, recipe.load(self.variant.family).synthesize(self.variant))

    def graph(self, name: str) -> onnx.ModelProto:
        """By the name of its contender."""
        if name not in self.graphs:
            started = time.perf_counter()
            self.graphs[name] = self._made(name)
            say(f"{self.name}: {name}, made in {time.perf_counter() - started:.1f} s")
        return self.graphs[name]

    def _made(self, name: str) -> onnx.ModelProto:
        if name == FOR_TRACT:
            return simplify(export(for_tract(lower(self.model, self.variant))[0], self.variant))
        if name == LOWERED:
            return simplify(export(lower(self.model, self.variant), self.variant))
        if name == NOT_LOWERED:
            return simplify(export(shipped(self.model, self.variant), self.variant))
        form = {NAIVE: "convolution", STFT: "stft"}[name]
        return naive.exported(with_front_end(self.model, self.variant.sample_rate, form), self.variant)

    @property
    def forms(self) -> tuple[str, ...]:
        """The naive graph is made twice where PyTorch's own export of the authors' code has an STFT operator.

        The recipe's own convolution then computes fewer taps and bins than a plain one, and stands beside them.
        """
        return (NAIVE, STFT, NOT_LOWERED, LOWERED) if has_choice(self.model) else (NAIVE, LOWERED)

    def sound(self, clip: Clip) -> Array:
        """(batch, samples), or in the shape that the variant is fed; another sound in each row."""
        rate = self.variant.sample_rate
        size = self.variant.input.default if self.variant.input.fixed else round(clip.seconds * rate)
        rows = [rich(size, rate, seed) for seed in range(clip.batch)]
        return np.stack(rows).reshape(self.variant.input.shape(clip.batch, size))

    def truth(self, sound: Array) -> Truth:
        """What the faithful model answers in float64."""
        model = deepcopy(self.model).double()
        with torch.inference_mode():
            return {name: value.numpy() for name, value in model(torch.from_numpy(sound).double()).items()}


_LENGTHS = (Clip(1), Clip(10), Clip(60), Clip(10, 8))


def subjects() -> dict[str, tuple[Subject, ...]]:
    """By the word that chooses them. EAT takes one length: each of its clips is a variant of its own."""

    def one(name: str, variant: str, clips: tuple[Clip, ...] = _LENGTHS) -> Subject:
        return Subject(name, find(variant), clips)

    return {
        "pann": (one("PANN", "mobilenetv1"),),
        "mn04": (one("mn04", "mn04_as"),),
        "mn10": (one("mn10", "mn10_as"),),
        # torch.compile takes many minutes over its hundreds of grouped convolutions.
        "dymn10": (Subject("dymn10", find("dymn10_as"), _LENGTHS, compiles=False),),
        "eat_s": (
            one("EAT-S", "eat_s_speechcommands", (Clip(1),)),
            one("EAT-S", "eat_s_audioset", (Clip(10), Clip(10, 8))),
        ),
    }


def say(words: str) -> None:
    """On the way, on standard error."""
    sys.stderr.write(words + "\n")
