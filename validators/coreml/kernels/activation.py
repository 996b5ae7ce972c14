"""Activations (coremltools `iOS15/activation.py`; iOS 17 only frees the types of `alpha` and `beta`)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from validators.coreml.registry import kernel


@kernel("clamped_relu")
def clamped_relu(*, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.minimum(torch.where(x >= 0, x, alpha * x), beta)


@kernel("elu")
def elu(*, x: Tensor, alpha: Tensor) -> Tensor:
    return F.elu(x, float(alpha))


@kernel("gelu")
def gelu(*, x: Tensor, mode: str) -> Tensor:
    match mode:
        case "EXACT":
            return F.gelu(x)
        case "TANH_APPROXIMATION":
            return F.gelu(x, approximate="tanh")
        case "SIGMOID_APPROXIMATION":
            return x * torch.sigmoid(1.702 * x)
    raise ValueError(f"mode {mode!r} is unknown; expected EXACT, TANH_APPROXIMATION or SIGMOID_APPROXIMATION")


@kernel("leaky_relu")
def leaky_relu(*, x: Tensor, alpha: Tensor) -> Tensor:
    return F.leaky_relu(x, float(alpha))


@kernel("linear_activation")
def linear_activation(*, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return alpha * x + beta


@kernel("prelu")
def prelu(*, x: Tensor, alpha: Tensor) -> Tensor:
    """`alpha` holds one slope for each channel of `x`, its second dimension."""
    return F.prelu(x, alpha)


@kernel("relu")
def relu(*, x: Tensor) -> Tensor:
    return F.relu(x)


@kernel("relu6")
def relu6(*, x: Tensor) -> Tensor:
    return F.relu6(x)


@kernel("scaled_tanh")
def scaled_tanh(*, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return alpha * torch.tanh(beta * x)


@kernel("sigmoid")
def sigmoid(*, x: Tensor) -> Tensor:
    return torch.sigmoid(x)


@kernel("sigmoid_hard")
def sigmoid_hard(*, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.clamp(alpha * x + beta, 0, 1)


@kernel("silu")
def silu(*, x: Tensor) -> Tensor:
    return F.silu(x)


@kernel("softmax")
def softmax(*, x: Tensor, axis: Tensor) -> Tensor:
    return torch.softmax(x, int(axis))


@kernel("softplus")
def softplus(*, x: Tensor) -> Tensor:
    return F.softplus(x)


@kernel("softplus_parametric")
def softplus_parametric(*, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """`alpha` and `beta` hold one value for each channel of `x`, its second dimension."""
    per_channel = (-1,) + (1,) * (x.dim() - 2)
    return alpha.reshape(per_channel) * F.softplus(beta.reshape(per_channel) * x)


@kernel("softsign")
def softsign(*, x: Tensor) -> Tensor:
    return F.softsign(x)


@kernel("thresholded_relu")
def thresholded_relu(*, x: Tensor, alpha: Tensor) -> Tensor:
    return torch.where(x >= alpha, x, 0.0)
