"""Synthetic weights have to excite a conversion as trained ones do."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from recipes.base import sound
from recipes.base.recipe import faithful_model
from recipes.efficientat.dymn import DynamicConv
from recipes.efficientat.spec import Variant
from recipes.efficientat.synthetic import synthesize

RATE = 32000


def unseen(samples: int = 50000) -> torch.Tensor:
    """(12, samples): sounds that no calibration has seen, and the extremes."""
    clips = [sound.rich(samples, RATE, seed) for seed in range(100, 108)]
    clips += [sound.noise(samples, 0.5), sound.square(samples, RATE), sound.impulse(samples), np.zeros(samples)]
    return torch.from_numpy(np.stack(clips).astype(np.float32))


def check(variant: Variant) -> None:
    model = faithful_model(variant, synthesize(variant))
    outputs = model(unseen())
    logits, embedding = outputs["logits"], outputs["embedding"]
    assert logits.abs().max() < 50
    assert embedding.abs().max() < 10
    assert 1 <= logits.std(dim=0).mean() < 4, "sounds are not told apart"
    positive = (logits > 0).float().mean()
    assert 1e-4 < positive < 0.1, "too few or too many tags"
    assert (embedding.std(dim=0) > 1e-3).float().mean() > 0.95, "channels are dead"

    for samples in (variant.input.least, 1300, 4000):
        assert model(unseen(samples))["logits"].abs().max() < 100, f"{samples} samples overflow the trunk"

    with float16_rounding(model):
        rounded = model(unseen())["logits"]
    assert (rounded.sigmoid() - logits.sigmoid()).abs().max() < 0.05, "a rounding to float16 changes the tags"


class float16_rounding:  # noqa: N801
    """Within it, each layer's result is rounded as a device with float16 activations rounds it."""

    def __init__(self, model: nn.Module) -> None:
        self.layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))]

    def __enter__(self) -> None:
        self.hooks = [layer.register_forward_hook(lambda _l, _i, out: out.half().float()) for layer in self.layers]

    def __exit__(self, *_error: object) -> None:
        for hook in self.hooks:
            hook.remove()


@pytest.mark.parametrize("name", ["mn04_as", "dymn04_as"])
def test_behaviour(variant: Callable[..., Variant], name: str) -> None:
    check(variant(name))


def test_the_context_of_a_clip_matters(variant: Callable[..., Variant], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no check would see an export that mixes up the clips of a batch."""
    dymn = variant("dymn04_as")
    model = faithful_model(dymn, synthesize(dymn))
    own = model(unseen())["logits"]
    attention = DynamicConv.attention
    monkeypatch.setattr(DynamicConv, "attention", lambda conv, context: attention(conv, context.roll(1, 0)))
    another = model(unseen())["logits"]
    assert (another - own).abs().max() > 1


@pytest.mark.slow
def test_behaviour_of_every_variant(variant: Callable[..., Variant], published: dict) -> None:
    for name in published:
        check(variant(name))


@pytest.mark.parametrize("name", ["mn01_as", "dymn04_as"])
def test_weights_are_the_same_on_every_run_and_for_either_input(variant: Callable[..., Variant], name: str) -> None:
    state, again = synthesize(variant(name)), synthesize(variant(name, "melspec"))
    assert list(state) == list(again)
    for key, tensor in state.items():
        assert tensor.numpy().tobytes() == again[key].numpy().tobytes(), key


def test_weights_have_the_published_layout(variant: Callable[..., Variant], stand_in: Callable) -> None:
    for name in ("mn04_as", "dymn04_as"):
        real = torch.load(stand_in(name), weights_only=True)
        made = synthesize(variant(name))
        assert {key: (tensor.shape, tensor.dtype) for key, tensor in made.items()} == {
            key: (tensor.shape, tensor.dtype) for key, tensor in real.items()
        }
