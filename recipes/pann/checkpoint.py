"""The published PANN file, {"iteration", "model", "sampler"}, or a bare state dict."""

from pathlib import Path

from torch import Tensor

from recipes.base import checkpoint
from recipes.base.spec import Variant


def read(path: Path, _variant: Variant) -> dict[str, Tensor]:
    """The state dict in a published file or in one's own; the training sampler's NumPy arrays are not rebuilt.

    Raises UserError for anything else.
    """
    return checkpoint.state_dict(checkpoint.read(path, skipped=checkpoint.NUMPY), path)
