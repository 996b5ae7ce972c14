"""Runs ML programs of Core ML without a Mac: reads the saved package and executes it op by op."""

from validators.coreml.accumulation import AccumulationBound, accumulation_bounds
from validators.coreml.errors import (
    CoreMLError,
    ExecutionError,
    InputError,
    InputNameError,
    PackageError,
    StateError,
    UnsupportedOpError,
)
from validators.coreml.model import CoreMLModel, Intermediate, State

__all__ = [
    "AccumulationBound",
    "CoreMLError",
    "CoreMLModel",
    "ExecutionError",
    "InputError",
    "InputNameError",
    "Intermediate",
    "PackageError",
    "State",
    "StateError",
    "UnsupportedOpError",
    "accumulation_bounds",
]
