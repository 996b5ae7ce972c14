"""What goes into a model and comes out: plain dataclasses, strictly read."""

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from recipes.base.fields import STRICT, Axes, Name, NotNegative

Precision = Literal["fp32", "mixed", "fp16"]
Kind = Literal["probability", "logit", "multiclass_logit", "embedding", "feature"]

# What `convert run` can rank.
SCORES = ("probability", "logit", "multiclass_logit")

# More than the longest sound that any model takes.
_MOST_SAMPLES = 2**22
_Samples = Annotated[int, Field(ge=0, le=_MOST_SAMPLES)]


@dataclass(frozen=True, config=STRICT)
class Tolerance:
    """|actual - expected| <= atol + rtol * |expected|, element by element, and why that much is allowed."""

    atol: NotNegative
    rtol: NotNegative
    reason: Annotated[str, Field(min_length=10)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stream:
    """How sound is fed in chunks, each with the `state` that the one before gave as `next_state`; lengths in samples.

    A chunk is `frames` hops of samples and gives as many frames, each a `window` long. The state, (batch, window -
    hop), is what the next frames read of samples that were fed before; at first, as many samples from the beginning.

    What is fed is the sound x, and where `emphasis` is not 0, x[i] - emphasis * x[i - 1]: before the first sample is
    zero, or it is dropped (`first_dropped`). Then `front` samples are put before it and `back` behind it, as `padding`
    says, or its first `skipped` are left out. Where `levelled` is set, the mean of the first window is taken off, in
    steps; where `led` is set, its first sample comes twice. A frame counts once `unread` samples behind its window have
    come, those of `back` among them. A sound has at least `least` samples, or no frame. After `latency` samples from
    the middle of its window a frame is given, at most. `recipes/base/streaming.py` does all that.

    Frames are those that the whole file gives in the same runtime, to within `tolerance`, whose atol is a part of the
    sound's greatest. Where they are logarithms, `unit` times the natural one, that holds of what is under them, and the
    atol is a part of the frame's greatest: beside that, a sum in float32 is rounded.
    """

    # A plain `state` is a word of Core ML's own language, and no name in it.
    state: Name = "state_in"
    next_state: Name = "state_out"
    frames: Annotated[int, Field(gt=0, le=_MOST_SAMPLES)]
    hop: Annotated[int, Field(gt=0, le=2**16)]
    window: Annotated[int, Field(gt=0, le=2**16)]
    padding: Literal["constant", "reflect", "replicate", "none"]
    front: _Samples
    back: _Samples
    skipped: _Samples
    unread: _Samples
    emphasis: Annotated[float, Field(ge=0, lt=1)]
    first_dropped: bool
    levelled: bool
    led: bool
    least: _Samples
    latency: _Samples
    unit: Annotated[float, Field(gt=0)] | None
    tolerance: Tolerance

    def __post_init__(self) -> None:
        if self.window <= self.hop:
            raise ValueError("has frames that share no sample, and so no state")

    @property
    def chunk(self) -> int:
        return self.frames * self.hop

    @property
    def size(self) -> int:
        """Of the state."""
        return self.window - self.hop


@dataclass(frozen=True, config=STRICT)
class Input:
    """A tensor that users feed. `axes` holds a name per axis that may change and a number per axis that may not.

    The last axis is free between `least` and `most`: below the least, nothing is left after the pools; Core ML wants
    an upper bound too. `default` is what examples show. Where the last axis is a number, all three are that number and
    need not be said. `stream` says how chunks of sound are fed, None for what is fed whole.
    """

    name: Name
    axes: Annotated[Axes, Field(min_length=2)]
    description: str
    least: Annotated[int, Field(gt=0)] = 0
    default: Annotated[int, Field(gt=0)] = 0
    most: Annotated[int, Field(gt=0)] = 0
    stream: Stream | None = None

    def __post_init__(self) -> None:
        if self.stream and self.axes[1:] != (self.stream.chunk,):
            raise ValueError(f"is fed in chunks of {self.stream.chunk} samples, and has the axes {self.axes}")
        sizes = (self.least, self.default, self.most)
        if isinstance(last := self.axes[-1], int):
            if set(sizes) - {0, last}:
                raise ValueError("has a number for its last axis, and other numbers as least, default or most")
            for name in ("least", "default", "most"):
                object.__setattr__(self, name, last)
        elif not all(sizes):
            raise ValueError("needs least, default and most, or a number for its last axis")
        elif not self.least <= self.default <= self.most:
            raise ValueError("needs least <= default <= most")

    @property
    def fixed(self) -> bool:
        """Whether one size of the last axis is all that it takes."""
        return self.least == self.most

    def shape(self, batch: int, size: int) -> tuple[int, ...]:
        """With these sizes of the first and the last axis."""
        middle = tuple(axis for axis in self.axes[1:-1] if isinstance(axis, int))
        return (batch, *middle, size)

    def shapes(self, batch: int, size: int) -> list[tuple[int, ...]]:
        """As `shape`, of each tensor that goes into a file."""
        return [self.shape(batch, size), *([(batch, self.stream.size)] if self.stream else [])]

    def fed(self) -> dict[str, Axes]:
        """The axes of each tensor that goes into a file."""
        state: dict[str, Axes] = {self.stream.state: (self.axes[0], self.stream.size)} if self.stream else {}
        return {self.name: self.axes, **state}

    def given(self, outputs: "Collection[Output]") -> dict[str, Axes]:
        """The axes of each tensor that comes out of a file which gives these outputs."""
        if self.stream is None:
            return {output.name: output.axes for output in outputs}
        frames = self.stream.frames
        found = {
            output.name: (output.axes[0], *(frames if isinstance(axis, str) else axis for axis in output.axes[1:]))
            for output in outputs
        }
        return {**found, self.stream.next_state: (self.axes[0], self.stream.size)}

    def descriptions(self, outputs: "Collection[Output]") -> dict[str, str]:
        """What is said of each tensor that goes into a file or comes out."""
        found = {self.name: self.description} | {output.name: output.description for output in outputs}
        if self.stream:
            found[self.stream.state] = "What the chunk before gave as the next state; at first the sound's beginning"
            found[self.stream.next_state] = "To be fed with the next chunk"
        return found


@dataclass(frozen=True, config=STRICT)
class Output:
    """A tensor that users get. The last axis of `probability` and of logits is the classes.

    Any number of classes may be there at once for a `probability` and a `logit`, whose sigmoid is one; just one is
    for a `multiclass_logit`, of which the softmax gives probabilities.
    """

    name: Name
    axes: Axes
    kind: Kind
    description: str
    tolerances: dict[Precision, Tolerance]

    def __post_init__(self) -> None:
        if missing := {"fp32", "mixed", "fp16"} - set(self.tolerances):
            raise ValueError(f"has no tolerance for {', '.join(sorted(missing))}")
