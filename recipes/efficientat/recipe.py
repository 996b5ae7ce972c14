"""EfficientAT for the rest of the project."""

from torch import Tensor, nn

from recipes.base import spec
from recipes.base.recipe import HostFrontEnd, Recipe
from recipes.efficientat import checkpoint, frontend, model, synthetic
from recipes.efficientat.spec import Variant


def build(variant: spec.Variant) -> nn.Module:
    assert isinstance(variant, Variant)
    return model.build(variant)


def synthesize(variant: spec.Variant) -> dict[str, Tensor]:
    assert isinstance(variant, Variant)
    return synthetic.synthesize(variant)


def front_end(variant: spec.Variant) -> HostFrontEnd:
    assert isinstance(variant, Variant)
    return frontend.host_front_end(variant)


RECIPE = Recipe(
    family="efficientat",
    build=build,
    read_checkpoint=checkpoint.read,
    # Of either head.
    biases=("classifier.5.bias", "classifier.1.bias"),
    synthesize=synthesize,
    front_end=front_end,
)
