"""Random numbers (coremltools `iOS15/random.py`): right in shape, type and distribution, not in sequence.

Core ML does not document its generators, so the draws themselves differ from a device's. A seed of 0 or more makes
every call repeat itself; -1, the default, draws anew.
"""

import torch
from torch import Tensor

from validators.coreml.registry import ints, kernel


def _generator(seed: Tensor | None) -> torch.Generator | None:
    if seed is None or int(seed) < 0:
        return None
    return torch.Generator().manual_seed(int(seed))


@kernel("random_bernoulli")
def random_bernoulli(*, shape: Tensor, prob: Tensor | None = None, seed: Tensor | None = None) -> Tensor:
    """Ones with probability `prob` (0.5), else zeros."""
    chance = 0.5 if prob is None else float(prob)
    return (torch.rand(ints(shape), generator=_generator(seed)) < chance).float()


@kernel("random_uniform")
def random_uniform(
    *, shape: Tensor, low: Tensor | None = None, high: Tensor | None = None, seed: Tensor | None = None
) -> Tensor:
    """Uniform on [low, high), by default [0, 1)."""
    start, end = 0.0 if low is None else float(low), 1.0 if high is None else float(high)
    return start + (end - start) * torch.rand(ints(shape), generator=_generator(seed))


@kernel("random_normal")
def random_normal(
    *, shape: Tensor, mean: Tensor | None = None, stddev: Tensor | None = None, seed: Tensor | None = None
) -> Tensor:
    """Normal with `mean` (0) and `stddev` (1)."""
    center, width = 0.0 if mean is None else float(mean), 1.0 if stddev is None else float(stddev)
    return center + width * torch.randn(ints(shape), generator=_generator(seed))


@kernel("random_categorical")
def random_categorical(
    *, x: Tensor, mode: str = "logits", size: Tensor | None = None, seed: Tensor | None = None
) -> Tensor:
    """`size` indices per distribution along the last dimension of `x`, drawn with replacement."""
    if mode not in ("logits", "probs"):
        raise ValueError(f"mode {mode!r} is not logits or probs")
    weights = torch.softmax(x, dim=-1) if mode == "logits" else x
    count = 1 if size is None else int(size)
    drawn = torch.multinomial(weights.reshape(-1, x.shape[-1]), count, replacement=True, generator=_generator(seed))
    return drawn.reshape(*x.shape[:-1], count).float()
