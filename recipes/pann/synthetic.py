"""Stand-in weights for PANN, for whoever has not the published ones: the same network, layout and size.

They tag nothing rightly, but they behave as trained ones do: no layer is dead or saturated, and different sounds
excite different classes. That is what a conversion has to carry over.
"""

import zlib
from math import sqrt

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipes.base import sound
from recipes.base.spec import Variant
from recipes.base.threads import one_thread
from recipes.pann.frontend import dft_kernels, mel_matrix
from recipes.pann.model import MobileNetV1

# Recordings are not equally loud.
_GAINS_DB = (0, -6, -12, -20, -30, -40, 0, -6, -12, -20)

# The logits have this mean and, over sounds and over classes, this spread: for most sounds a few classes of 527 above
# one half, and most below one percent.
_LOGIT_MEAN = -6.0
_LOGIT_SPREAD_OVER_SOUNDS = 1.2
_LOGIT_SPREAD_OVER_CLASSES = 1.0

# Untrained layers of convolution, norm and ReLU amplify any difference about 1.2 times each (Yang et al. 2019, "A Mean
# Field Theory of Batch Normalization", https://arxiv.org/abs/1902.08129); through 27 of them a rounding to float16
# would change the tags, which it does not in trained networks. Shifted up by one standard deviation, the norms leave
# most of what the ReLUs see as it is.
_SHIFT = 1.0


def synthesize(variant: Variant) -> dict[str, Tensor]:
    """A float32 state dict of the published layout, the same bytes on every run on one machine."""
    model = MobileNetV1(variant.front_end, variant.classes).double().eval()
    with torch.no_grad(), one_thread():
        _draw(model)
        real, imaginary = dft_kernels(variant.front_end)
        model.spectrogram_extractor.stft.conv_real.weight.copy_(torch.from_numpy(real))
        model.spectrogram_extractor.stft.conv_imag.weight.copy_(torch.from_numpy(imaginary))
        model.logmel_extractor.melW.copy_(torch.from_numpy(mel_matrix(variant.front_end, variant.sample_rate)))
        _calibrate(model, _calibration_sound(variant.sample_rate))
    return {name: value.float() if value.is_floating_point() else value for name, value in model.state_dict().items()}


def _normal(name: str, shape: torch.Size) -> Tensor:
    """Standard normal numbers that depend on the tensor's name alone; NumPy has frozen this generator for good."""
    seed = zlib.crc32(name.encode())
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(tuple(shape)).astype(np.float32))


def _draw(model: MobileNetV1) -> None:
    """Weights as He et al. 2015 scale them for ReLU (https://arxiv.org/abs/1502.01852); norms a little off identity."""
    for name, parameter in model.named_parameters():
        numbers = _normal(name, parameter.shape)
        if parameter.ndim > 1:
            parameter.copy_(numbers * sqrt(2 / parameter[0].numel()))
        else:
            parameter.copy_(numbers * 0.1 + (_SHIFT if name.startswith("features") or name.endswith("weight") else 0))


def _calibration_sound(sample_rate: int) -> Tensor:
    """(clips, samples) float64: a second each of sounds as people record them, and of the extremes.

    Without the extremes they excite the trunk a hundred times as much as any sound that it has seen.
    """
    second = sample_rate
    clips = [sound.rich(second, sample_rate, seed) * 10 ** (gain / 20) for seed, gain in enumerate(_GAINS_DB)]
    clips += [sound.noise(second, peak) for peak in (1.0, 3e-2, 1e-3, 0.0)]
    clips += [sound.square(second, sample_rate), sound.impulse(second)]
    return torch.from_numpy(np.stack(clips)).double()


def _calibrate(model: MobileNetV1, waveform: Tensor) -> None:
    """Sets each layer's statistics to those that it sees, from the first layer to the last."""
    melspec = model.logmel_extractor(model.spectrogram_extractor.stft(waveform))
    x = melspec[:, None].transpose(1, 3)
    _see(model.bn0, x)
    x = model.bn0(x).transpose(1, 3)
    for layer in (layer for stage in model.features.children() for layer in stage.children()):
        if isinstance(layer, nn.BatchNorm2d):
            _see(layer, x)
        x = layer(x)
    x = x.mean(dim=3)
    clips = x.amax(dim=2) + x.mean(dim=2)
    segments = F.max_pool1d(x, 3, stride=1, padding=1) + F.avg_pool1d(x, 3, stride=1, padding=1)
    x = torch.cat([clips, segments.transpose(1, 2).flatten(0, 1)])

    _spread(model.fc1, x, torch.zeros(()), 1.0)
    x = model.fc1(x).relu()
    over_classes = _LOGIT_SPREAD_OVER_CLASSES * _normal("over classes", model.fc_audioset.bias.shape)
    _spread(model.fc_audioset, x, _LOGIT_MEAN + over_classes, _LOGIT_SPREAD_OVER_SOUNDS)


def _see(norm: nn.BatchNorm2d, x: Tensor) -> None:
    """Sets the running statistics to those of x, (batch, channels, height, width)."""
    variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
    norm.running_mean = mean
    norm.running_var = variance


def _spread(linear: nn.Linear, x: Tensor, mean: Tensor, deviation: float) -> None:
    """Sets bias and scale so that each output has this mean and standard deviation over the rows of x."""
    linear.weight.mul_(deviation / (x @ linear.weight.T).std(dim=0)[:, None])
    linear.bias.copy_(mean - (x @ linear.weight.T).mean(dim=0))
