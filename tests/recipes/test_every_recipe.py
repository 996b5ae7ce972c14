"""What holds for each variant that has a configuration; a new one is taken up by its YAML file alone."""

from dataclasses import asdict
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from recipes.base import config, recipe, sound
from recipes.base.errors import UserError
from recipes.base.spec import Variant
from recipes.eat import spec as eat

HERE = Path(__file__).parent


def _takes_long(variant: Variant) -> bool:
    """Whether its weights take seconds to make: the wide ones, and EAT of middle size or more than two seconds."""
    if isinstance(variant, eat.Variant):
        return variant.name.startswith("eat_m") or variant.sizes.seq_len > 2 * variant.sample_rate
    return getattr(variant, "width", 0) >= 2


def _of_each() -> list[object]:
    """All variants; those whose weights take seconds to make are left to `make test-all`."""
    return [
        pytest.param(variant, id=variant.name, marks=[pytest.mark.slow] if _takes_long(variant) else [])
        for variant in config.variants()
    ]


def test_every_folder_of_configurations_is_a_recipe_with_tests() -> None:
    families = {entry.name for entry in resources.files("configs").iterdir() if any_yaml(entry)}
    assert families == {variant.family for variant in config.variants()}
    for family in families:
        assert recipe.load(family).family == family
        assert list((HERE / family).glob("test_*.py")), f"tests/recipes/{family} has no tests"


def any_yaml(entry: object) -> bool:
    return isinstance(entry, Path) and entry.is_dir() and any(entry.glob("*.yaml"))


def test_every_recipe_has_configurations() -> None:
    written = {entry.parent.name for entry in (HERE.parents[1] / "recipes").glob("*/recipe.py")} - {"base"}
    assert written == {variant.family for variant in config.variants()}


@pytest.fixture(scope="module", params=_of_each())
def variant(request: pytest.FixtureRequest) -> Variant:
    """Each in turn: all tests of one before those of the next, so that its weights are made once."""
    return request.param


@pytest.fixture(scope="module")
def state(variant: Variant) -> dict[str, Tensor]:
    """Its synthetic weights."""
    return recipe.load(variant.family).synthesize(variant)


@pytest.mark.slow
def test_synthetic_weights_are_the_same_for_any_number_of_threads(variant: Variant, state: dict[str, Tensor]) -> None:
    _made_with_other_threads(variant, state)


@pytest.mark.parametrize("name", ["mobilenetv1", "dymn04_as", "eat_s_speechcommands"])
def test_those_of_some_are_always_compared(name: str) -> None:
    variant = config.find(name)
    _made_with_other_threads(variant, recipe.load(variant.family).synthesize(variant))


def _made_with_other_threads(variant: Variant, state: dict[str, Tensor]) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        changed = torch.get_num_threads()
        again = recipe.load(variant.family).synthesize(variant)
        assert torch.get_num_threads() == changed
    finally:
        torch.set_num_threads(threads)
    assert list(again) == list(state)
    for name, tensor in state.items():
        assert tensor.numpy().tobytes() == again[name].numpy().tobytes(), name


def test_outputs_are_what_the_configuration_says(variant: Variant, state: dict[str, Tensor]) -> None:
    model = recipe.faithful_model(variant, state)
    longer = min(variant.input.least + 12345, variant.input.most)
    for batch, samples in ((1, variant.input.least), (3, longer)):
        sounds = [sound.rich(samples, variant.sample_rate, seed) for seed in range(batch)]
        outputs = model(torch.from_numpy(np.stack(sounds).reshape(variant.input.shape(batch, samples))))
        assert list(outputs) == [output.name for output in variant.outputs]
        sizes: dict[str, int] = {"batch": batch}
        for output in variant.outputs:
            tensor = outputs[output.name]
            assert tensor.dtype == torch.float32
            assert tensor.ndim == len(output.axes)
            for axis, size in zip(output.axes, tensor.shape, strict=True):
                assert size == (axis if isinstance(axis, int) else sizes.setdefault(axis, size)), output.name
            assert torch.isfinite(tensor).all()
            if output.kind == "probability":
                assert 0 <= tensor.min() <= tensor.max() <= 1


def _file_of_weights(_: Variant, state: dict[str, Tensor], folder: Path) -> Path:
    torch.save(state, folder / "weights.pt")
    return folder / "weights.pt"


def _training_run(variant: Variant, state: dict[str, Tensor], folder: Path) -> Path:
    assert isinstance(variant, eat.Variant)
    sizes = asdict(variant.sizes) | {"ds_factors": list(variant.sizes.ds_factors)}
    told = sizes | {"sampling_rate": variant.sample_rate, "dataset": variant.labels}
    (folder / "args.yml").write_text(yaml.safe_dump(told), encoding="utf-8")
    torch.save({"model_dict": state}, folder / "chkpnt.pt")
    return folder


# What a family's users have, where that is more than a file of the weights alone.
WRITERS = {"eat": _training_run}


def test_a_file_of_the_weights_can_be_read_back(variant: Variant, state: dict[str, Tensor], tmp_path: Path) -> None:
    if not variant.trained:
        assert not state
        with pytest.raises(UserError, match="has no weights, and needs no checkpoint"):
            recipe.load(variant.family).read_checkpoint(tmp_path, variant)
        return
    path = WRITERS.get(variant.family, _file_of_weights)(variant, state, tmp_path)
    read = recipe.load(variant.family).read_checkpoint(path, variant)
    assert read.variant == variant
    assert read.file.is_file()
    assert list(read.state) == list(state)
    assert all(torch.equal(read.state[name], tensor) for name, tensor in state.items())
