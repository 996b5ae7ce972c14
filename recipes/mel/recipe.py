"""Log-mel front ends for the rest of the project: a family without a checkpoint."""

from collections.abc import Iterator

from torch import nn

from recipes.base import spec
from recipes.base.recipe import HostFrontEnd, Recipe
from recipes.mel import chunks, constants, host
from recipes.mel.model import Model
from recipes.mel.spec import Variant


def build(variant: spec.Variant) -> nn.Module:
    assert isinstance(variant, Variant)
    return Model(variant).eval()


def front_end(variant: spec.Variant) -> HostFrontEnd:
    assert isinstance(variant, Variant)
    return host.front_end(variant)


def doubts(variant: spec.Variant) -> Iterator[str]:
    """Bands that hear nothing, which most libraries warn of too."""
    assert isinstance(variant, Variant)
    if empty := constants.empty_bands(constants.bank(variant)):
        listed = ", ".join(map(str, empty))
        yield (
            f"mel bands without any bin of the DFT, which are silent whatever sounds: {listed} (of "
            f"{variant.front_end.n_mels}); choose a greater n_fft, fewer n_mels or a greater fmin"
        )


def streaming(variant: spec.Variant, frames: int) -> tuple[spec.Variant, nn.Module]:
    assert isinstance(variant, Variant)
    fed = chunks.fed_chunks(variant, frames)
    return fed, Model(chunks.of_blocks(variant), fed.input.stream).eval()


RECIPE = Recipe(family="mel", build=build, front_end=front_end, doubts=doubts, streaming=streaming)
