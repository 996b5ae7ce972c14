"""What a variant is: plain dataclasses, filled from `configs/FAMILY/VARIANT.yaml` and shared by all packages."""

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from math import isfinite
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from recipes.base.errors import UserError

Precision = Literal["fp32", "mixed", "fp16"]
# Computed: the network has none that were trained, and its numbers stand for the checkpoint.
Weights = Literal["published", "synthetic", "custom", "computed"]
LabelSet = Literal["audioset", "esc50", "urban8k", "speechcommands"]
# Of front ends, as `recipes.base.spectral` computes them.
Window = Literal["hann", "hamming", "blackman", "povey", "rectangular"]
MelScale = Literal["htk", "slaney", "kaldi"]
MelNorm = Literal["slaney", "none"]
Kind = Literal["probability", "logit", "multiclass_logit", "embedding", "feature"]

# What `convert run` can rank.
SCORES = ("probability", "logit", "multiclass_logit")

STRICT = ConfigDict(extra="forbid", strict=True)


def finite(value: float) -> float:
    if not isfinite(value):
        raise ValueError("must be finite")
    return value


Positive = Annotated[float, Field(gt=0), AfterValidator(finite)]
NotNegative = Annotated[float, Field(ge=0), AfterValidator(finite)]
# What ONNX, Core ML and Python all take.
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
# In Hz, twice what converters of sound are built for; sounds to check on are as many samples as that.
MOST_RATE = 768_000
Name = Annotated[str, Field(pattern=f"^{NAME}$")]


@dataclass(frozen=True, config=STRICT)
class Source:
    """Where the published checkpoint is, and how to know it: its size and at least one checksum.

    Where neither is known, nobody can tell the file from another, so that it is not fetched.
    """

    url: Annotated[str, Field(pattern=r"^https?://")]
    file: Annotated[str, Field(pattern=r"^[^/\\.][^/\\]*$")]
    size: Annotated[int, Field(gt=0)] | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    def __post_init__(self) -> None:
        if (self.size is None) != (self.md5 is None and self.sha256 is None):
            raise ValueError("needs size and md5 or sha256, or none of them")


@dataclass(frozen=True, config=STRICT)
class Published:
    """How good its authors say that the checkpoint is, and where they say so."""

    metric: Literal["mAP", "accuracy"]
    percent: Annotated[float, Field(gt=0, le=100)]
    dataset: str
    source: str


Axes = tuple[Name | Annotated[int, Field(gt=0)], ...]
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
    says, or its first `skipped` are left out. Where it is `levelled`, the mean of the first window is taken off, in
    steps; where it is `led`, its first sample comes twice. A frame counts once `unread` samples behind its window have
    come, those of `back` among them. A sound has at least `least` samples, or no frame. After `latency` samples from
    the middle of its window a frame is given, at most. `recipes/base/streaming.py` does all that.

    Frames are those that the whole file gives in the same runtime, to within `tolerance`, whose atol is a part of the
    sound's greatest.
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


@dataclass(frozen=True, config=STRICT)
class PadOverride:
    """How one pad node of the Core ML conversion is written whatever the model says; None leaves the model's word.

    `pad` is one (before, after) pair per axis of the padded tensor, the first axis first; `value` is what a constant
    pad writes; `handler` is one of `exporters.coreml.pads.HANDLERS`.
    """

    pad: tuple[tuple[int, int], ...] | None = None
    mode: Literal["constant", "reflect", "replicate", "circular"] | None = None
    value: Annotated[float, AfterValidator(finite)] | None = None
    handler: Name | None = None

    def __post_init__(self) -> None:
        if not self.said():
            raise ValueError("overrides nothing; set pad, mode, value or handler, or remove it")

    def said(self) -> dict[str, object]:
        """What it replaces, by key."""
        return {key: value for key, value in vars(self).items() if value is not None and not key.startswith("_")}


@dataclass(frozen=True, config=STRICT)
class CoreML:
    """What only the Core ML conversion needs to know."""

    # The output up to which `mixed` stays float32, whether files give it or not: powers of loud and of silent sound
    # leave float16's range. None where the model is fed something that is past all that.
    float32_through: Name | None
    pads: dict[str, PadOverride] = Field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class LogMel:
    """Numbers that every log-mel front end has. Lengths in samples, frequencies in Hz; a family adds its own."""

    n_fft: Annotated[int, Field(gt=0, multiple_of=2)]
    hop_length: Annotated[int, Field(gt=0)]
    n_mels: Annotated[int, Field(gt=0)]
    fmin: NotNegative
    fmax: Positive
    power_floor: Positive


