"""The faithful PyTorch model, which all else is held to."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from validators.runners.runner import Arrays


def answers(model: nn.Module, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """The model's outputs in float32 on the CPU; it takes one input and returns a mapping."""
    (waveform,) = inputs.values()
    with torch.inference_mode():
        return {name: value.numpy() for name, value in model(torch.from_numpy(waveform)).items()}
