"""EAT as published: convolutions over the waveform, then a transformer.

Source: Gazneli et al., "End-to-End Audio Strikes Back: Boosting Augmentations Towards An Efficient Audio Classification
Network", 2022 (https://arxiv.org/abs/2204.11479), whose code calls it SoundNetRaw
(https://github.com/Alibaba-MIIL/AudioClassfication). Module names are those of its checkpoints, so that they load with
`strict=True`; they are the reason for the otherwise empty containers below.
"""

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipes.eat.spec import DILATIONS, KERNEL, LAST_FACTORS, START_REACH, Sizes

_SLOPE = 0.2


def _activated(conv: nn.Conv1d) -> list[nn.Module]:
    return [conv, nn.BatchNorm1d(conv.out_channels), nn.LeakyReLU(_SLOPE)]


class AntiAlias(nn.Module):
    """A triangle over `2 factor + 1` samples, then every factor-th of them."""

    filt: Tensor

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.channels = channels
        triangle = [place / (factor + 1) ** 2 for place in (*range(1, factor + 2), *range(factor, 0, -1))]
        self.register_buffer("filt", torch.tensor(triangle, dtype=torch.float32).repeat(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (self.factor, self.factor), mode="reflect")
        return F.conv1d(padded, self.filt, stride=self.factor, groups=self.channels)


class Down(nn.Module):
    """Twice the channels, and time shrunk by the factor."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.ReflectionPad1d((factor + 1) // 2),
            *_activated(nn.Conv1d(channels, 2 * channels, factor + 1, bias=False)),
            AntiAlias(2 * channels, factor),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.down(x)


class ResidualBlock(nn.Module):
    """What it is given, once mixed over channels linearly, once not, and once filtered over time."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        over_time = nn.Conv1d(channels, channels, KERNEL, dilation=dilation, groups=channels, bias=False)
        self.block_t = nn.Sequential(nn.ReflectionPad1d(KERNEL // 2 * dilation), *_activated(over_time))
        self.block_f = nn.Sequential(*_activated(nn.Conv1d(channels, channels, 1, bias=False)))
        self.shortcut = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block_f(x) + self.block_t(x)


class Attention(nn.Module):
    """Of each place to all, as nn.MultiheadAttention has it, in plain products.

    PyTorch's own turns into one fused operator in evaluation mode, which few runtimes have.
    """

    def __init__(self, channels: int, heads: int, positions: int) -> None:
        super().__init__()
        self.heads, self.positions = heads, positions
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * channels))
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, positions, channels) -> the same."""
        channels = self.out_proj.in_features
        # All sizes but the batch are numbers of the model, so that no graph computes any; and no tensor has five axes,
        # which compilers for small processors do not take.
        split = (-1, self.positions, 3 * self.heads, channels // self.heads)
        projected = F.linear(x, self.in_proj_weight, self.in_proj_bias).reshape(split).transpose(1, 2)
        query, key, value = (projected[:, first : first + self.heads] for first in range(0, 3 * self.heads, self.heads))
        weights = (query / sqrt(channels // self.heads) @ key.transpose(2, 3)).softmax(dim=-1)
        heads = (weights @ value).transpose(1, 2).reshape(-1, self.positions, channels)
        return self.out_proj(heads)


class EncoderLayer(nn.Module):
    """nn.TransformerEncoderLayer that normalises after adding, with GELU."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.self_attn = Attention(sizes.emb_dim, sizes.n_head, sizes.positions)
        self.linear1 = nn.Linear(sizes.emb_dim, sizes.dim_feedforward)
        self.linear2 = nn.Linear(sizes.dim_feedforward, sizes.emb_dim)
        self.norm1 = nn.LayerNorm(sizes.emb_dim)
        self.norm2 = nn.LayerNorm(sizes.emb_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn(x))
        return self.norm2(x + self.linear2(F.gelu(self.linear1(x))))


class Encoder(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.n_layers))
        self.norm = nn.LayerNorm(sizes.emb_dim)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Tagger(nn.Module):
    """The transformer, its class token in front, and the classes that it reads there."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.transformer_enc = Encoder(sizes)
        self.cls_token = nn.Parameter(torch.empty(1, 1, sizes.emb_dim))
        self.pos_embed = nn.Parameter(torch.empty(1, sizes.positions, sizes.emb_dim))
        self.fc = nn.Linear(sizes.emb_dim, sizes.n_classes)

    def forward(self, places: Tensor) -> Tensor:
        """(batch, channels, places) -> (batch, classes)."""
        return self.fc(self.encoded(places))

    def encoded(self, places: Tensor) -> Tensor:
        """(batch, channels, places) -> (batch, channels): what the class token has become."""
        x = places.transpose(1, 2)
        token = self.cls_token.expand(x.shape[0], -1, -1)
        return self.transformer_enc(torch.cat([token, x], dim=1) + self.pos_embed)[:, 0]


class SoundNetRaw(nn.Module):
    """The faithful model: what the authors published, step for step."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        channels = sizes.nf
        first = nn.Conv1d(1, channels, 2 * START_REACH + 1, bias=False)
        self.start = nn.Sequential(nn.ReflectionPad1d(START_REACH), *_activated(first))
        layers: list[nn.Module] = []
        for index, factor in enumerate(sizes.ds_factors):
            layers.append(Down(channels, factor))
            channels *= 2
            if index % 2 == 0:
                layers.append(ResidualBlock(channels, DILATIONS[0]))
        self.down = nn.Sequential(*layers)
        layers = []
        for factor in LAST_FACTORS:
            layers += [ResidualBlock(channels, dilation) for dilation in DILATIONS]
            layers.append(Down(channels, factor))
            channels *= 2
        self.down2 = nn.Sequential(*layers)
        self.project = nn.Conv1d(channels, sizes.emb_dim, 1)
        self.tf = Tagger(sizes)

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        """(batch, 1, seq_len), mono with its peak at 0.95, to `logits` (batch, classes), before sigmoid or softmax."""
        return {"logits": self.tf(self.project(self.trunk(waveform)))}

    def trunk(self, waveform: Tensor) -> Tensor:
        """(batch, 1, samples) -> (batch, channels, places), the convolutions, which take any length."""
        return self.down2(self.down(self.start(waveform)))


def build(sizes: Sizes) -> SoundNetRaw:
    """In evaluation mode, its weights not set."""
    return SoundNetRaw(sizes).eval()
