"""DyMN: every block's kernels, activations and gates depend on the sound.

Source: Schmid et al., "Dynamic Convolutional Neural Networks as Efficient Pre-trained Audio Models", 2023
(https://arxiv.org/abs/2310.15648), and the authors' code (https://github.com/fschmid56/EfficientAT), which runs each
dynamic convolution as one grouped convolution with groups * batch groups; no format of ours can have such a count free.
Each of the two forms below gives the same numbers, since a convolution is linear in its kernel. Of several they were
the fastest in ONNX Runtime. Against the authors' form in eager PyTorch (ten seconds of sound, batch 1 and 3, one
thread, widths 0.4 and 1) a network took 0.6 to 0.75 of the time in ONNX Runtime, 1.7 to 2.2 times as long in tract, and
1.4 to 1.9 times as long in eager PyTorch, before any lowering; benchmarks/results.md has what ships.
"""

from functools import partial
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipes.efficientat.network import NORM_EPS, Block, Network, blocks, conv_norm, head, round8, stem_channels
from recipes.efficientat.spec import Variant

_KERNELS = 4
_CONTEXT_RATIO = 4
_LEAST_CONTEXT = 32
_MOST_CONTEXT = 128


class DynamicConv(nn.Module):
    """A convolution whose kernel is a mixture of four, weighted for each clip by a softmax of its context.

    The softmax's temperature is 1, where the authors' training schedule ends. As published, `weight` is
    (1, 1, 4, outputs * inputs / groups * kernel * kernel).
    """

    def __init__(self, context: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.residuals = nn.Sequential(nn.Linear(context, _KERNELS))
        self.weight = nn.Parameter(torch.zeros(1, 1, _KERNELS, prod(shape)))

    def attention(self, context: Tensor) -> Tensor:
        """(batch, context) -> (batch, 4), each row with sum 1."""
        return self.residuals(context).softmax(dim=1)


class DynamicPointwise(DynamicConv):
    """Kernel 1: the kernels are mixed for each clip, then multiply it as matrices."""

    def __init__(self, context: int, inputs: int, outputs: int) -> None:
        super().__init__(context, (outputs, inputs))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(batch, inputs, mel, time), (batch, context) -> (batch, outputs, mel, time)."""
        mixed = (self.attention(context) @ self.weight[0, 0]).reshape(-1, 1, *self.shape)
        # One product for each mel row, so that no shape has to be computed from the free length.
        return (mixed @ x.transpose(1, 2)).transpose(1, 2)


class DynamicDepthwise(DynamicConv):
    """One kernel for each channel: the four convolutions are run and their results mixed."""

    def __init__(self, context: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__(context, (channels, 1, kernel, kernel))
        self.conv = partial(F.conv2d, stride=stride, padding=kernel // 2, groups=channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(batch, channels, mel, time), (batch, context) -> (batch, channels, mel / stride, time / stride)."""
        attention = self.attention(context)[:, :, None, None]
        kernels = self.weight.reshape(_KERNELS, *self.shape)
        parts = [attention[:, k : k + 1] * self.conv(x, kernels[k]) for k in range(_KERNELS)]
        return parts[0] + parts[1] + parts[2] + parts[3]


class DynamicReLU(nn.Module):
    """The greater of two straight lines, for each clip and channel (Chen et al. 2020, arXiv 2003.10027, version B)."""

    lambdas: Tensor
    init_v: Tensor

    def __init__(self, context: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.coef_net = nn.Sequential(nn.Linear(context, 4 * channels))
        # Two slopes, then two intercepts: how far they go from where, which is a plain ReLU.
        self.register_buffer("lambdas", torch.tensor([1.0, 1.0, 0.5, 0.5]))
        self.register_buffer("init_v", torch.tensor([1.0, 0.0, 0.0, 0.0]))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(batch, channels, mel, time), (batch, context) -> the shape of x."""
        theta = 2 * self.coef_net(context).sigmoid() - 1
        lines = theta.reshape(-1, self.channels, 1, 1, 4) * self.lambdas + self.init_v
        return torch.maximum(x * lines[..., 0] + lines[..., 2], x * lines[..., 1] + lines[..., 3])


class ContextGenerator(nn.Module):
    """From a block's input: the context vector, and one gate for each mel row and one for each time column."""

    def __init__(self, block: Block, context: int) -> None:
        super().__init__()
        self.joint_conv = nn.Conv2d(block.inputs, context, 1, bias=False)
        self.joint_norm = nn.BatchNorm2d(context, eps=NORM_EPS)
        self.conv_f = nn.Conv2d(context, block.expanded, 1)
        self.conv_t = nn.Conv2d(context, block.expanded, 1)
        self.stride = block.stride

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, inputs, mel, time) -> (batch, context), (batch, expanded, mel / stride, 1) and
        (batch, expanded, 1, time / stride); both gates lie between 0 and 1.
        """
        mels = x.shape[2]
        over_mel = x.mean(dim=3, keepdim=True)
        over_time = x.mean(dim=2, keepdim=True).transpose(2, 3)
        joint = F.hardswish(self.joint_norm(self.joint_conv(torch.cat([over_mel, over_time], dim=2))))
        over_mel, over_time = joint[:, :, :mels], joint[:, :, mels:].transpose(2, 3)
        if self.stride > 1:
            over_mel = F.avg_pool2d(over_mel, (3, 1), (self.stride, 1), (1, 0))
            over_time = F.avg_pool2d(over_time, (1, 3), (1, self.stride), (0, 1))
        gates = self.conv_f(over_mel).sigmoid(), self.conv_t(over_time).sigmoid()
        return joint.mean(dim=(2, 3)), *gates


class DynamicBlock(nn.Module):
    def __init__(self, block: Block, context: int) -> None:
        super().__init__()
        self.context_gen = ContextGenerator(block, context)
        self.expands = block.expanded != block.inputs
        if self.expands:
            self.exp_conv = DynamicPointwise(context, block.inputs, block.expanded)
            self.exp_norm = nn.BatchNorm2d(block.expanded, eps=NORM_EPS)
            self.exp_act = block.activation()
        self.depth_conv = DynamicDepthwise(context, block.expanded, block.kernel, block.stride)
        self.depth_norm = nn.BatchNorm2d(block.expanded, eps=NORM_EPS)
        self.depth_act = DynamicReLU(context, block.expanded)
        self.proj_conv = DynamicPointwise(context, block.expanded, block.outputs)
        self.proj_norm = nn.BatchNorm2d(block.outputs, eps=NORM_EPS)
        self.residual = block.residual

    def forward(self, block_input: Tensor) -> Tensor:
        context, mel_gate, time_gate = self.context_gen(block_input)
        x = block_input
        if self.expands:
            x = self.exp_act(self.exp_norm(self.exp_conv(x, context)))
        x = self.depth_act(self.depth_norm(self.depth_conv(x, context)), context)
        x = self.proj_norm(self.proj_conv(x * mel_gate * time_gate, context))
        return x + block_input if self.residual else x


def context_size(block: Block, width: float) -> int:
    """A quarter of the expanded channels, within bounds that grow with the width."""
    least, most = round8(_LEAST_CONTEXT * width), round8(_MOST_CONTEXT * width)
    return min(max(round8(block.expanded // _CONTEXT_RATIO), least), most)


class DyMN(Network):
    def __init__(self, variant: Variant) -> None:
        super().__init__(variant)
        self.in_c = conv_norm(1, stem_channels(variant), 3, 2, activation=nn.Hardswish())
        self.layers = nn.Sequential()
        for block in blocks(variant):
            self.layers.append(DynamicBlock(block, context_size(block, variant.width)))
            channels = block.outputs
        self.out_c = conv_norm(channels, 6 * channels, activation=nn.Hardswish())
        self.classifier = head(variant, 6 * channels)

    def trunk(self, melspec: Tensor) -> Tensor:
        return self.out_c(self.layers(self.in_c(melspec)))
