"""The naive graph is the published network: its outputs, its opset, its free axes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from benchmarks import naive
from benchmarks.__main__ import main
from benchmarks.files import peak
from benchmarks.sessions import run, session
from recipes.base.config import find
from recipes.base.recipe import faithful_model, load
from recipes.base.sound import rich


# Of PyTorch's older exporter, which writes opset 17.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:stft with return_complex=False is deprecated")
@pytest.mark.parametrize("front_end", [pytest.param("stft", marks=pytest.mark.slow), "convolution"])
def test_it_answers_as_the_faithful_model_at_any_length_and_batch(tmp_path: Path, front_end: str) -> None:
    variant = find("mn01_as")
    file = tmp_path / "naive.onnx"
    naive.main(["mn01_as", "-o", str(file), "--front-end", front_end])
    written = onnx.load(str(file))
    assert [(item.domain, item.version) for item in written.opset_import] == [("", 17)]
    assert any(node.op_type == "STFT" for node in written.graph.node) == (front_end == "stft")
    opened = session(file, 1)
    model = faithful_model(variant, load(variant.family).synthesize(variant))
    for batch, samples in ((1, 41237), (3, 32000)):
        sound = np.stack([rich(samples, variant.sample_rate, seed) for seed in range(batch)])
        with torch.inference_mode():
            expected = model(torch.from_numpy(sound))
        answers = run(opened, sound)
        assert list(answers) == [output.name for output in variant.outputs]
        for name, answer in answers.items():
            np.testing.assert_allclose(answer, expected[name].numpy(), atol=3e-4, rtol=1e-4)
    if (taken := peak(file, (1, 32000))) is not None:
        # The file itself has to be in it.
        assert taken > file.stat().st_size / 2


def test_a_subject_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["panns"])
    assert "no subject panns; choose from front-end, pann" in capsys.readouterr().err


def test_a_network_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        naive.main(["panns", "-o", str(tmp_path / "naive.onnx")])
    assert "there is no recipe 'panns' (did you mean pann" in capsys.readouterr().err
