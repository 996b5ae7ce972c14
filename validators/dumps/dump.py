"""What a dump holds, whatever file it came from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validators.compare import Sampled
from validators.reference.format import OutputPort


@dataclass(frozen=True)
class Flat:
    """The elements of an array, in C order, of which the file does not say the shape.

    Raw ones are float32. Those of a text are decimals: float64, or int64 where that is what it takes to hold them.
    """

    values: NDArray[np.generic]


Tensor = Sampled | Flat
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Dump:
    """Real numbers as they are there, by case and name; the case is `""` where the file names none.

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


def as_numbers(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """As they are, but for the order of their bytes; truth values are 0 and 1, and no float has more than 64 bits."""
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        with np.errstate(over="ignore"):
            return values.astype(np.float64)
    return values.astype(values.dtype.newbyteorder("="), copy=False)
