"""Stand-in weights for EfficientAT, for whoever has not the published ones: the same network, layout and size."""

from math import prod, sqrt

import torch
from torch import Tensor, nn

from recipes.base.calibration import calibration_sound, normal, norms_calibrated, spread
from recipes.base.threads import one_thread
from recipes.efficientat.dymn import DynamicBlock, DynamicConv
from recipes.efficientat.mn import InvertedResidual
from recipes.efficientat.model import build
from recipes.efficientat.network import FrontEnd, Network
from recipes.efficientat.spec import Variant

# The logits have this mean and, over sounds and over classes, this spread: for most sounds a few classes of 527 above
# one half, and most below one percent.
_LOGIT_MEAN = -6.0
_LOGIT_SPREAD_OVER_SOUNDS = 1.2
_LOGIT_SPREAD_OVER_CLASSES = 1.0

# Untrained layers of convolution, norm and activation amplify any difference (Yang et al. 2019, "A Mean Field Theory of
# Batch Normalization", https://arxiv.org/abs/1902.08129): drawn plainly, a rounding to float16 would change the tags,
# and in DyMN white noise would overflow. So the norms leave channels with a mean as large as their deviation, most of
# which the activations let pass as it is; residual branches add less than what they are added to; and of what depends
# on the context, the greater part is constant: with a smaller one the shortest clips, all edge, would overflow too.
_NORM = 0.5
_RESIDUAL = 0.5
_DYNAMICS = 0.2
_DYNAMIC = ("residuals.0", "coef_net.0", "conv_f", "conv_t")
_BIAS = 0.3


def synthesize(variant: Variant) -> dict[str, Tensor]:
    """A float32 state dict of the published layout, the same bytes on every run on one machine."""
    model = build(variant).double()
    with torch.no_grad(), one_thread():
        _draw(model)
        front_end = FrontEnd(variant.front_end, variant.sample_rate).double()
        melspec = front_end(calibration_sound(variant.sample_rate, seconds=2))[:, None]
        with norms_calibrated(model):
            embedding = model.tag(melspec)["embedding"]
        if variant.head == "mlp":
            _spread_classes(model.classifier, embedding)
    return {name: value.float() if value.is_floating_point() else value for name, value in model.state_dict().items()}


def _draw(model: Network) -> None:
    """Weights as He et al. 2015 scale them for ReLU (https://arxiv.org/abs/1502.01852), held back where said above."""
    for name, module in model.named_modules():
        for key, parameter in module.named_parameters(name, recurse=False):
            numbers = normal(key, parameter.shape)
            if isinstance(module, nn.BatchNorm2d):
                parameter.copy_(_NORM + 0.1 * numbers)
            elif parameter.ndim == 1:
                parameter.copy_(_BIAS * numbers)
            else:
                fan_in = prod(module.shape[1:]) if isinstance(module, DynamicConv) else parameter[0].numel()
                scale = _DYNAMICS if key.removesuffix(".weight").endswith(_DYNAMIC) else 1
                parameter.copy_(scale * sqrt(2 / fan_in) * numbers)
    for block in model.modules():
        if isinstance(block, (InvertedResidual, DynamicBlock)) and block.residual:
            *_, norm = (layer for layer in block.modules() if isinstance(layer, nn.BatchNorm2d))
            norm.weight.mul_(_RESIDUAL)
            norm.bias.mul_(_RESIDUAL)
    if isinstance(last := model.classifier[-1], nn.BatchNorm2d):
        last.weight.fill_(_LOGIT_SPREAD_OVER_SOUNDS)
        last.bias.copy_(_over_classes(last.bias))


def _over_classes(bias: Tensor) -> Tensor:
    return _LOGIT_MEAN + _LOGIT_SPREAD_OVER_CLASSES * normal("over classes", bias.shape)


def _spread_classes(classifier: nn.Sequential, embedding: Tensor) -> None:
    _, _, hidden, activation, _, last = classifier
    assert isinstance(hidden, nn.Linear)
    assert isinstance(last, nn.Linear)
    spread(hidden, embedding, torch.zeros(()), 1.0)
    spread(last, activation(hidden(embedding)), _over_classes(last.bias), _LOGIT_SPREAD_OVER_SOUNDS)
