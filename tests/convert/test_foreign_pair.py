"""A graph and a package of one network that nobody here made: Silero's VAD, by its authors and by plain coremltools."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes.base.quiet import quiet

Convert = Callable[..., Any]


@pytest.fixture(scope="module")
def silero() -> Path:
    """The authors' files (MIT, https://github.com/snakers4/silero-vad), where their package is."""
    spec = find_spec("silero_vad")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package silero-vad")
    return Path(spec.origin).parent / "data"


@pytest.fixture(scope="module")
def packages(silero: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of the network that the authors' program for tinygrad shows, by coremltools alone, in float32 and in float16."""
    import torch
    from torch import Tensor, nn

    with quiet("coremltools"):
        import coremltools as ct

    class Vad(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
            self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
            self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
            self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
            self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
            self.lstm_cell = nn.LSTM(128, 128)
            self.final_conv = nn.Conv1d(128, 1, 1)

        def forward(self, audio: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
            x = self.stft_conv(nn.functional.pad(audio, (0, 64), mode="reflect").unsqueeze(1))
            x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
            for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
                x = conv(x).relu()
            _, (h, c) = self.lstm_cell(x.permute(2, 0, 1), (memory[:1], memory[1:]))
            speech = self.final_conv(h.permute(1, 2, 0).relu()).sigmoid()
            return torch.cat([h, c]), speech.squeeze(1)

    model = Vad().eval()
    authors = torch.jit.load(silero / "silero_vad.jit")._model
    # The same tensors in the same order, called otherwise.
    model.load_state_dict(dict(zip(model.state_dict(), authors.state_dict().values(), strict=True)))
    example = (torch.zeros(1, 576), torch.zeros(2, 1, 128))
    folder = tmp_path_factory.mktemp("vad")
    found = {}
    with quiet("coremltools"):
        traced = torch.jit.trace(model, example)
        for name, precision in (("fp32", ct.precision.FLOAT32), ("fp16", ct.precision.FLOAT16)):
            package = ct.convert(
                traced,
                inputs=[ct.TensorType("audio", (1, 576)), ct.TensorType("memory", (2, 1, 128))],
                outputs=[ct.TensorType("memory_out"), ct.TensorType("speech")],
                compute_precision=precision,
                minimum_deployment_target=ct.target.iOS16,
            )
            found[name] = folder / f"{name}.mlpackage"
            package.save(str(found[name]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("name", "most"), [("fp32", 1e-5), ("fp16", 1e-2)])
def test_the_authors_graph_and_anothers_package_agree(
    convert: Convert, silero: Path, packages: dict[str, Path], tmp_path: Path, name: str, most: float
) -> None:
    """Every name differs, outputs come in another order, and only the graph is told the rate."""
    graph = silero / "silero_vad_16k_op15.onnx"
    assert convert("compare", graph, packages[name]).is_one_clear_error("input 'sr' int64 [] has no partner")
    np.savez(tmp_path / "rate.npz", sr=np.array(16000))
    said = convert("compare", graph, packages[name], "--on", tmp_path / "rate.npz", "--json")
    assert said.exit_code == 0, said.stdout
    data = json.loads(said.stdout)
    values = {c["output"]: c["comparison"]["max_abs"] for c in data["checks"] if c["kind"] == "values"}
    assert values.keys() == {"output", "stateN"}
    assert all(0 < value < most for value in values.values()), values
    assert "output: compared with GOT's 'speech', the only one of its shape" in data["notes"]
    assert data["notes"][-1].endswith("the defaults of mixed" if name == "fp16" else "the defaults of fp32")


@pytest.mark.slow
def test_another_training_of_the_same_network_fails(convert: Convert, silero: Path, packages: dict[str, Path]) -> None:
    said = convert("compare", silero / "silero_vad_half.onnx", packages["fp32"], "--json")
    assert said.exit_code == 1
    failed = [c["output"] for c in json.loads(said.stdout)["checks"] if c["status"] == "failed"]
    assert failed == ["output", "stateN"] * 2
