"""A model of a state with a chunk behind it, as files take it: both apart, and the next state beside the outputs."""

from dataclasses import replace

import torch
from torch import Tensor

from exporters.lowering.shipped import Shipped
from recipes.base.spec import Stream, Variant


class Chunked(Shipped):
    """(batch, chunk) and (batch, state) to the outputs of the two put together, and the last of it as next state."""

    def __init__(self, block: Shipped, stream: Stream) -> None:
        super().__init__(block.model, block.names)
        self.chunk = stream.chunk

    def forward(self, chunk: Tensor, state: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        block = torch.cat([state, chunk], dim=1)
        return *super().forward(block), block[:, self.chunk :]


def of_blocks(variant: Variant) -> Variant:
    """The variant as it is lowered: of one tensor, a state with the chunk behind it. Any other stays as it is."""
    tensor, stream = variant.input, variant.input.stream
    if stream is None:
        return variant
    size = stream.size + stream.chunk
    whole = replace(tensor, axes=(tensor.axes[0], size), least=size, default=size, most=size, stream=None)
    return replace(variant, input=whole)


def in_chunks(module: Shipped, variant: Variant) -> Shipped:
    """A lowered module as the variant's files have it."""
    return Chunked(module, variant.input.stream).eval() if variant.input.stream else module
