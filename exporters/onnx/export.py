"""The exported graph: PyTorch's current exporter, dynamic axes, names and axes as the configuration says."""

from contextlib import nullcontext, suppress
from copy import copy
from functools import partial

import onnx
import torch
import torch._dynamo.config
from onnx_ir.passes import Sequential, common
from onnxscript.optimizer import fold_constants
from torch import nn
from torch.export import ExportedProgram
from torch.onnx import ONNXProgram

from exporters.onnx.operators import FORMS, changes_in_place
from exporters.onnx.opset import NATIVE_OPSET, to_opset
from exporters.onnx.promotion import mixes_types, without_promotion
from recipes.base.errors import UserError
from recipes.base.quiet import quiet
from recipes.base.spec import Variant

OPSETS = range(13, 21)
DEFAULT_OPSET = 17


def export(module: nn.Module, variant: Variant, opset: int = DEFAULT_OPSET) -> onnx.ModelProto:
    """The graph of a lowered module, its input, outputs and axes named as the configuration has them.

    An axis that is a number there is one in the graph.

    Raises UserError when the opset is not one of 13 to 20.
    """
    if opset not in OPSETS:
        raise UserError(f"--opset {opset}: choose one from {OPSETS.start} to {OPSETS.stop - 1}")
    # Two rows and a length that leaves no inner axis at 1: torch.export takes a 1 for a constant.
    examples = tuple(torch.zeros(shape) for shape in variant.input.shapes(2, variant.input.default))
    # The cache of shapes costs more than it saves where every size is an expression: 10 s for DyMN, and 7 without.
    with torch._dynamo.config.patch(fake_tensor_cache_enabled=False):
        program = torch.export.export(module, examples, dynamic_shapes=_dynamic_axes(variant))
    with quiet("torch.onnx"):
        # Asked for less than it writes, the exporter keeps its own opset with a warning; `to_opset` goes down.
        exported = _translated(program, variant, max(opset, NATIVE_OPSET))
    model = _settled(exported)
    _drop_debris(model)
    _name_axes(model, variant)
    return to_opset(model, opset)


def _translated(program: ExportedProgram, variant: Variant, opset: int) -> ONNXProgram:
    """Operator by operator, and only where one has no ONNX form of its own, taken apart before."""
    translate = partial(
        torch.onnx.export,
        dynamo=True,
        input_names=list(variant.input.fed()),
        output_names=list(variant.input.given(variant.outputs)),
        opset_version=opset,
        # Seconds of looking for patterns, of which onnxsim finds the same and more.
        optimize=False,
    )
    translated: ONNXProgram | None = None
    if not changes_in_place(program):
        whole = copy(program)
        # What the exporter asks of a program; this one is taken as it is.
        whole.run_decompositions = lambda table=None: whole
        as_it_is = nullcontext() if mixes_types(program) else without_promotion()
        with suppress(torch.onnx.OnnxExporterError), as_it_is:
            translated = translate(whole, custom_translation_table=FORMS)
    if translated is None:
        translated = translate(program)
    assert translated is not None
    return translated


def _settled(program: ONNXProgram) -> onnx.ModelProto:
    """With all that is constant in it as tensors, each once: `to_opset` reads them."""
    common.InlinePass()(program.model)
    fold_constants(program.model, onnx_shape_inference=False)
    Sequential(
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
    )(program.model)
    return program.model_proto


def _dynamic_axes(variant: Variant) -> tuple[dict[int, object], ...]:
    # Named `Dim`s make torch.export solve for their range and fail on the floor divisions of the pools
    # ("cannot be solved using solve_univariate_inequality"); `Dim.DYNAMIC` with bounds holds.
    dynamic = torch.export.Dim.DYNAMIC
    batch: dict[int, object] = {0: dynamic(min=1, max=1024)}
    if variant.input.fixed:
        return (batch,) * len(variant.input.fed())
    last = len(variant.input.axes) - 1
    return ({**batch, last: dynamic(min=variant.input.least, max=variant.input.most)},)


def _drop_debris(model: onnx.ModelProto) -> None:
    """Remove stack traces (they hold paths of this machine) and the shape notes of one trace.

    tract unifies `value_info` symbols with concrete shapes and refuses: "Impossible to unify Sym(b) with Val(1)".
    """
    graph = model.graph
    del model.metadata_props[:]
    del graph.metadata_props[:]
    del graph.value_info[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]


def _name_axes(model: onnx.ModelProto, variant: Variant) -> None:
    wanted = variant.input.given(variant.outputs) | variant.input.fed()
    for value in (*model.graph.input, *model.graph.output):
        axes = wanted[value.name]
        dims = value.type.tensor_type.shape.dim
        if len(dims) != len(axes):
            raise ValueError(f"{value.name} has {len(dims)} axes and the configuration says {axes}")
        for dim, axis in zip(dims, axes, strict=True):
            if isinstance(axis, str):
                dim.dim_param = axis
            elif dim.dim_value != axis:
                raise ValueError(
                    f"{value.name} has {dim.dim_value or dim.dim_param} where the configuration says {axis}"
                )