@dataclass(frozen=True, config=STRICT)
class Preparation:
    """What is done to mono sound at the model's rate before a network that takes one length only is fed it.

    Its greatest magnitude becomes `peak`, but silence stays silence; then it is cut at the end, or padded with zeros.
    """

    peak: Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Variant:
    """One published checkpoint and everything that is said of it; a family adds keys in its `spec`.

    A family without a checkpoint says in its `spec` that it is not `trained`: then there is nothing to fetch, to draw
    or to be given, and what is converted follows from the configuration alone.
    """

    trained: ClassVar[bool] = True

    family: Name
    name: Name
    title: str
    description: str
    author: str
    licence: str
    paper: str
    # None where nobody publishes weights, and users bring their own.
    source: Source | None = None
    published: Published | None = None
    sample_rate: Annotated[int, Field(gt=0, le=MOST_RATE)]
    # None where nothing tells what the classes are called.
    labels: LabelSet | None
    classes: Annotated[int, Field(gt=0)]
    preparation: Preparation | None = None
    input: Input
    # What the network behind the front end may be fed instead: outputs, of the same names.
    alternative_inputs: tuple[Input, ...] = ()
    outputs: Annotated[tuple[Output, ...], Field(min_length=1)]
    # The output whose last axis `convert run` ranks; None where that is not given.
    scores: Name | None
    coreml: CoreML
    default: bool = False

    def __post_init__(self) -> None:
        if self.preparation and not self.input.fixed:
            raise ValueError("is prepared to a fixed length, and its input has none")
        names = [output.name for output in self.outputs]
        if len(set(names)) != len(names):
            raise ValueError("has two outputs of one name")
        if self.scores is None:
            return
        if self.scores not in names:
            raise ValueError(f"names the output {self.scores!r}, which is not among {', '.join(names)}")
        (ranked,) = (output for output in self.outputs if output.name == self.scores)
        if ranked.kind not in SCORES or ranked.axes[-1] != self.classes:
            raise ValueError(f"ranks {self.scores!r}, which is no probability or logit of {self.classes} classes")

    def front_end_numbers(self) -> dict[str, Any]:
        """Those of the front end, by name; none where the network takes sound as it is."""
        return {}

    def settable(self) -> dict[str, tuple[str, ...]]:
        """The numbers that a user may set, by name, and where they stand in this; none where training has set them."""
        return {}

    def derived(self) -> Self:
        """With what follows from its other keys, which its files need not say; asked for where it has been read.

        Raises ValueError for keys that cannot be together.
        """
        return self

    def inside(self) -> tuple[str, ...]:
        """Names of what the network makes and something needs, though it may be no output.

        These are its alternative inputs, and where float32 may end.
        """
        through = self.coreml.float32_through
        names = [tensor.name for tensor in self.alternative_inputs] + ([] if through is None else [through])
        return tuple(dict.fromkeys(names))

    def giving(self, names: Collection[str]) -> "Variant":
        """The variant with these outputs alone, in the order that it has them.

        Raises UserError for a name that is no output.
        """
        known = [output.name for output in self.outputs]
        if (unknown := next((name for name in names if name not in known), None)) is not None:
            raise UserError(f"{self.name} has no output {unknown!r}; choose from {', '.join(known)}")
        return replace(
            self,
            outputs=tuple(output for output in self.outputs if output.name in names),
            scores=self.scores if self.scores in names else None,
        )

    def fed_by(self, name: str) -> "Variant":
        """The variant as it is when fed the input of that name: what it is fed, it does not give.

        Raises UserError for a name that is no input, and where nothing is left to give.
        """
        if name == self.input.name:
            return replace(self, alternative_inputs=())
        for tensor in self.alternative_inputs:
            if tensor.name == name:
                outputs = tuple(output for output in self.outputs if output.name != name)
                if not outputs:
                    raise UserError(f"{self.name} gives no {name} when it is fed that; choose another output too")
                coreml = self.coreml
                if coreml.float32_through == name:
                    coreml = replace(coreml, float32_through=None)
                return replace(self, input=tensor, alternative_inputs=(), outputs=outputs, coreml=coreml)
        known = ", ".join(tensor.name for tensor in (self.input, *self.alternative_inputs))
        raise UserError(f"{self.name} has no input {name!r}; choose from {known}")

    def renamed(self, names: Mapping[str, str]) -> "Variant":
        """The variant with tensors called otherwise, by the names that they have; what is an input too stays the same.

        Raises UserError for a name that no tensor has, one that Core ML cannot have, and one that two would have,
        of which one may be inside.
        """
        known = [self.input.name, *(output.name for output in self.outputs)]
        for old, new in names.items():
            if old not in known:
                raise UserError(f"{self.name} has no tensor {old!r} to rename; it has {', '.join(known)}")
            if not re.fullmatch(NAME, new):
                raise UserError(f"{new!r} cannot name a tensor: take letters, digits and _, and no digit first")
        fixed = self.input.stream and (self.input.stream.state, self.input.stream.next_state)
        called = [names.get(name, name) for name in dict.fromkeys((*known, *self.inside(), *(fixed or ())))]
        if twice := next((name for name in called if called.count(name) > 1), None):
            raise UserError(f"two tensors would be called {twice!r}; give each a name of its own")
        through = self.coreml.float32_through
        return replace(
            self,
            input=_renamed(self.input, names),
            alternative_inputs=tuple(_renamed(tensor, names) for tensor in self.alternative_inputs),
            outputs=tuple(_renamed(output, names) for output in self.outputs),
            scores=self.scores and names.get(self.scores, self.scores),
            coreml=replace(self.coreml, float32_through=through and names.get(through, through)),
        )

    def with_classes(self, classes: int) -> "Variant":
        """The variant of a checkpoint that was trained for that many classes."""
        outputs = tuple(
            replace(output, axes=(*output.axes[:-1], classes)) if output.axes[-1] == self.classes else output
            for output in self.outputs
        )
        return replace(self, classes=classes, outputs=outputs)


_Tensor = TypeVar("_Tensor", Input, Output)


def _renamed(tensor: _Tensor, names: Mapping[str, str]) -> _Tensor:
    return replace(tensor, name=names.get(tensor.name, tensor.name))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LogMelVariant(Variant):
    """One with a log-mel front end; a family whose front end has further numbers narrows that to its own dataclass."""

    front_end: LogMel

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.front_end.fmin < self.front_end.fmax <= self.sample_rate / 2:
            raise ValueError("needs fmin < fmax <= sample_rate / 2")

    def front_end_numbers(self) -> dict[str, Any]:
        return asdict(self.front_end)
