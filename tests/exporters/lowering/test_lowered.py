"""Whole models: the lowered form gives the faithful model's answers, and says what was done to it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from exporters.lowering import REWRITES, Applied, LoweringError, lowered, shipped
from exporters.onnx.export import export
from recipes.base.config import find
from recipes.base.recipe import faithful_model, load
from recipes.base.sound import noise, rich, square
from validators.runners import onnxruntime
from validators.runners.pytorch import answers

NAMES = ("mobilenetv1", "mn04_as", "dymn04_as", "eat_s_speechcommands")


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest) -> tuple[Any, nn.Module]:
    variant = find(request.param)
    return variant, faithful_model(variant, load(variant.family).synthesize(variant))


def sounds(variant: Any) -> dict[str, np.ndarray]:
    rate, least = variant.sample_rate, variant.input.least
    if variant.input.fixed:
        shape = partial(variant.input.shape, size=least)
        return {
            "rich": np.stack([rich(least, rate, seed) for seed in (1, 2)]).reshape(shape(2)),
            "silence": np.zeros(shape(1), np.float32),
            "full scale": square(least, rate).reshape(shape(1)),
        }
    short = max(least, 3200)
    return {
        "rich": np.stack([rich(short + 401, rate, seed) for seed in (1, 2, 3)]),
        "silence": np.zeros((2, short + 320), np.float32),
        "full scale": square(short + 319, rate)[None],
        "faint": noise(short + 777, 1e-4)[None],
        "least": rich(least, rate, 4)[None],
        "one sample more": np.stack([rich(least + 1, rate, seed) for seed in (5, 6)]),
    }


# In float64 what is left is that the published kernels of the DFT are rounded to float32 and the lowered ones are
# rounded elsewhere; the melspec, a logarithm, shows it at its quietest places. Relative to the greatest value.
@pytest.mark.parametrize(("kind", "bound"), [(torch.float64, 2e-6), (torch.float32, 2e-5)], ids=["float64", "float32"])
def test_the_answers_are_those_of_the_faithful_model(
    model: tuple[Any, nn.Module], kind: torch.dtype, bound: float
) -> None:
    variant, faithful = model
    faithful = load(variant.family).build(variant).to(kind).requires_grad_(False)
    faithful.load_state_dict(model[1].state_dict())
    done = lowered(faithful, variant)
    before = shipped(faithful, variant)
    for case, sound in sounds(variant).items():
        x = torch.from_numpy(sound).to(kind)
        for output, expected, found in zip(variant.outputs, before(x), done.module(x), strict=True):
            assert found.shape == expected.shape
            assert found.dtype == expected.dtype
            assert (found - expected).abs().max() <= bound * expected.abs().max(), (case, output.name)


def test_without_rounded_kernels_the_answers_are_the_same_to_float64(model: tuple[Any, nn.Module]) -> None:
    """All that is left in float64 comes from the DFT."""
    variant, faithful = model
    faithful = load(variant.family).build(variant).double().requires_grad_(False)
    faithful.load_state_dict(model[1].state_dict())
    others = {name: rewrite for name, rewrite in REWRITES.items() if name != "factorise-dft"}
    module = lowered(faithful, variant, others).module
    x = torch.from_numpy(sounds(variant)["rich"]).double()
    for expected, found in zip(shipped(faithful, variant)(x), module(x), strict=True):
        assert (found - expected).abs().max() <= 1e-11 * expected.abs().max()


def test_each_rewrite_is_listed_with_its_place(model: tuple[Any, nn.Module]) -> None:
    variant, faithful = model
    applied = lowered(faithful, variant).applied
    counts = Counter(step.rewrite for step in applied)
    expected = {
        "mobilenetv1": {"fold-norms": 27, "merge-pools": 5, "pool-means": 1, "carry-axes": 29, "factorise-dft": 1},
        "mn04_as": {"fold-norms": 46, "factorise-dft": 1},
        "dymn04_as": {"fold-norms": 17, "pool-means": 15, "factorise-dft": 1},
        "eat_s_speechcommands": {"fold-norms": 22, "as-images": 36, "recompute-edges": 1, "drop-positions": 1},
    }
    assert counts == expected[variant.name]
    places = [step.place for step in applied]
    assert len(set(zip([step.rewrite for step in applied], places, strict=True))) == len(applied)
    parts = dict(faithful.named_modules())
    for step in applied:
        if step.rewrite == "fold-norms":
            assert all(part in parts for part in step.place.split(" into ")), step.place


def test_the_faithful_model_is_not_changed(model: tuple[Any, nn.Module]) -> None:
    variant, faithful = model
    before = {name: value.clone() for name, value in faithful.state_dict().items()}
    layers = list(faithful.modules())
    lowered(faithful, variant)
    after = faithful.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert list(faithful.modules()) == layers


def test_a_network_that_is_fed_its_melspec_is_lowered_too() -> None:
    variant = find("mn04_as").fed_by("melspec")
    faithful = faithful_model(variant, load(variant.family).synthesize(find("mn04_as")))
    done = lowered(faithful, variant)
    assert {step.rewrite for step in done.applied} == {"fold-norms"}
    x = torch.randn(2, 1, 128, 61)
    for expected, found in zip(shipped(faithful, variant)(x), done.module(x), strict=True):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_hop_without_factors_is_exported_too() -> None:
    """In the oldest opset, with the bins that no band weighs left out."""
    variant = find("mobilenetv1")
    state = load(variant.family).synthesize(variant)
    variant = replace(
        variant, front_end=replace(variant.front_end, hop_length=321), input=replace(variant.input, least=321 * 31)
    )
    faithful = faithful_model(variant, state)
    done = lowered(faithful, variant)
    assert [step for step in done.applied if step.rewrite in ("drop-bins", "factorise-dft")] == [
        Applied("drop-bins", "spectrogram_extractor.stft.conv_real: 446 of 513")
    ]
    graph = onnxruntime.open_model(export(done.module, variant, 13).SerializeToString())
    inputs = {"waveform": np.stack([rich(12345, variant.sample_rate, seed) for seed in (1, 2)])}
    outputs = graph.run(inputs)
    for name, expected in answers(faithful, inputs).items():
        assert np.abs(outputs[name] - expected).max() <= 1e-5 * np.abs(expected).max(), name


def test_the_same_model_is_lowered_to_the_same_numbers() -> None:
    variant = find("mn04_as")
    faithful = faithful_model(variant, load(variant.family).synthesize(variant))
    first, second = lowered(faithful, variant), lowered(faithful, variant)
    assert first.applied == second.applied
    states = first.module.state_dict(), second.module.state_dict()
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(one, other) for one, other in zip(*(state.values() for state in states), strict=True))


def test_bands_without_a_bin_are_lowered_too() -> None:
    """256 bands are more than the lowest bins."""
    variant = find("mn10_as_mels_256")
    faithful = faithful_model(variant, load(variant.family).synthesize(variant))
    x = torch.from_numpy(rich(variant.sample_rate, variant.sample_rate, 1))[None]
    for output, expected, found in zip(
        variant.outputs, shipped(faithful, variant)(x), lowered(faithful, variant).module(x), strict=True
    ):
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max(), output.name


def test_an_axis_that_is_one_for_short_sounds_is_of_no_known_size() -> None:
    variant = find("dymn04_as")
    state = load(variant.family).synthesize(variant)
    variant = replace(variant, front_end=replace(variant.front_end, hop_length=800))
    faithful = faithful_model(variant, state)
    x = torch.from_numpy(rich(variant.sample_rate * 2, variant.sample_rate, 1))[None]
    for expected, found in zip(shipped(faithful, variant)(x), lowered(faithful, variant).module(x), strict=True):
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_a_rewrite_that_fails_is_named() -> None:
    def broken(_: object) -> Iterator[str]:
        raise KeyError("shape")
        yield ""

    variant = find("mn04_as")
    with pytest.raises(LoweringError, match="the rewrite broken failed: KeyError"):
        lowered(faithful_model(variant, load(variant.family).synthesize(variant)), variant, {"broken": broken})
