"""What is timed beside the front ends computes the same as they do."""

import numpy as np
import pytest
import torch

from benchmarks import logmel
from benchmarks.published import FRONT_ENDS, with_front_end
from recipes.base.config import find
from recipes.base.recipe import faithful_model, load
from recipes.base.sound import rich


@pytest.mark.parametrize("name", ["mobilenetv1", "mn04_as"])
def test_other_libraries_compute_the_same_spectrogram(name: str) -> None:
    variant = find(name)
    model = faithful_model(variant, load(variant.family).synthesize(variant))
    sound = np.stack([rich(33333, variant.sample_rate, seed) for seed in range(2)])
    numbers = logmel.of(variant)
    assert numbers is not None
    with torch.inference_mode():
        expected = model(torch.from_numpy(sound))["melspec"].numpy()
        by_torch = logmel.ByTorch(numbers)(torch.from_numpy(sound)).numpy()
    # In dB, or a fifth of a natural logarithm.
    bound = 2e-3 if name == "mobilenetv1" else 2e-4
    assert by_torch.shape == expected.shape
    assert np.abs(by_torch - expected).max() < bound
    assert np.abs(numbers.by_librosa(sound) - expected).max() < bound


# The authors' code has it so, and it is what exports: ONNX has no complex numbers.
@pytest.mark.filterwarnings("ignore:stft with return_complex=False is deprecated")
@pytest.mark.parametrize("form", FRONT_ENDS)
def test_the_authors_form_of_a_front_end_gives_the_recipe_s_answers(form: str) -> None:
    variant = find("mn04_as")
    model = faithful_model(variant, load(variant.family).synthesize(variant))
    sound = torch.from_numpy(rich(33333, variant.sample_rate, 0)[None])
    changed = with_front_end(model, variant.sample_rate, form)
    with torch.inference_mode():
        expected, found = model(sound), changed(sound)
    assert (found["melspec"] - expected["melspec"]).abs().max() < 2e-4
    assert (found["logits"] - expected["logits"]).abs().max() < 2e-4
    assert type(model.front_end) is not type(changed.front_end)


def test_a_network_without_a_choice_stays_as_it_is() -> None:
    variant = find("eat_s_speechcommands")
    model = load(variant.family).build(variant)
    assert logmel.of(variant) is None
    assert with_front_end(model, variant.sample_rate, "stft") is model
