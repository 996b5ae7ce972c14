"""A file that keeps the state between its calls itself, as one of Core ML's own: from iOS 18 on.

coremltools gives those float16 alone (https://apple.github.io/coremltools/docs-guides/source/stateful-models.html),
which has 11 of a sample's 24 bits. So each sample is kept as three numbers: what float16 has of it, what that leaves
times 2048, and what this leaves times 2048. Put together they are the sample to within 2^-47 (7e-15), which is to the
last bit from 2^-23 on, up to float16's greatest, 65504.
"""

from dataclasses import replace

import coremltools as ct
import numpy as np
import torch
from torch import Tensor

from exporters.lowering.shipped import Shipped
from recipes.base.spec import Variant
from recipes.base.tensor import Stream

# One more than float16's bits behind the first: what it leaves is half of the last at most, and becomes as great.
_STEP = 2048.0
_PARTS = 3


class Remembering(Shipped):
    """(batch, chunk) to the outputs, of a module that takes a state beside it and gives the next one last; batch is 1.

    The state starts as zeros, and no host needs to write it: sound that is fed goes through it.
    """

    def __init__(self, chunked: Shipped, stream: Stream) -> None:
        super().__init__(chunked, chunked.names)
        self.state = stream.state
        self.register_buffer(self.state, torch.zeros(_PARTS, stream.size, dtype=torch.float16))

    def forward(self, chunk: Tensor) -> tuple[Tensor, ...]:
        memory: Tensor = getattr(self, self.state)
        parts = memory.float()
        *outputs, following = self.model(chunk, parts[0:1] + (parts[1:2] + parts[2:3] / _STEP) / _STEP)
        first = following.half()
        rest = (following - first.float()) * _STEP
        second = rest.half()
        third = ((rest - second.float()) * _STEP).half()
        memory[:] = torch.cat([first, second, third])
        return tuple(outputs)


def remembering(module: Shipped, variant: Variant) -> tuple[Shipped, Variant, list[ct.StateType]]:
    """A module of chunks as one that keeps its state, what that is fed, and the state as coremltools declares it."""
    stream = variant.input.stream
    assert stream is not None
    kept = ct.TensorType(shape=(_PARTS, stream.size), dtype=np.float16)
    return Remembering(module, stream).eval(), alone(variant), [ct.StateType(kept, name=stream.state)]


def alone(variant: Variant) -> Variant:
    """The variant as a file has it that keeps its state: neither fed that nor giving it."""
    return replace(variant, input=replace(variant.input, stream=None))
