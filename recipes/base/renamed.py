"""A model whose outputs are called otherwise."""

from collections.abc import Mapping

from torch import Tensor, nn


class Renamed(nn.Module):
    """Outputs by the names that they have, to new ones; one whose name another takes is gone."""

    def __init__(self, model: nn.Module, names: Mapping[str, str]) -> None:
        super().__init__()
        self.model, self.names = model, dict(names)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = self.model(x)
        taken = {new for old, new in self.names.items() if old in outputs}
        return {
            self.names.get(name, name): outputs[name] for name in outputs if name in self.names or name not in taken
        }


def renamed(model: nn.Module, names: Mapping[str, str]) -> nn.Module:
    """The model with its outputs so called; itself where there are no names."""
    return Renamed(model, names).eval() if names else model
