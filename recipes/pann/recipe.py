"""PANN MobileNetV1 for the rest of the project."""

from torch import Tensor, nn

from recipes.base.recipe import Recipe
from recipes.base.spec import Variant
from recipes.pann import checkpoint
from recipes.pann.model import MobileNetV1
from recipes.pann.synthetic import synthesize


def build(variant: Variant) -> nn.Module:
    return MobileNetV1(variant.front_end, variant.classes).eval()


def classes(state: dict[str, Tensor]) -> int | None:
    bias = state.get("fc_audioset.bias")
    return None if bias is None else len(bias)


RECIPE = Recipe(family="pann", build=build, read_checkpoint=checkpoint.read, classes=classes, synthesize=synthesize)
