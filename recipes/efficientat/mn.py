"""MN: MobileNetV3-Large for one input channel, with the published names."""

from torch import Tensor, nn

from recipes.efficientat.network import Block, Network, blocks, conv_norm, head, round8, stem_channels
from recipes.efficientat.spec import Variant


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate made from the means of all (Hu et al. 2017, https://arxiv.org/abs/1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = round8(channels // 4)
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc2(self.fc1(x.mean(dim=(2, 3))).relu()).sigmoid()
        return x * gate[:, :, None, None]


class ConcurrentSqueezeExcitation(nn.Module):
    """The authors tried gates over other axes beside this one; the name is all that is left of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([SqueezeExcitation(channels)])

    def forward(self, x: Tensor) -> Tensor:
        return self.conc_se_layers[0](x)


class InvertedResidual(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if block.expanded != block.inputs:
            layers.append(conv_norm(block.inputs, block.expanded, activation=block.activation()))
        layers.append(
            conv_norm(
                block.expanded,
                block.expanded,
                block.kernel,
                block.stride,
                groups=block.expanded,
                activation=block.activation(),
            )
        )
        if block.squeeze_excite:
            layers.append(ConcurrentSqueezeExcitation(block.expanded))
        layers.append(conv_norm(block.expanded, block.outputs))
        self.block = nn.Sequential(*layers)
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.residual else self.block(x)


class MN(Network):
    def __init__(self, variant: Variant) -> None:
        super().__init__(variant)
        layers: list[nn.Module] = [conv_norm(1, stem_channels(variant), 3, 2, activation=nn.Hardswish())]
        for block in blocks(variant):
            layers.append(InvertedResidual(block))
            channels = block.outputs
        layers.append(conv_norm(channels, 6 * channels, activation=nn.Hardswish()))
        self.features = nn.Sequential(*layers)
        self.classifier = head(variant, 6 * channels)

    def trunk(self, melspec: Tensor) -> Tensor:
        return self.features(melspec)
