"""The networks as their authors' own code computes them, where a recipe has another form with the same answers.

- EfficientAT's front end: `torch.stft` (https://github.com/fschmid56/EfficientAT, models/preprocess.py). It becomes
  the operator STFT in ONNX, which few runtimes have and none runs fast; whoever finds that out writes the DFT as two
  convolutions, as torchlibrosa does (https://github.com/qiuqiangkong/torchlibrosa), with n_fft taps and every bin.
- DyMN's dynamic convolutions: one grouped convolution with clips side by side on the channel axis. No file can have
  the number of groups free, so that the graphs that are measured have the recipe's form.

PANN (torchlibrosa's convolutions) and EAT have no other form.
"""

from collections.abc import Mapping
from copy import deepcopy
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipes.efficientat.dymn import DyMN, DynamicConv, DynamicDepthwise, DynamicPointwise
from recipes.efficientat.frontend import mel_matrix, window
from recipes.efficientat.network import FrontEnd, Network
from recipes.efficientat.spec import LogMel


class StftFrontEnd(nn.Module):
    """(batch, samples) -> (batch, n_mels, frames), step for step as the authors' AugmentMelSTFT in evaluation mode."""

    window: Tensor
    mel: Tensor
    emphasis: Tensor

    def __init__(self, front_end: LogMel, sample_rate: int) -> None:
        super().__init__()
        self.numbers = front_end
        self.register_buffer("window", torch.from_numpy(window(front_end)))
        self.register_buffer("mel", torch.from_numpy(mel_matrix(front_end, sample_rate)))
        self.register_buffer("emphasis", torch.tensor([[[-front_end.pre_emphasis, 1.0]]]))

    def forward(self, waveform: Tensor) -> Tensor:
        numbers = self.numbers
        power = self.power(F.conv1d(waveform[:, None], self.emphasis))
        return ((self.mel @ power + numbers.power_floor).log() + numbers.offset) / numbers.divisor

    def power(self, emphasised: Tensor) -> Tensor:
        """(batch, 1, samples) -> (batch, bins, frames)."""
        numbers = self.numbers
        # With real and imaginary part on an axis of their own: ONNX has no complex numbers.
        parts = torch.stft(
            emphasised[:, 0],
            numbers.n_fft,
            numbers.hop_length,
            numbers.win_length,
            self.window,
            center=True,
            normalized=False,
            return_complex=False,
        )
        return (parts**2).sum(dim=-1)


class ConvolutionFrontEnd(StftFrontEnd):
    """The same with the DFT as two convolutions."""

    real: Tensor
    imaginary: Tensor

    def __init__(self, front_end: LogMel, sample_rate: int) -> None:
        super().__init__(front_end, sample_rate)
        size = front_end.n_fft
        margin = (size - front_end.win_length) // 2
        turns = np.outer(np.arange(size // 2 + 1), np.arange(size)) % size / size
        kernels = np.exp(-2j * np.pi * turns) * np.pad(
            window(front_end), (margin, size - front_end.win_length - margin)
        )
        self.register_buffer("real", torch.from_numpy(kernels.real[:, None].astype(np.float32)))
        self.register_buffer("imaginary", torch.from_numpy(kernels.imag[:, None].astype(np.float32)))

    def power(self, emphasised: Tensor) -> Tensor:
        reach, hop = self.numbers.n_fft // 2, self.numbers.hop_length
        padded = F.pad(emphasised, (reach, reach), mode="reflect")
        return F.conv1d(padded, self.real, stride=hop) ** 2 + F.conv1d(padded, self.imaginary, stride=hop) ** 2


# What a naive graph computes the front end by, where there is a choice.
FRONT_ENDS: Mapping[str, type[StftFrontEnd]] = {"stft": StftFrontEnd, "convolution": ConvolutionFrontEnd}


def has_choice(model: nn.Module) -> bool:
    """Whether `with_front_end` changes anything."""
    return isinstance(model, Network) and isinstance(model.front_end, FrontEnd)


def with_front_end(model: nn.Module, sample_rate: int, form: str) -> nn.Module:
    """A copy whose front end is one of FRONT_ENDS, sharing the weights; the model itself where it has no choice."""
    if not isinstance(model, Network) or model.front_end is None:
        return model
    changed = _shared(model)
    changed.front_end = FRONT_ENDS[form](model.front_end.numbers, sample_rate)  # type: ignore[assignment]
    return changed.eval()


def as_published(model: nn.Module, sample_rate: int) -> nn.Module:
    """A copy that computes everything as the authors' code does, which PyTorch alone can run."""
    return with_grouped(with_front_end(model, sample_rate, "stft"))


def with_grouped(model: nn.Module) -> nn.Module:
    """A copy whose dynamic convolutions have the authors' form, sharing the weights; the model itself without any."""
    if not isinstance(model, DyMN):
        return model
    changed = _shared(model)
    for module in changed.modules():
        if isinstance(module, DynamicDepthwise):
            stride, groups = module.conv.keywords["stride"], module.shape[0]
            module.forward = partial(grouped, module, stride=stride, groups=groups)  # type: ignore[method-assign]
        elif isinstance(module, DynamicPointwise):
            module.forward = partial(grouped, module, stride=1, groups=1)  # type: ignore[method-assign]
    return changed


def grouped(conv: DynamicConv, x: Tensor, context: Tensor, stride: int, groups: int) -> Tensor:
    """The authors' form: clips side by side on the channel axis, each with kernels of its own."""
    outputs, inputs, *kernel = (*conv.shape, 1, 1)[:4]
    attention = F.softmax(conv.residuals(context), dim=1)
    kernels = (attention @ conv.weight[0, 0]).view(-1, inputs, *kernel)
    batch, _, mels, time = x.shape
    side_by_side = x.reshape(1, -1, mels, time)
    mixed = F.conv2d(side_by_side, kernels, stride=stride, padding=kernel[0] // 2, groups=groups * batch)
    return mixed.view(batch, outputs, *mixed.shape[2:])


def _shared(model: Network) -> Network:
    tensors = [*model.parameters(), *model.buffers()]
    return deepcopy(model, {id(tensor): tensor for tensor in tensors})
