"""What is said of a log-mel front end: its numbers, and what follows from them."""

import math
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from recipes.base import spec
from recipes.base.fields import STRICT, NotNegative, Positive, finite
from recipes.base.spec import MelNorm, MelScale, Window
from recipes.base.tensor import Output, Precision, Tolerance

Log = Literal["none", "ln", "log10", "db"]

# Twice what any model is known to use; the kernels of more would take gigabytes while they are made.
_MOST = 2**13
_Length = Annotated[int, Field(gt=0, le=_MOST)]
# Below, float32 has no full precision, and most devices take it for zero.
_LEAST_FLOOR = 2.0**-126
_LARGEST = 2.0**127

_ONLY_WITH_A_LOG = ("amin", "added", "top_db")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Numbers:
    """Of sound to frames, frames to bands, and bands to the output; lengths in samples, frequencies in Hz.

    Of sound x that is `input_scale` times what is fed, frame t begins at t * hop_length - n_fft // 2 where it is
    centred: beyond the ends `centre` says what there is. Where that is `none`, it begins at t * hop_length, and the
    last one ends within the sound; it is `frame` long. The window is in the middle of an n_fft. `drop_last_frame`
    leaves one out.

    Pre-emphasis gives x[i] - pre_emphasis * x[i - 1]. Before the first sample there is zero; or that sample is
    `dropped`; or, in each `frame` of its own after its mean is removed, what is before the first is the first itself.

    With s the magnitude of a bin to the `power`, bands are the bank times s. Then `log`: ln or log10 of p = max(bands,
    amin) + added; db is 10 log10(p) of a power and 20 log10(p) of a magnitude, less that of `ref`, which may be the
    clip's greatest. What is more than `top_db` decibels below the clip's greatest is lifted to it. The result is that
    less `mean`, over `scale`.
    """

    n_fft: Annotated[int, Field(gt=1, le=_MOST)]
    win_length: _Length | None = None
    hop_length: _Length
    window: Window = "hann"
    periodic: bool = True
    centre: Literal["constant", "reflect", "replicate", "none"]
    frame: Literal["n_fft", "window"] = "n_fft"
    drop_last_frame: bool = False
    input_scale: Positive = 1
    remove_dc: bool = False
    pre_emphasis: Annotated[float, Field(ge=0, lt=1)] = 0
    pre_emphasis_start: Literal["zero", "dropped", "frame"] = "zero"
    power: Literal[1, 2] = 2
    n_mels: Annotated[int, Field(gt=0, le=1024)]
    fmin: NotNegative = 0
    fmax: Positive | None = None
    mel_scale: MelScale
    norm: MelNorm
    log: Log = "none"
    amin: NotNegative = 0
    added: NotNegative = 0
    ref: Positive | Literal["max"] = 1
    top_db: Positive | None = None
    mean: Annotated[float, AfterValidator(finite)] = 0
    scale: Positive = 1

    def __post_init__(self) -> None:
        if wrong := "; ".join(self._contradictions()):
            raise ValueError(wrong)

    def _contradictions(self) -> Iterator[str]:
        """What means nothing, by name."""
        if self.taps > self.n_fft:
            yield f"win_length {self.taps} is over n_fft {self.n_fft}; a window cannot be longer than its DFT"
        if self.frame == "window" and self.centre != "none":
            yield f"frame: window belongs to centre: none, and centre is {self.centre}"
        if self.pre_emphasis_start != "zero" and not self.pre_emphasis:
            yield f"pre_emphasis_start is {self.pre_emphasis_start} and pre_emphasis 0; give pre_emphasis too"
        if self.log == "none":
            if idle := [name for name in _ONLY_WITH_A_LOG if getattr(self, name)]:
                yield f"{' and '.join(idle)} without a log; choose log: ln, log10 or db, or set it to 0 (top_db: null)"
        elif not max(self.amin, self.added):
            yield f"log: {self.log} of silence is minus infinity; give amin or added"
        if self.log != "db" and self.ref != 1:
            yield f"ref belongs to log: db, and log is {self.log}"
        for name in ("amin", "added", "ref"):
            if isinstance(value := getattr(self, name), (int, float)) and 0 < value < _LEAST_FLOOR:
                yield f"{name} {value:g} is below what float32 holds, {_LEAST_FLOOR:.2g}"
        for name in ("amin", "added", "ref", "mean", "scale", "input_scale"):
            if isinstance(value := getattr(self, name), (int, float)) and abs(value) > _LARGEST:
                yield f"{name} {value:g} is over what float32 holds, {_LARGEST:.2g}"

    @property
    def taps(self) -> int:
        """The window's length."""
        return self.win_length or self.n_fft

    @property
    def beyond(self) -> tuple[int, int]:
        """How many samples in front and behind the frames need, none where they are not centred.

        The window alone is meant: what lies in a frame outside it is multiplied by zero.
        """
        if self.centre == "none":
            return (0, 0)
        front = self.n_fft // 2 - self._margin
        # So many that there are as many frames as with n_fft // 2 at either end.
        return (front, self.taps - front - self.n_fft % 2)

    @property
    def skipped(self) -> int:
        """How many samples at the beginning no frame needs."""
        return self._margin if self.centre == "none" and self.frame == "n_fft" else 0

    @property
    def unread(self) -> int:
        """How many samples behind its window a frame has to have all the same."""
        return self.n_fft - self.taps - self.skipped if self.centre == "none" and self.frame == "n_fft" else 0

    @property
    def unit(self) -> float | None:
        """What the output grows by where a band grows by a factor of e; None without a log."""
        units = {"ln": 1.0, "log10": 1 / math.log(10), "db": 20 / self.power / math.log(10)}
        return None if self.log == "none" else units[self.log] / self.scale

    @property
    def _margin(self) -> int:
        return (self.n_fft - self.taps) // 2

    @property
    def least_samples(self) -> int:
        """The shortest sound that has a frame; as much is reflected as libraries ask for, half an n_fft."""
        dropped = int(self.pre_emphasis_start == "dropped")
        if self.centre == "none":
            least = self.n_fft if self.frame == "n_fft" else self.taps
            return least + dropped + self.hop_length * self.drop_last_frame
        least = self.n_fft // 2 + 1 if self.centre == "reflect" else 2
        # One frame more, before it is dropped.
        return max(least, self.hop_length + self.n_fft % 2 if self.drop_last_frame else 1) + dropped

    def highest(self, sample_rate: int) -> float:
        """The upper end of the last band in Hz: half of the rate where nothing is said."""
        return sample_rate / 2 if self.fmax is None else self.fmax


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Variant(spec.Variant):
    """`tolerances` are those of the output by `log`, for a `scale` of 1.

    Without a log their atol is a part of what a sine of full scale gives: sums in float32 round by the loudest that is
    in them. `streaming` is that of chunks against the whole (`recipes.base.tensor.Stream`).
    """

    trained: ClassVar[bool] = False

    labels: None = None
    classes: Literal[0] = 0
    scores: None = None
    # One, which follows from the numbers.
    outputs: tuple[Output, ...] = ()
    front_end: Numbers
    tolerances: dict[Log, dict[Precision, Tolerance]]
    streaming: Tolerance

    def __post_init__(self) -> None:
        super().__post_init__()
        highest = self.front_end.highest(self.sample_rate)
        if highest > self.sample_rate / 2:
            raise ValueError(f"fmax {highest:g} is over half of sample_rate, {self.sample_rate / 2:g}")
        if not self.front_end.fmin < highest:
            raise ValueError(f"fmin {self.front_end.fmin:g} is not below fmax, {highest:g}")

    def front_end_numbers(self) -> dict[str, Any]:
        return {"sample_rate": self.sample_rate, **asdict(self.front_end)}

    def settable(self) -> dict[str, tuple[str, ...]]:
        own = {field.name: ("front_end", field.name) for field in fields(Numbers)}
        return {"sample_rate": ("sample_rate",), **own}

    def derived(self) -> "Variant":
        """With the input's bounds and the output's axes and tolerances that follow from the numbers."""
        numbers, least = self.front_end, self.front_end.least_samples
        sound = replace(
            self.input,
            description=f"Mono sound at {self.sample_rate} Hz, full scale is 1",
            least=least,
            default=max(least, self.input.default),
            most=max(least, self.input.most),
        )
        # Without a log, tolerances are parts of what there can be; a difference from the mean is less exact by that.
        unit = self._greatest() if numbers.log == "none" else 1
        allowed = {
            name: replace(one, atol=(unit * one.atol + one.rtol * abs(numbers.mean)) / numbers.scale)
            for name, one in self.tolerances[numbers.log].items()
        }
        output = Output(
            name="melspec",
            axes=("batch", numbers.n_mels, "frames"),
            kind="feature",
            description=f"{'Mel' if numbers.log == 'none' else 'Log-mel'} spectrogram",
            tolerances=allowed,
        )
        return replace(self, input=sound, outputs=(output,))

    def _greatest(self) -> float:
        """About what a sine of full scale gives in its band: half of its window's sum, and the height of a triangle."""
        numbers = self.front_end
        width = numbers.highest(self.sample_rate) - numbers.fmin
        height = (numbers.n_mels + 1) / width if numbers.norm == "slaney" else 1
        return float(height * (numbers.input_scale * numbers.taps / 4) ** numbers.power)
