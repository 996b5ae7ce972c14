"""What class scores mean."""

import numpy as np


def probabilities(scores: np.ndarray, kind: str | None) -> np.ndarray:
    """Of scores of a kind (`recipes.base.tensor.Kind`), along the last axis; what is no logit stays as it is."""
    if kind == "logit":
        return np.asarray(1 / (1 + np.exp(-np.clip(scores, -500, 500))))
    if kind == "multiclass_logit":
        odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=-1, keepdims=True))
    return scores
