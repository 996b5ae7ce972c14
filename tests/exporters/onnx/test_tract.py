"""The form for tract is found in PANN's lowered graph, and gives the same answers."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from exporters.lowering import lower
from exporters.onnx.export import export
from exporters.onnx.simplify import simplify
from exporters.onnx.tract import for_tract
from recipes.base.config import find
from recipes.base.recipe import faithful_model
from recipes.base.sound import rich
from validators.runners import onnxruntime, tract


def test_pann_has_the_same_answers(pann: Any, synthetic_pann: nn.Module) -> None:
    plain = lower(synthetic_pann, pann)
    module, done = for_tract(plain)
    assert [one.rewrite for one in done] == ["strides-behind"] * 4 + ["hold-orders", "reshape-rows"]
    with torch.no_grad():
        for batch, samples in ((1, 9_920), (2, 21_345)):
            x = torch.randn(batch, samples) / 10
            for found, expected in zip(module(x), plain(x), strict=True):
                torch.testing.assert_close(found, expected)


@pytest.fixture(scope="module", params=[0, 100], ids=["whole frames", "a part of one"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A front end as a file for tract, traced with a sound that ends with a frame or does not; and what it is of."""
    variant = find("mel_torchaudio")
    size = 40 * variant.front_end.hop_length + request.param
    variant = replace(variant, input=replace(variant.input, default=size))
    plain = lower(faithful_model(variant, {}), variant)
    module, done = for_tract(plain)
    assert [one.rewrite for one in done] == ["reshape-rows"]
    file = tmp_path_factory.mktemp("tract") / "model.onnx"
    onnx.save(simplify(export(module, variant)), str(file))
    return file, plain


@pytest.mark.parametrize("runtime", [onnxruntime, tract], ids=["onnxruntime", "tract"])
def test_a_file_takes_any_length(exported: tuple[Path, nn.Module], runtime: ModuleType) -> None:
    file, plain = exported
    runner = runtime.open_file(file)
    least = find("mel_torchaudio").input.least
    for batch, samples in ((1, least), (2, least + 1), (1, 8000), (3, 8001)):
        waveform = np.stack([rich(samples, 16000, seed) for seed in range(batch)])
        with torch.no_grad():
            (expected,) = plain(torch.from_numpy(waveform))
        found = runner.run({"waveform": waveform})["melspec"]
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-6, rtol=1e-4)


def test_a_network_without_any_of_these_is_given_back() -> None:
    class Plain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    module: Any = Plain()
    assert for_tract(module) == (module, ())
