"""Speed beside eager PyTorch, on a network of the size of an audio tagger."""

import time
from collections.abc import Callable

import coremltools as ct
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from validators.coreml import CoreMLModel


def block(channels: int, wider: int, pool: int) -> nn.Sequential:
    """A depthwise-separable block of MobileNetV1 that pools instead of striding, as PANN's does."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.AvgPool2d(pool),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, wider, 1, bias=False),
        nn.BatchNorm2d(wider),
        nn.ReLU(),
    )


class Tagger(nn.Module):
    """A DFT by convolution over 10 s at 32 kHz, a log-mel, and MobileNetV1 with random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.real, self.imaginary = (nn.Conv1d(1, 513, 1024, 320, padding=512, bias=False) for _ in range(2))
        self.mel = nn.Parameter(torch.rand(513, 64))
        widths = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
        pools = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
        blocks = [block(*sizes) for sizes in zip(widths, widths[1:], pools, strict=False)]
        self.features = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.AvgPool2d(2), nn.ReLU(), *blocks)
        self.head = nn.Linear(1024, 527)

    def forward(self, waveform: Tensor) -> Tensor:
        x = waveform[:, None]
        power = self.real(x) ** 2 + self.imaginary(x) ** 2
        mel = 10 * torch.log10(torch.clamp(power.transpose(1, 2) @ self.mel, min=1e-10))
        return torch.sigmoid(self.head(self.features(mel[:, None]).mean(3).amax(2)))


def best(run: Callable[[], object], rounds: int = 7) -> float:
    """The shortest of several runs in seconds, which other work on the machine disturbs least."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.slow
def test_float32_takes_at_most_twice_as_long_as_eager_pytorch():
    net, waveform = Tagger().eval(), torch.randn(1, 320_000)
    package = ct.convert(
        torch.jit.trace(net, waveform),
        inputs=[ct.TensorType(name="waveform", shape=waveform.shape)],
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    model, data = CoreMLModel(package, precision="float32"), {"waveform": waveform.numpy()}
    with torch.no_grad():
        expected = net(waveform).numpy()
        eager = best(lambda: net(waveform))
    (result,) = model.predict(data).values()
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert best(lambda: model.predict(data)) <= 2 * eager
