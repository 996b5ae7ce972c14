"""What is said of an EAT beyond the common keys: the sizes that its training run was told."""

from collections.abc import Iterator
from math import prod
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from recipes.base import spec
from recipes.base.fields import STRICT
from recipes.base.spec import LabelSet

# The memory that attention takes grows with the square of the positions; the longest known has 217.
_MOST_POSITIONS = 8192

# The residual blocks: a depthwise convolution this long over time, in the second half with each of these dilations.
KERNEL = 15
DILATIONS = (1, 3, 9)

# What `down2` does after its residual blocks, twice.
LAST_FACTORS = (2, 2)

# The reach of the first convolution to either side.
START_REACH = 3


@dataclass(frozen=True, config=STRICT)
class Dataset:
    """One that the trainer knows: its table of labels, how many there are, and whether several may be true at once."""

    labels: LabelSet
    classes: int
    multilabel: bool = False


# By the name that the trainer's `--dataset` has. The order of the classes is that of its `datasets/`:
# esc50: the class folders of the published archive, sorted, "101 - Dog" to "510 - Hand saw", which is the order of the
# targets in its `esc50.csv`; whoever sorted the sounds into folders of other names has the order of those.
# urban8k: `classID` of `UrbanSound8K.csv`. speechcommands: the words, sorted, without `_background_noise_`.
# audioset: `class_labels_indices.csv`.
DATASETS = {
    "esc50": Dataset("esc50", 50),
    "urban8k": Dataset("urban8k", 10),
    "speechcommands": Dataset("speechcommands", 35),
    "audioset": Dataset("audioset", 527, multilabel=True),
}


@dataclass(frozen=True, config=STRICT)
class Sizes:
    """By the names that they have in `args.yml`.

    `nf` channels after the first convolution; `ds_factors` by which time shrinks while the channels double; `emb_dim`
    and `dim_feedforward`, `n_head` and `n_layers` of the transformer; `seq_len` samples; `n_classes`.
    """

    # The bounds are far beyond any training run, so that nonsense is told from what is large.
    nf: Annotated[int, Field(gt=0, le=4096)]
    emb_dim: Annotated[int, Field(gt=0, le=16384)]
    n_layers: Annotated[int, Field(gt=0, le=1024)]
    n_head: Annotated[int, Field(gt=0, le=16384)]
    dim_feedforward: Annotated[int, Field(gt=0, le=65536)]
    ds_factors: Annotated[tuple[Annotated[int, Field(gt=0, le=1024)], ...], Field(min_length=1, max_length=8)]
    seq_len: Annotated[int, Field(gt=0, le=2**24)]
    n_classes: Annotated[int, Field(gt=0, le=2**20)]

    @property
    def samples_per_place(self) -> int:
        """How many samples become one place of the transformer."""
        return prod((*self.ds_factors, *LAST_FACTORS))

    @property
    def positions(self) -> int:
        """How many positions training has learned: the class token's and one per place, rounded down."""
        return 1 + self.seq_len // self.samples_per_place

    def contradictions(self) -> Iterator[str]:
        """What cannot be together, as training would have found at its first step."""
        if self.emb_dim % self.n_head:
            yield f"emb_dim {self.emb_dim} is no multiple of n_head {self.n_head}"
        if self.positions > _MOST_POSITIONS:
            yield f"seq_len {self.seq_len} makes {self.positions} positions, over the {_MOST_POSITIONS} that fit"
        *_, (_, places, _) = lengths = list(self._lengths())
        if too_short := next((length for length, _, reach in lengths if length <= reach), None):
            yield f"seq_len {self.seq_len} leaves {too_short} samples before a reflection that needs more"
        elif places != self.positions - 1:
            yield (
                f"seq_len {self.seq_len} with ds_factors {' '.join(map(str, self.ds_factors))} makes {places} places, "
                f"and training has positions for {self.positions - 1}"
            )

    def _lengths(self) -> Iterator[tuple[int, int, int]]:
        """(length, next length, furthest reflection) of each stage, from the sound to the places."""
        reach_of_block = KERNEL // 2 * DILATIONS[0]
        yield self.seq_len, (length := self.seq_len), START_REACH
        for index, factor in enumerate(self.ds_factors):
            yield length, (length := _shrunk(length, factor)), factor
            if index % 2 == 0:
                yield length, length, reach_of_block
        for factor in LAST_FACTORS:
            yield length, length, KERNEL // 2 * DILATIONS[-1]
            yield length, (length := _shrunk(length, factor)), factor


def _shrunk(length: int, factor: int) -> int:
    """By a convolution of factor + 1, padded by half of that, and a filter of 2 factor + 1 with its stride."""
    convolved = length + 2 * ((factor + 1) // 2) - factor
    return (convolved - 1) // factor + 1


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Variant(spec.Variant):
    sizes: Sizes

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = list(self.sizes.contradictions())
        if self.classes != self.sizes.n_classes:
            wrong.append(f"classes is {self.classes} and n_classes {self.sizes.n_classes}")
        if not self.input.fixed or self.input.default != self.sizes.seq_len:
            wrong.append(f"the input's last axis is {self.input.axes[-1]} and seq_len {self.sizes.seq_len}")
        if wrong:
            raise ValueError("; ".join(wrong))
