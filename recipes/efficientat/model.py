"""The model that a configuration asks for."""

from recipes.efficientat.dymn import DyMN
from recipes.efficientat.mn import MN
from recipes.efficientat.network import Network
from recipes.efficientat.spec import Variant


def build(variant: Variant) -> Network:
    """In evaluation mode, its weights not set."""
    network = DyMN if variant.dynamic else MN
    return network(variant).eval()
