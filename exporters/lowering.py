"""Lowering: from the faithful model to the form that is shipped.

The faithful model answers with a mapping; every artifact has its outputs in the order of the configuration. Exact
rewrites that make the shipped graph faster belong here, before any exporter sees the model.
"""

from torch import Tensor, nn

from recipes.base.spec import Variant


class Shipped(nn.Module):
    """The model with its outputs as a tuple, in the order of `names`."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(x)
        return tuple(outputs[name] for name in self.names)


def lower(model: nn.Module, variant: Variant) -> nn.Module:
    """The module that every exporter takes: the variant's input -> its outputs, in evaluation mode."""
    return Shipped(model, tuple(output.name for output in variant.outputs)).eval()
