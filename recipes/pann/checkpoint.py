"""The published PANN file, {"iteration", "model", "sampler"}, or a bare state dict."""

from pathlib import Path

from recipes.base import checkpoint, weights
from recipes.base.recipe import Checkpoint
from recipes.base.spec import Variant


def read(path: Path, variant: Variant) -> Checkpoint:
    """The state dict in a published file or in one's own; the training sampler's NumPy arrays are not rebuilt.

    Raises UserError for anything else.
    """
    return Checkpoint(weights.read(path, skipped=checkpoint.NUMPY), path, variant)
