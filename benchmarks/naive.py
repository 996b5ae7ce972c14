"""The naive graph: the published network through torch.onnx.export and onnxsim, as their documents say.

`python -m benchmarks.naive mn04_as -o naive.onnx --front-end convolution` writes it, `--coreml naive.mlpackage` adds
coremltools' plain conversion. Nothing of this project but the network itself takes part.

The exporter is the one by TorchScript, since it writes opset 17, with which the lowered files are measured; PyTorch's
newer one writes 18 at least, takes these networks only after changes, and what it writes was as fast (PANN: 22.1 ms
each).
"""

import argparse
import sys
import tempfile
from pathlib import Path

import onnx
import onnxsim
import torch
from torch import nn

from benchmarks.published import FRONT_ENDS, with_front_end
from recipes.base.config import find
from recipes.base.errors import UserError
from recipes.base.quiet import quiet
from recipes.base.recipe import faithful_model, load
from recipes.base.spec import Variant

OPSET = 17


class Outputs(nn.Module):
    """The model with its outputs as a tuple, as exporters want them."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.model(x)
        return tuple(outputs[name] for name in self.names)


def exported(model: nn.Module, variant: Variant) -> onnx.ModelProto:
    """The graph of a faithful model, every output in it, its batch and length free, simplified."""
    names = tuple(output.name for output in variant.outputs)
    free = (
        {0: "batch"} if variant.input.fixed else {0: "batch", len(variant.input.axes) - 1: str(variant.input.axes[-1])}
    )
    with tempfile.TemporaryDirectory() as folder, quiet("torch.onnx"):
        file = Path(folder) / "naive.onnx"
        torch.onnx.export(
            Outputs(model, names),
            (torch.zeros(variant.input.shape(2, variant.input.default)),),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=[variant.input.name],
            output_names=list(names),
            dynamic_axes={variant.input.name: free},
        )
        simplified, _ = onnxsim.simplify(onnx.load(str(file)))
    return simplified


def save_package(model: nn.Module, variant: Variant, file: Path) -> None:
    """coremltools' conversion of the same, as its guide has it, with the length free."""
    with quiet("coremltools"):
        import coremltools as ct

        *axes, _ = variant.input.shape(1, variant.input.default)
        tensor = variant.input
        last = tensor.default if tensor.fixed else ct.RangeDim(tensor.least, tensor.most, tensor.default)
        outputs = tuple(output.name for output in variant.outputs)
        traced = torch.jit.trace(Outputs(model, outputs), torch.zeros(*axes, tensor.default))
        ct.convert(
            traced,
            convert_to="mlprogram",
            inputs=[ct.TensorType(tensor.name, ct.Shape((*axes, last)))],
            outputs=[ct.TensorType(name) for name in outputs],
            minimum_deployment_target=ct.target.iOS16,
            skip_model_load=True,
        ).save(str(file))


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.naive", description=__doc__.splitlines()[0])
    parser.add_argument("variant", help="as `convert list` has it")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .onnx to write")
    parser.add_argument("--front-end", choices=list(FRONT_ENDS), default="stft", help="of EfficientAT")
    parser.add_argument("--checkpoint", type=Path, help="without it, synthetic weights")
    parser.add_argument("--coreml", type=Path, metavar="MLPACKAGE", help="write a package too")
    given = parser.parse_args(words)
    try:
        variant = find(given.variant)
        recipe = load(variant.family)
        weights = recipe.read_checkpoint(given.checkpoint, variant).state if given.checkpoint else None
    except UserError as error:
        parser.error(str(error))
    state = recipe.synthesize(variant) if weights is None else weights
    model = with_front_end(faithful_model(variant, state), variant.sample_rate, given.front_end)
    onnx.save(exported(model, variant), str(given.output))
    if given.coreml:
        save_package(model, variant, given.coreml)


if __name__ == "__main__":
    main(sys.argv[1:])
