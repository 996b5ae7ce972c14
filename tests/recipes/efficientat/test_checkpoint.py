"""Published files, and what users make of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from recipes.base.errors import UserError
from recipes.base.recipe import faithful_model
from recipes.efficientat import checkpoint
from recipes.efficientat.model import build
from recipes.efficientat.recipe import RECIPE
from recipes.efficientat.spec import Variant


@pytest.mark.parametrize("name", ["mn01_as", "mn10_as_fc", "dymn04_as"])
@pytest.mark.parametrize("classes", [1, 10, 50, 1000])
def test_fine_tuned_class_counts(variant: Callable[..., Variant], tmp_path: Path, name: str, classes: int) -> None:
    asked = variant(name)
    torch.save(build(asked.with_classes(classes)).state_dict(), tmp_path / "tuned.pt")

    state = checkpoint.read(tmp_path / "tuned.pt", asked).state
    assert RECIPE.classes(state) == classes
    outputs = faithful_model(asked.with_classes(classes), state)(torch.zeros(1, 32000))
    assert outputs["logits"].shape == (1, classes)


def test_published_files_have_the_classes_of_audioset(
    variant: Callable[..., Variant], stand_in: Callable[[str], Path]
) -> None:
    for name in ("mn04_as", "dymn04_as"):
        assert RECIPE.classes(checkpoint.read(stand_in(name), variant(name)).state) == 527


def test_weights_of_another_variant_are_refused_by_name(
    variant: Callable[..., Variant], stand_in: Callable[[str], Path]
) -> None:
    for name in ("mn05_as", "dymn04_as", "mn10_as_fc"):
        asked = variant(name)
        state = checkpoint.read(stand_in("mn04_as"), asked).state
        with pytest.raises(UserError, match=f"do not fit {name}"):
            faithful_model(asked, state)


def test_a_trunk_without_its_head_is_refused(variant: Callable[..., Variant], stand_in: Callable[[str], Path]) -> None:
    asked = variant("mn04_as")
    state = checkpoint.read(stand_in("mn04_as"), asked).state
    del state["classifier.5.bias"]
    assert RECIPE.classes(state) is None
    with pytest.raises(UserError, match=r"1 missing: classifier\.5\.bias"):
        faithful_model(asked, state)
