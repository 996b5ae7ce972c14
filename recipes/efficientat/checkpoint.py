"""The published EfficientAT files, plain state dicts, and fine-tuned ones, which may hold NumPy numbers beside it."""

from pathlib import Path

from recipes.base import checkpoint, weights
from recipes.base.recipe import Checkpoint
from recipes.base.spec import Variant


def read(path: Path, variant: Variant) -> Checkpoint:
    """The state dict in a file; raises UserError for anything else."""
    return Checkpoint(weights.read(path, skipped=checkpoint.NUMPY), path, variant)
