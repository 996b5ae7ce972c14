"""The classifier head (coremltools `iOS15/classify.py`)."""

from torch import Tensor

from validators.coreml.registry import kernel


@kernel("classify")
def classify(*, probabilities: Tensor, classes: list[str] | list[int]) -> tuple[str | int, dict[str | int, float]]:
    """The most probable class, the first of equals, and the probability of each class."""
    flat = probabilities.reshape(-1)
    labels = [name if isinstance(name, str) else int(name) for name in classes]
    return labels[int(flat.argmax())], dict(zip(labels, flat.tolist(), strict=True))
