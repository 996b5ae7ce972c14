"""PANN MobileNetV1 for the rest of the project."""

from torch import Tensor, nn

from recipes.base import spec
from recipes.base.recipe import Recipe
from recipes.pann import checkpoint, synthetic
from recipes.pann.model import MobileNetV1
from recipes.pann.spec import Variant


def build(variant: spec.Variant) -> nn.Module:
    assert isinstance(variant, Variant)
    return MobileNetV1(variant.front_end, variant.classes).eval()


def synthesize(variant: spec.Variant) -> dict[str, Tensor]:
    assert isinstance(variant, Variant)
    return synthetic.synthesize(variant)


RECIPE = Recipe(
    family="pann",
    build=build,
    read_checkpoint=checkpoint.read,
    biases=("fc_audioset.bias",),
    synthesize=synthesize,
)
