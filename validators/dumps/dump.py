"""What a dump holds, whatever file it came from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validators.compare import Sampled
from validators.reference.format import OutputPort


@dataclass(frozen=True)
class Flat:
    """The float32 elements of an array, in C order, of which the file does not say the shape."""

    values: NDArray[np.float32]


Tensor = Sampled | Flat
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Dump:
    """Float32 tensors by case and name; the case is `""` where the file names none.

    `ports` are axes and kinds of the outputs, where the file says them. `layers` tells that the tensors of all layers
    are there and not the outputs alone. `simulator` tells that it is SigmaStar's tools that wrote it, and `answered`
    that a model gave it just now.
    """

    cases: Mapping[str, Tensors]
    ports: tuple[OutputPort, ...] = ()
    layers: bool = False
    simulator: bool = False
    answered: bool = False

    @property
    def loose(self) -> bool:
        """Whether its writer adds axes of size 1 and drops them, so that they say nothing of the model."""
        return self.simulator or self.answered


def as_float32(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Real numbers as what models answer in; what float32 cannot hold becomes infinite, which no comparison passes."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)
