"""The published EfficientAT files, plain state dicts, and fine-tuned ones, which may hold NumPy numbers beside it."""

from pathlib import Path

from torch import Tensor

from recipes.base import checkpoint, weights
from recipes.base.recipe import Checkpoint
from recipes.base.spec import Variant


def read(path: Path, variant: Variant) -> Checkpoint:
    """The state dict in a file; raises UserError for anything else."""
    return Checkpoint(weights.read(path, skipped=checkpoint.NUMPY), path, variant)


def classes(state: dict[str, Tensor]) -> int | None:
    """As many as the last layer of either head has biases; None where there is no such layer."""
    biases = (state.get("classifier.5.bias"), state.get("classifier.1.bias"))
    return next((len(bias) for bias in biases if bias is not None and bias.ndim == 1), None)
