"""Synthetic weights have to excite a conversion as trained ones do."""

import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recipes.base import config, sound
from recipes.base.calibration import calibration_sound
from recipes.base.recipe import faithful_model
from recipes.pann.frontend import dft_kernels, mel_matrix
from recipes.pann.synthetic import synthesize

VARIANT = config.find("pann")
RATE = VARIANT.sample_rate


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return synthesize(VARIANT)


@pytest.fixture(scope="module")
def model(state: dict[str, Tensor]) -> nn.Module:
    return faithful_model(VARIANT, state)


def inputs_of(model: nn.Module, kind: type[nn.Module], waveform: Tensor) -> dict[str, Tensor]:
    """What the last call of each layer of that kind is given, by the layer's name."""
    seen: dict[str, Tensor] = {}
    handles = [
        module.register_forward_pre_hook(lambda _module, given, name=name: seen.__setitem__(name, given[0]))
        for name, module in model.named_modules()
        if isinstance(module, kind)
    ]
    model(waveform)
    for handle in handles:
        handle.remove()
    return seen


def test_under_five_seconds() -> None:
    start = time.process_time()
    synthesize(VARIANT)
    assert time.process_time() - start < 5


def test_float32_and_finite(state: dict[str, Tensor]) -> None:
    floats = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert {tensor.dtype for tensor in floats.values()} == {torch.float32}
    assert all(torch.isfinite(tensor).all() for tensor in floats.values())


def test_front_end_is_exact(state: dict[str, Tensor]) -> None:
    real, imaginary = dft_kernels(VARIANT.front_end)
    np.testing.assert_array_equal(state["spectrogram_extractor.stft.conv_real.weight"], real)
    np.testing.assert_array_equal(state["spectrogram_extractor.stft.conv_imag.weight"], imaginary)
    np.testing.assert_array_equal(state["logmel_extractor.melW"], mel_matrix(VARIANT.front_end, RATE))


def test_no_two_tensors_are_drawn_alike(state: dict[str, Tensor]) -> None:
    drawn = [tensor for name, tensor in state.items() if tensor.ndim > 1 and "stft" not in name]
    starts = [tuple((tensor.flatten()[:4] / tensor.flatten()[0]).tolist()) for tensor in drawn]
    assert len(set(starts)) == len(starts)


def test_every_norm_sees_what_it_was_told(model: nn.Module) -> None:
    waveform = calibration_sound(RATE, seconds=1).float()
    norms = dict(model.named_modules())
    seen = inputs_of(model, nn.BatchNorm2d, waveform)
    assert len(seen) == 1 + 1 + 2 * 13
    for name, x in seen.items():
        norm = norms[name]
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        deviation = (norm.running_var + norm.eps).sqrt()
        torch.testing.assert_close((mean - norm.running_mean) / deviation, torch.zeros_like(mean), rtol=0, atol=1e-3)
        torch.testing.assert_close((variance + norm.eps).sqrt() / deviation, torch.ones_like(mean), rtol=0, atol=1e-3)


def test_no_layer_is_dead(model: nn.Module) -> None:
    """On sounds that calibrated nothing: after each ReLU some values are zero and most are not, no channel is all zero,
    and what goes into each layer is neither faint nor loud.
    """
    waveform = torch.from_numpy(np.stack([sound.rich(2 * RATE, RATE, seed) for seed in range(100, 104)]))
    activations = inputs_of(model, nn.Conv2d, waveform) | inputs_of(model, nn.Linear, waveform)
    assert len(activations) == 1 + 2 * 13 + 2
    for name, x in activations.items():
        assert 0.3 < x.std() < 2, name
        if name not in ("features.0.0", "fc1"):  # Those two see no ReLU's output, but the norm's and sums.
            assert 0.05 < (x == 0).float().mean() < 0.6, name
        if x.ndim == 4:
            assert (x.amax(dim=(0, 2, 3)) > 0).all(), name


def scores(model: nn.Module, waveform: np.ndarray) -> np.ndarray:
    return model(torch.from_numpy(waveform)[None])["clipwise"][0].numpy()


def test_probabilities_are_spread(model: nn.Module) -> None:
    clips = np.stack([scores(model, sound.rich(2 * RATE, RATE, seed)) for seed in range(100, 108)])
    assert (clips < 0.05).mean() > 0.8
    assert 0.002 < (clips > 0.3).mean() < 0.05
    assert (clips.max(axis=1) > 0.2).all()
    assert (clips > 0.999).mean() < 0.01
    assert (clips < 1e-6).mean() < 0.01
    # Different sounds, different classes in front.
    assert len(set(clips.argmax(axis=1))) >= 3
    assert len({tuple(np.argsort(-clip)[:5]) for clip in clips}) == len(clips)


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(2 * RATE, np.float32),
        np.ones(2 * RATE, np.float32),
        sound.square(2 * RATE, RATE),
        sound.impulse(2 * RATE),
        sound.noise(2 * RATE, 1.0),
        sound.noise(2 * RATE, 1e-4),
    ],
    ids=["silence", "constant", "square", "impulse", "loud noise", "faint noise"],
)
def test_extremes_stay_sane(waveform: np.ndarray, model: nn.Module) -> None:
    outputs = model(torch.from_numpy(waveform)[None])
    assert all(torch.isfinite(value).all() for value in outputs.values())
    assert outputs["embedding"].max() < 20
    clipwise = outputs["clipwise"][0]
    assert 0.95 < (clipwise < 0.5).float().mean() < 1
    assert len(clipwise.unique()) > 500
