"""A PyTorch model: the faithful one, which all else is held to, and the forms that are made of it."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from recipes.base.tensor import Input, Output
from validators.runners.runner import Arrays, Port, Runner


def answers(model: nn.Module, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """The model's outputs in float32 on the CPU; it takes one input and returns a mapping."""
    (waveform,) = inputs.values()
    with torch.inference_mode():
        return {name: value.numpy() for name, value in model(torch.from_numpy(waveform)).items()}


def open_model(model: nn.Module, tensor: Input, outputs: tuple[Output, ...]) -> Runner:
    """The model as a runtime that is fed `tensor` and gives these outputs of the model's, in this order."""

    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        found = answers(model, inputs)
        return {output.name: found[output.name] for output in outputs}

    ports = tuple(Port(output.name, output.axes, "float32") for output in outputs)
    return Runner("pytorch", (Port(tensor.name, tensor.axes, "float32"),), ports, {}, run)
