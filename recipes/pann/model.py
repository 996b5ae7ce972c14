"""PANN MobileNetV1 as published, with the frame-wise head of the 2020 Core ML article.

Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition", 2020
(https://arxiv.org/abs/1912.10211). Module names are those of the published checkpoint, so that it loads with
`strict=True`; they are the reason for the otherwise empty containers below.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from recipes.pann.spec import LogMel

# One segment of the trunk's output stands for this many melspec frames: five poolings by two.
FRAMES_PER_SEGMENT = 32

# (output channels, pooling) of the thirteen depthwise-separable stages.
STAGES = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)


class Dft(nn.Module):
    """Power spectrogram by two strided convolutions, whose kernels the checkpoint carries."""

    def __init__(self, front_end: LogMel) -> None:
        super().__init__()
        bins = front_end.n_fft // 2 + 1
        self.hop_length = front_end.hop_length
        self.reach = front_end.n_fft // 2
        self.conv_real = nn.Conv1d(1, bins, front_end.n_fft, front_end.hop_length, bias=False)
        self.conv_imag = nn.Conv1d(1, bins, front_end.n_fft, front_end.hop_length, bias=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, frames, bins) with frames = 1 + samples // hop_length."""
        padded = F.pad(waveform[:, None, :], (self.reach, self.reach), mode="reflect")
        power = self.conv_real(padded) ** 2 + self.conv_imag(padded) ** 2
        return power.transpose(1, 2)


class SpectrogramExtractor(nn.Module):
    def __init__(self, front_end: LogMel) -> None:
        super().__init__()
        self.stft = Dft(front_end)


class LogmelExtractor(nn.Module):
    def __init__(self, front_end: LogMel) -> None:
        super().__init__()
        self.floor = front_end.power_floor
        self.melW = nn.Parameter(torch.empty(front_end.n_fft // 2 + 1, front_end.n_mels), requires_grad=False)

    def forward(self, power: Tensor) -> Tensor:
        """(batch, frames, bins) -> (batch, frames, n_mels) in dB."""
        return 10.0 * torch.log10(torch.clamp(power @ self.melW, min=self.floor))


def _pool(stride: int) -> nn.Module:
    return nn.AvgPool2d(stride) if stride > 1 else nn.Identity()


def _first_stage(outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, outputs, 3, padding=1, bias=False), _pool(stride), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _separable_stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        _pool(stride),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class MobileNetV1(nn.Module):
    """The faithful model: what the authors published, step for step."""

    def __init__(self, front_end: LogMel, classes: int) -> None:
        super().__init__()
        self.spectrogram_extractor = SpectrogramExtractor(front_end)
        self.logmel_extractor = LogmelExtractor(front_end)
        self.bn0 = nn.BatchNorm2d(front_end.n_mels)
        stages = [_first_stage(32, 2)]
        channels = 32
        for outputs, stride in STAGES:
            stages.append(_separable_stage(channels, outputs, stride))
            channels = outputs
        self.features = nn.Sequential(*stages)
        self.fc1 = nn.Linear(channels, channels)
        self.fc_audioset = nn.Linear(channels, classes)

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        """(batch, samples), 32 kHz mono in [-1, 1], to the outputs that the config names.

        With frames = 1 + samples // 320 and segments = frames // 32:
        `clipwise` and `segment_clipwise` (batch, classes) and `framewise` (batch, frames, classes) are probabilities,
        `embedding` is (batch, 1024), `melspec` (batch, frames, 64) in dB.
        """
        melspec = self.logmel_extractor(self.spectrogram_extractor.stft(waveform))
        x = self.bn0(melspec[:, None].transpose(1, 3)).transpose(1, 3)
        x = self.features(x).mean(dim=3)  # (batch, 1024, segments)

        embedding = F.relu(self.fc1(x.amax(dim=2) + x.mean(dim=2)))
        clipwise = torch.sigmoid(self.fc_audioset(embedding))

        # The padding counts in the average, as avg_pool1d's default has it.
        x = F.max_pool1d(x, 3, stride=1, padding=1) + F.avg_pool1d(x, 3, stride=1, padding=1)
        segmentwise = torch.sigmoid(self.fc_audioset(F.relu(self.fc1(x.transpose(1, 2)))))
        return {
            "clipwise": clipwise,
            "embedding": embedding,
            "framewise": spread(segmentwise, melspec.shape[1]),
            "segment_clipwise": segmentwise.amax(dim=1),
            "melspec": melspec,
        }


# A leaf of the graph that torch.fx makes of the model: how far it counts depends on the length of the sound.
@fx.wrap
def spread(segmentwise: Tensor, frames: int) -> Tensor:
    """(batch, segments, classes) -> (batch, frames, classes): each segment 32 times, the last one to the end.

    At most 31 frames are left over, so that one more copy of the last segment covers them.
    """
    # A gather stands for the slice `[:, :frames]`, whose bounds torch.export cannot prove (its solver has no floor
    # division); dividing the frame index instead ends in floats in Core ML and in comparisons that tract refuses.
    # All this is done to the segments' numbers, so that probabilities are copied once.
    segments = torch.arange(segmentwise.shape[1], device=segmentwise.device)
    covering = torch.cat([segments, segments[-1:]])[:, None].repeat(1, FRAMES_PER_SEGMENT).reshape(-1)
    return segmentwise.index_select(1, covering[torch.arange(frames, device=covering.device)])
