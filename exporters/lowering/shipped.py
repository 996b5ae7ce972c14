"""A model as every artifact has it: one input, and the outputs in the order of the configuration."""

from torch import Tensor, nn


class Shipped(nn.Module):
    """The model with its outputs as a tuple, in the order of `names`."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(x)
        return tuple(outputs[name] for name in self.names)
