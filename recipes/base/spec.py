"""What a variant is: plain dataclasses, filled from `configs/FAMILY/VARIANT.yaml` and shared by all packages."""

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from recipes.base.errors import UserError
from recipes.base.fields import NAME, STRICT, Name, NotNegative, Positive, finite
from recipes.base.near import meant
from recipes.base.tensor import SCORES, Input, Output

# Computed: the network has none that were trained, and its numbers stand for the checkpoint.
Weights = Literal["published", "synthetic", "custom", "computed"]
LabelSet = Literal["audioset", "esc50", "urban8k", "speechcommands"]
# Of front ends, as `recipes.base.spectral` computes them.
Window = Literal["hann", "hamming", "blackman", "povey", "rectangular"]
MelScale = Literal["htk", "slaney", "kaldi"]
MelNorm = Literal["slaney", "none"]
# Of Core ML's language, as coremltools lists them (passes/defs/preprocess.py), and of JavaScript's objects. Keywords of
# programming languages may name a tensor: nothing that is made uses such a name as one of theirs.
_WORDS_OF_FORMATS = (
    *("any", "bool", "program", "func", "tensor", "list", "dict", "tuple", "true", "false", "string", "state"),
    *("bf16", "fp16", "fp32", "fp64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    "__proto__",
)
# In Hz, twice what converters of sound are built for; sounds to check on are as many samples as that.
MOST_RATE = 768_000


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
            raise UserError(
                f"{self.name} has no output {unknown!r}{meant(unknown, known)}; choose from {', '.join(known)}"
            )
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
        known = [tensor.name for tensor in (self.input, *self.alternative_inputs)]
        raise UserError(f"{self.name} has no input {name!r}{meant(name, known)}; choose from {', '.join(known)}")

    def renamed(self, names: Mapping[str, str]) -> "Variant":
        """The variant with tensors called otherwise, by the names that they have; what is an input too stays the same.

        Raises UserError for a name that no tensor has, one that Core ML cannot have, and one that two would have,
        of which one may be inside.
        """
        known = [self.input.name, *(output.name for output in self.outputs)]
        for old, new in names.items():
            if old not in known:
                raise UserError(
                    f"{self.name} has no tensor {old!r}{meant(old, known)} to rename; it has {', '.join(known)}"
                )
            if not re.fullmatch(NAME, new):
                raise UserError(f"{new!r} cannot name a tensor: take letters, digits and _, and no digit first")
            if new in _WORDS_OF_FORMATS:
                raise UserError(
                    f"{new!r} cannot name a tensor: in some formats it is a word of their own; take another"
                )
        fixed = self.input.stream and (self.input.stream.state, self.input.stream.next_state)
        called = [names.get(name, name) for name in dict.fromkeys((*known, *self.inside(), *(fixed or ())))]
        # Files and C's constants are called after tensors too, and not all of them tell capitals.
        plain = [name.lower() for name in called]
        if twice := next((name for name in called if plain.count(name.lower()) > 1), None):
            raise UserError(f"two tensors would be called {twice!r}, in capitals or not; give each a name of its own")
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
