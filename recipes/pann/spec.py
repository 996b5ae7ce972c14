"""What a PANN configuration says beyond the common keys."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from recipes.base import spec


@dataclass(frozen=True, config=spec.STRICT)
class LogMel:
    """Numbers of the log-mel front end. Lengths in samples, frequencies in Hz."""

    n_fft: Annotated[int, Field(gt=0, multiple_of=2)]
    hop_length: Annotated[int, Field(gt=0)]
    n_mels: Annotated[int, Field(gt=0)]
    fmin: spec.NotNegative
    fmax: spec.Positive
    power_floor: spec.Positive


@dataclass(frozen=True, kw_only=True, config=spec.STRICT)
class Variant(spec.Variant):
    front_end: LogMel

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.front_end.fmin < self.front_end.fmax <= self.sample_rate / 2:
            raise ValueError("needs fmin < fmax <= sample_rate / 2")
