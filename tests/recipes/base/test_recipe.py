from pathlib import Path

import pytest
import torch
from torch import Tensor

from recipes.base import config, recipe
from recipes.base.errors import UserError


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return recipe.load("pann").build(config.find("pann")).state_dict()


def refusal(state: dict[str, Tensor]) -> str:
    with pytest.raises(UserError) as caught:
        recipe.faithful_model(config.find("pann"), state)
    message = str(caught.value)
    assert "do not fit mobilenetv1" in message
    assert "another variant" in message
    assert "\n" not in message
    return message


def test_ready_for_use(state: dict[str, Tensor]) -> None:
    model = recipe.faithful_model(config.find("pann"), {name: tensor + 1 for name, tensor in state.items()})
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(model.state_dict()["fc1.bias"], state["fc1.bias"] + 1)


def test_missing(state: dict[str, Tensor]) -> None:
    message = refusal({name: tensor for name, tensor in state.items() if name != "fc1.bias"})
    assert "1 missing: fc1.bias." in message
    assert "unexpected" not in message


def test_unexpected(state: dict[str, Tensor]) -> None:
    assert "1 unexpected: fc2.bias." in refusal({**state, "fc2.bias": torch.ones(1)})


def test_of_another_shape(state: dict[str, Tensor]) -> None:
    message = refusal({**state, "fc_audioset.bias": torch.ones(50)})
    assert "1 of another shape: fc_audioset.bias (50,) instead of (527,)." in message


def test_few_of_many_names_are_shown(state: dict[str, Tensor]) -> None:
    message = refusal({f"module.{name}": tensor for name, tensor in state.items()})
    assert f"{len(state)} missing: " in message
    assert f"; {len(state)} unexpected: module." in message
    assert f" and {len(state) - 4} more" in message
    assert len(message) < 1000


def test_classes_are_counted_by_a_bias_alone() -> None:
    classes = recipe.load("efficientat").classes
    assert classes({"classifier.5.bias": torch.ones(7)}) == 7
    assert classes({"classifier.1.bias": torch.ones(8)}) == 8
    for bias in (torch.tensor(1.0), torch.ones(3, 4)):
        assert classes({"classifier.5.bias": bias}) is None
    assert classes({}) is None


def test_build_asks_the_variant() -> None:
    variant = config.find("pann").with_classes(3)
    assert recipe.load("pann").build(variant).state_dict()["fc_audioset.bias"].shape == (3,)


def test_no_such_family() -> None:
    with pytest.raises(ModuleNotFoundError):
        recipe.load("nothing")


def test_configurations_need_no_pytorch() -> None:
    """Listing what there is takes no two seconds of imports."""
    from subprocess import run
    from sys import executable

    code = "import sys; from recipes.base import config, recipe; config.variants(); print('torch' in sys.modules)"
    root = Path(recipe.__file__).parents[2]
    assert run([executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout == "False\n"
