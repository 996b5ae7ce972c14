"""What an EfficientAT configuration says beyond the common keys."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from recipes.base import spec
from recipes.base.fields import STRICT, Positive


@dataclass(frozen=True, config=STRICT)
class LogMel(spec.LogMel):
    """`melspec` is (ln(power in each mel band + power_floor) + offset) / divisor; the window's length in samples."""

    pre_emphasis: Annotated[float, Field(ge=0, lt=1)]
    win_length: Annotated[int, Field(gt=1, multiple_of=2)]
    offset: float
    divisor: Positive

    def __post_init__(self) -> None:
        if self.win_length > self.n_fft:
            raise ValueError("needs win_length <= n_fft")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Variant(spec.LogMelVariant):
    """`width` multiplies every channel count; `strides` are those of the four stages that the paper calls C1 to C4."""

    front_end: LogMel
    width: Positive
    strides: tuple[Literal[1, 2], Literal[1, 2], Literal[1, 2], Literal[1, 2]] = (2, 2, 2, 2)
    head: Literal["mlp", "fully_convolutional"] = "mlp"
    dynamic: bool = False
