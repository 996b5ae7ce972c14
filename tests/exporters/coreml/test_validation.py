"""Programs are validated once, at their end, and coremltools is as it was."""

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Program
from coremltools.converters.mil.mil.block import InvalidBlockStateError
from torch import nn

from exporters.coreml.validation import validated_once


def _converted() -> ct.models.MLModel:
    traced = torch.jit.trace(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval(), torch.zeros(1, 3))
    return ct.convert(
        traced, inputs=[ct.TensorType("x", (1, 3), np.float32)], convert_to="mlprogram", skip_model_load=True
    )


def test_it_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = Program.validate
    monkeypatch.setattr(Program, "validate", lambda program, **options: (asked.append(program), real(program))[1])
    with validated_once() as validate:
        model = _converted()
        assert not asked
        validate(model)
    assert asked == [model._mil_program]


def test_a_program_that_is_not_well_formed_is_refused() -> None:
    with validated_once() as validate:
        model = _converted()
        (function,) = model._mil_program.functions.values()
        *_, last = function.operations
        last.outputs[0]._child_ops.append(last)
        with pytest.raises(InvalidBlockStateError, match="should be consumed"):
            validate(model)


def test_it_is_as_it_was_afterwards() -> None:
    before = Program.validate
    with pytest.raises(RuntimeError), validated_once():
        raise RuntimeError
    assert Program.validate is before
