"""The Core ML program: traced, converted by coremltools' own frontend, its pads written by our handlers."""

from collections.abc import Collection
from dataclasses import dataclass

import coremltools as ct
import numpy as np
import torch

from exporters.coreml.outputs import without
from exporters.coreml.pads import Decision, graph_passes, installed
from exporters.coreml.precision import compute_precision
from exporters.coreml.states import remembering
from exporters.coreml.validation import validated_once
from exporters.lowering.fixed import at_length
from exporters.lowering.shipped import Shipped
from recipes.base.quiet import quiet
from recipes.base.spec import Variant
from recipes.base.tensor import Input, Precision

DEPLOYMENT_TARGET = ct.target.iOS16
# The first with states of its own.
_WITH_STATES = ct.target.iOS18


@dataclass(frozen=True)
class Converted:
    """A program that is not saved yet, and how each of its pads was written."""

    model: ct.models.MLModel
    pads: tuple[Decision, ...]


def convert(
    module: Shipped,
    variant: Variant,
    *,
    precision: Precision = "mixed",
    size: int | None = None,
    float32_ops: Collection[str] = (),
    own_state: bool = False,
) -> Converted:
    """A lowered module as an ML program for iOS 16: one clip in, all outputs as float32.

    `size` fixes the input's last axis; without it that is free between the bounds of the configuration. `float32_ops`
    are named as `compute_precision` has them, and stay float32 whatever the precision. Raises UserError for others.
    With `own_state`, what is fed chunks keeps their state itself, and is for iOS 18.
    """
    if size:
        module = at_length(module, *variant.input.shapes(1, size))
    states: list[ct.StateType] = []
    if own_state:
        module, variant, states = remembering(module, variant)
    names = tuple(output.name for output in variant.outputs)
    through = variant.coreml.float32_through
    # What is inside becomes an output for as long as precisions are chosen: no pass can take it for something else.
    inner = module.inner if precision == "mixed" else ()
    # Tracing, since torch.export cannot hold a free length for the pools' floor divisions, and coremltools' guide
    # still recommends it: https://apple.github.io/coremltools/docs-guides/source/convert-pytorch-workflow.html
    with (
        quiet("coremltools"),
        torch.no_grad(),
        installed(variant.coreml.pads) as decisions,
        validated_once() as validate,
    ):
        traced = torch.jit.trace(
            module.with_inner() if inner else module,
            tuple(torch.zeros(shape) for shape in variant.input.shapes(1, size or variant.input.default)),
        )
        model = ct.convert(
            traced,
            convert_to="mlprogram",
            inputs=[ct.TensorType(name, shape, dtype=np.float32) for name, shape in _shapes(variant.input, size)],
            outputs=[ct.TensorType(name, dtype=np.float32) for name in (*variant.input.given(variant.outputs), *inner)],
            states=states,
            minimum_deployment_target=_WITH_STATES if states else DEPLOYMENT_TARGET,
            compute_precision=compute_precision(
                precision, inner or tuple(name for name in names if name == through), float32_ops
            ),
            pass_pipeline=without(inner, graph_passes()),
            skip_model_load=True,
        )
        validate(model)
    return Converted(model, tuple(decisions))


def _shapes(tensor: Input, size: int | None) -> list[tuple[str, ct.Shape]]:
    (*others, _), *states = tensor.shapes(1, tensor.default)
    size = tensor.default if tensor.fixed else size
    first = (*others, size or ct.RangeDim(tensor.least, tensor.most, tensor.default))
    return [(name, ct.Shape(shape)) for name, shape in zip(tensor.fed(), (first, *states), strict=True)]
