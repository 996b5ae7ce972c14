"""The published PANN file, {"iteration", "model", "sampler"}, or a bare state dict."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from recipes.base import checkpoint
from recipes.base.errors import UserError
from recipes.base.spec import Variant


def read(path: Path, _variant: Variant) -> dict[str, Tensor]:
    """The state dict in a published file or in one's own; the training sampler's NumPy arrays are not rebuilt.

    Raises UserError for anything else.
    """
    tree = checkpoint.read(path, skipped=checkpoint.NUMPY)
    if isinstance(tree, Mapping) and ("iteration" in tree or "sampler" in tree) and "model" not in tree:
        raise UserError(f"{path}: is a training checkpoint without its entry 'model'; give one that has the weights")
    return checkpoint.state_dict(tree, path)
