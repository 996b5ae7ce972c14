"""What a page shows beside the figures of its checks: arrays, facts and findings, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from recipes.base.tensor import Tolerance
    from validators.coreml.hazards import Hazard
    from validators.coreml.rules import Breach
    from validators.divergence import Divergence, Growth
    from validators.results import Check, Status


@dataclass(frozen=True)
class Held:
    """One output as it should be and as it is, of one shape; `kind` is `recipes.base.tensor.Kind`.

    What is not known of `expected` is NaN: references keep a part alone of what is long. `axes` holds a name per axis
    that may change, as `recipes.base.tensor.Output`.
    """

    name: str
    axes: tuple[str | int, ...]
    kind: str
    tolerance: Tolerance
    expected: np.ndarray
    actual: np.ndarray


@dataclass(frozen=True)
class Answer:
    """What one runtime answered to one case. `seconds` is how long its sound is, None where that is unknown.

    `worst` tells that no other case of the reference fared worse.
    """

    artifact: str
    runtime: str
    precision: str
    case: str
    outputs: tuple[Held, ...]
    seconds: float | None = None
    worst: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a command leaves with that has compared graphs: its exit code, and why in words."""

    code: int
    words: str


@dataclass(frozen=True)
class Stage:
    """One form of a model on its way to a file; `check` is the one that is the furthest from passing."""

    name: str
    by: str
    status: Status
    check: Check | None


@dataclass(frozen=True)
class Located:
    """Where one side first goes another way than the other; `lines` say more of it.

    `divergence` is None where one of them does not tell what it computes. `rounding` is how the error of float16 alone
    grows along the graph, where that is known.
    """

    what: str
    lines: tuple[str, ...] = ()
    divergence: Divergence | None = None
    rounding: tuple[Growth, ...] = ()


@dataclass(frozen=True)
class Wrote:
    """A file, or a folder that is one artifact, with its size in bytes; `sha256` is empty for a folder."""

    name: str
    what: str
    size: int
    sha256: str = ""


@dataclass(frozen=True)
class Evidence:
    """All that stands on a page but the checks; any part may be empty.

    `facts` are what made the files, by what each is called. `labels` name the classes and `scores` the output that
    ranks them. `front_end` is the output that is drawn as a picture of the sound. `rules` and `hazards` are by
    artifact; one that is there without any has been looked at. `unseen` says what could not be drawn, and why.
    Without an `outcome` the checks alone say how it went. `synthetic` tells that the weights were never trained.
    """

    title: str
    synthetic: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    rewrites: tuple[str, ...] = ()
    artifacts: tuple[Wrote, ...] = ()
    files: tuple[Wrote, ...] = ()
    answers: tuple[Answer, ...] = ()
    labels: tuple[str, ...] = ()
    scores: str | None = None
    front_end: str | None = None
    rules: Mapping[str, tuple[Breach, ...]] = field(default_factory=dict)
    hazards: Mapping[str, tuple[Hazard, ...]] = field(default_factory=dict)
    outcome: Outcome | None = None
    stages: tuple[Stage, ...] = ()
    located: tuple[Located, ...] = ()
    notes: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
