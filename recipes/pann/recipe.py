"""PANN MobileNetV1 for the rest of the project."""

from torch import nn

from recipes.base.recipe import Recipe
from recipes.base.spec import Variant
from recipes.pann import checkpoint
from recipes.pann.model import MobileNetV1
from recipes.pann.synthetic import synthesize


def build(variant: Variant) -> nn.Module:
    return MobileNetV1(variant.front_end, variant.classes).eval()


RECIPE = Recipe(family="pann", build=build, read_checkpoint=checkpoint.read, synthesize=synthesize)
