"""A model as every artifact has it: one input, and the outputs in the order of the configuration."""

from torch import Tensor, nn


class Shipped(nn.Module):
    """The model with its outputs as a tuple, in the order of `names`.

    `inner` are the names of what the model gives as well, on the way to these: where float32 may end.
    """

    def __init__(self, model: nn.Module, names: tuple[str, ...], inner: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.inner = inner

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(x)
        return tuple(outputs[name] for name in self.names)

    def with_inner(self) -> "Shipped":
        """The same with `inner` behind its outputs."""
        return Shipped(self.model, (*self.names, *self.inner)).eval()
