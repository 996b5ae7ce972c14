"""A model of a state with a chunk behind it, as files take it: both apart, and the next state beside the outputs."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from exporters.lowering.shipped import Shipped
from recipes.base.spec import Variant
from recipes.base.tensor import Stream


class Chunked(Shipped):
    """(batch, chunk) and (batch, state) to the outputs of the two put together, and the last of it as next state."""

    def __init__(self, block: Shipped, stream: Stream) -> None:
        super().__init__(block.model, block.names)
        self.chunk, self.frames, self.behind = stream.chunk, stream.frames, _behind(stream)

    def forward(self, chunk: Tensor, state: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        block = torch.cat([state, chunk], dim=1)
        following = block[:, self.chunk :]
        if not self.behind:
            return *super().forward(block), following
        outputs = super().forward(F.pad(block, (0, self.behind)))
        return *(output[:, :, : self.frames] for output in outputs), following


def _behind(stream: Stream) -> int:
    """How many zeros are put behind a block: a frame, where there would be one alone.

    Products with a single column are summed in another order than those with more, in ONNX Runtime: on a loud tone the
    logarithm of what is quiet would be 1e-4 off the whole's. With two frames, they are the whole's bit for bit.
    """
    return stream.hop if stream.frames == 1 else 0


def of_blocks(variant: Variant) -> Variant:
    """The variant as it is lowered: of one tensor, a state with the chunk behind it. Any other stays as it is."""
    tensor, stream = variant.input, variant.input.stream
    if stream is None:
        return variant
    size = stream.size + stream.chunk + _behind(stream)
    whole = replace(tensor, axes=(tensor.axes[0], size), least=size, default=size, most=size, stream=None)
    return replace(variant, input=whole)


def in_chunks(module: Shipped, variant: Variant) -> Shipped:
    """A lowered module as the variant's files have it."""
    return Chunked(module, variant.input.stream).eval() if variant.input.stream else module
