"""What MN and DyMN share: the table of MobileNetV3-Large, the front end in the graph, the heads.

Sources: Schmid et al., "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation", 2022
(https://arxiv.org/abs/2211.04772); Howard et al., "Searching for MobileNetV3", 2019
(https://arxiv.org/abs/1905.02244), table 1; the authors' code, https://github.com/fschmid56/EfficientAT.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipes.efficientat.frontend import dft_kernels, mel_matrix
from recipes.efficientat.spec import LogMel, Variant

# Of every norm but the fully convolutional head's, which has PyTorch's default.
NORM_EPS = 1e-3

_STEM_CHANNELS = 16

# kernel, expanded channels, output channels, squeeze and excitation, Hardswish instead of ReLU, stride; a stride given
# as None is the next of the variant's four.
_TABLE: tuple[tuple[int, int, int, bool, bool, int | None], ...] = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, None),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, None),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, None),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, None),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
_HIDDEN_CHANNELS = 1280


@dataclass(frozen=True)
class Block:
    """One inverted residual block, its channels already multiplied by the width."""

    inputs: int
    kernel: int
    expanded: int
    outputs: int
    squeeze_excite: bool
    hardswish: bool
    stride: int

    @property
    def residual(self) -> bool:
        return self.stride == 1 and self.inputs == self.outputs

    def activation(self) -> nn.Module:
        return nn.Hardswish() if self.hardswish else nn.ReLU()


def round8(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and never less than 90 % of `channels`."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def stem_channels(variant: Variant) -> int:
    return round8(_STEM_CHANNELS * variant.width)


def blocks(variant: Variant) -> Iterator[Block]:
    """The variant's fifteen blocks, from input to output."""
    strides = iter(variant.strides)
    inputs = stem_channels(variant)
    for kernel, expanded, outputs, squeeze_excite, hardswish, stride in _TABLE:
        block = Block(
            inputs=inputs,
            kernel=kernel,
            expanded=round8(expanded * variant.width),
            outputs=round8(outputs * variant.width),
            squeeze_excite=squeeze_excite,
            hardswish=hardswish,
            stride=next(strides) if stride is None else stride,
        )
        yield block
        inputs = block.outputs


def conv_norm(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, activation: nn.Module | None = None
) -> nn.Sequential:
    """Convolution that keeps the size at stride 1, batch norm and activation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers = [conv, nn.BatchNorm2d(outputs, eps=NORM_EPS)]
    return nn.Sequential(*layers, activation) if activation else nn.Sequential(*layers)


class FrontEnd(nn.Module):
    """Log-mel spectrogram of sound; none of its constants are in the checkpoint."""

    dft: Tensor
    mel: Tensor

    def __init__(self, front_end: LogMel, sample_rate: int) -> None:
        super().__init__()
        mel = mel_matrix(front_end, sample_rate)
        # Bins above fmax and below fmin weigh nothing: they need not be computed.
        used = np.flatnonzero(mel.sum(axis=0))
        bins = range(int(used[0]), int(used[-1]) + 1)
        self.register_buffer("dft", torch.from_numpy(dft_kernels(front_end, bins)), persistent=False)
        self.register_buffer("mel", torch.from_numpy(mel[:, bins.start : bins.stop]), persistent=False)
        self.numbers = front_end

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, n_mels, frames) with frames = 1 + (samples - 1) // hop_length."""
        numbers = self.numbers
        emphasised = waveform[:, 1:] - numbers.pre_emphasis * waveform[:, :-1]
        # Half a window and not half an n_fft: what lies further out is multiplied by zero.
        reach = numbers.win_length // 2
        padded = F.pad(emphasised[:, None], (reach, reach), mode="reflect")
        # Real and imaginary parts by one convolution, which is faster than two.
        spectrum = F.conv1d(padded, self.dft, stride=numbers.hop_length)
        squares = spectrum * spectrum
        bins = self.mel.shape[1]
        bands = self.mel @ (squares[:, :bins] + squares[:, bins:])
        return (torch.log(bands + numbers.power_floor) + numbers.offset) / numbers.divisor


class Network(nn.Module):
    """A trunk, named as published, between the front end and the head; `front_end` is None where `melspec` is fed.

    The authors' own forward squeezes the batch axis away at batch 1 and puts it back; here it is never touched.
    """

    classifier: nn.Sequential

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        feeds_sound = variant.input.name == "waveform"
        self.front_end = FrontEnd(variant.front_end, variant.sample_rate) if feeds_sound else None

    def trunk(self, melspec: Tensor) -> Tensor:
        """(batch, 1, n_mels, time) -> (batch, channels, n_mels / 32, time / 32), each rounded up, at strides of 2."""
        raise NotImplementedError

    def forward(self, sound: Tensor) -> dict[str, Tensor]:
        """Either `waveform` (batch, samples), mono in [-1, 1], or `melspec` (batch, 1, n_mels, time), as built.

        Gives `logits` (batch, classes), before the sigmoid, and `embedding`, the mean of the trunk's output over mel
        and time; from a waveform also `melspec` (batch, n_mels, frames).
        """
        if self.front_end is None:
            return self.tag(sound)
        melspec = self.front_end(sound)
        return self.tag(melspec[:, None]) | {"melspec": melspec}

    def tag(self, melspec: Tensor) -> dict[str, Tensor]:
        """(batch, 1, n_mels, time) to `logits` and `embedding`."""
        pooled = self.trunk(melspec).mean(dim=(2, 3), keepdim=True)
        return {"logits": self.classifier(pooled).flatten(1), "embedding": pooled.flatten(1)}


def head(variant: Variant, channels: int) -> nn.Sequential:
    """(batch, channels, 1, 1) -> (batch, classes, ...), in the published positions.

    The pooling that is published in the head is done before, once for the embedding too. For the fully convolutional
    head this is the same mean: its convolution and its norm are linear at each place.
    """
    if variant.head == "fully_convolutional":
        return nn.Sequential(nn.Conv2d(channels, variant.classes, 1, bias=False), nn.BatchNorm2d(variant.classes))
    hidden = round8(_HIDDEN_CHANNELS * variant.width)
    return nn.Sequential(
        nn.Identity(),
        nn.Flatten(),
        nn.Linear(channels, hidden),
        nn.Hardswish(),
        nn.Identity(),  # dropout
        nn.Linear(hidden, variant.classes),
    )
