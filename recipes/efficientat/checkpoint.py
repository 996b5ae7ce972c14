"""The published EfficientAT files and fine-tuned ones: plain state dicts."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from recipes.base import checkpoint, spec
from recipes.efficientat.spec import Variant

# The tensor that has one number for each class.
_CLASSES_IN = {"mlp": "classifier.5.bias", "fully_convolutional": "classifier.1.bias"}


def read(path: Path, _variant: spec.Variant) -> dict[str, Tensor]:
    """The state dict in a file; raises UserError for anything else."""
    return checkpoint.state_dict(checkpoint.read(path), path)


def fit(variant: Variant, state: dict[str, Tensor]) -> Variant:
    """The variant with as many classes as these weights have, in its outputs too.

    Fine-tuned checkpoints differ from the published ones in nothing else. Where the tensor that tells is missing, the
    variant stays as it is, and loading the weights says what they lack.
    """
    bias = state.get(_CLASSES_IN[variant.head])
    if bias is None or bias.ndim != 1:
        return variant
    classes = len(bias)
    outputs = tuple(
        replace(output, axes=(*output.axes[:-1], classes)) if output.kind in ("probability", "logit") else output
        for output in variant.outputs
    )
    return replace(variant, classes=classes, outputs=outputs)
