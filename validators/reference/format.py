"""The file format `soundport.reference/1` as dataclasses; docs/reference-format.md says it in words.

The first wrong one of many ends the reading (`FailFast`): megabytes that are all wrong would take gigabytes of
complaints.
"""

from typing import Annotated, Any, Literal

from pydantic import FailFast, Field
from pydantic.dataclasses import dataclass

from recipes.base.fields import NAME, STRICT, Name
from recipes.base.spec import MOST_RATE, Weights
from recipes.base.tensor import Kind

SCHEMA = "soundport.reference/1"
FILE = "reference.json"
SOUNDS = "reference"
MOST_BYTES = 5_000_000

_CASE = r"[A-Za-z0-9_-]+"
_ARRAY = rf"^{SOUNDS}/{_CASE}\.{NAME}\.npy$"
# NumPy has no more (https://numpy.org/doc/stable/release/2.0.0-notes.html).
_MOST_AXES = 64
# So that what all axes come to can be told: Python writes out no more than 4,300 digits.
_Size = Annotated[int, Field(gt=0, lt=10**60)]
_Axes = Annotated[tuple[Name | _Size, ...], Field(min_length=1, max_length=_MOST_AXES)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, config=STRICT)
class Checkpoint:
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, config=STRICT)
class InputPort:
    name: Name
    axes: _Axes


@dataclass(frozen=True, config=STRICT)
class OutputPort:
    name: Name
    axes: _Axes
    kind: Kind


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Header:
    """Whose answers these are. `front_end` are the family's own numbers, `versions` those of what computed them."""

    family: str
    variant: str
    weights: Weights
    checkpoint: Checkpoint
    sample_rate: Annotated[int, Field(gt=0, le=MOST_RATE)]
    front_end: dict[str, Any]
    versions: dict[str, str]
    input: InputPort
    outputs: Annotated[tuple[OutputPort, ...], Field(min_length=1), FailFast()]
    # What some artifact is fed and none gives.
    inner: Annotated[tuple[InputPort, ...], FailFast()] = ()


@dataclass(frozen=True, config=STRICT)
class Sounds:
    """An input array: one mono float32 WAV per row of the batch; axes between the batch and the samples are 1."""

    shape: Annotated[tuple[_Size, ...], Field(min_length=2, max_length=_MOST_AXES)]
    files: Annotated[
        tuple[Annotated[str, Field(pattern=rf"^{SOUNDS}/{_CASE}(\.[0-9]+)?\.wav$")], ...],
        FailFast(),
    ]


@dataclass(frozen=True, config=STRICT)
class Values:
    """An output array: its elements 0, stride, 2 * stride, ... in C order.

    `file` is a NumPy file with all of it, present for outputs that some artifact takes as its input.
    """

    shape: Annotated[tuple[_Size, ...], Field(min_length=1, max_length=_MOST_AXES)]
    stride: _Size
    values: Annotated[list[_Finite], FailFast()]
    file: Annotated[str, Field(pattern=_ARRAY)] | None = None


@dataclass(frozen=True, config=STRICT)
class Whole:
    """An array that some artifact is fed, in a NumPy file."""

    shape: Annotated[tuple[_Size, ...], Field(min_length=2, max_length=_MOST_AXES)]
    file: Annotated[str, Field(pattern=_ARRAY)]


@dataclass(frozen=True, config=STRICT)
class CaseEntry:
    name: Annotated[str, Field(pattern=rf"^{_CASE}$")]
    description: str
    input: dict[str, Sounds]
    outputs: dict[str, Values]
    inner: dict[str, Whole] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Dump(Header):
    """The whole file."""

    schema: Literal["soundport.reference/1"]
    cases: Annotated[tuple[CaseEntry, ...], Field(min_length=1), FailFast()]
