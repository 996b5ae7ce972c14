"""What an artifact says of itself: the facts that exporters write into its metadata and runners read back."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import inf
from typing import cast, get_args

from recipes.base import plain_json
from recipes.base.errors import UserError
from recipes.base.spec import MOST_RATE, Variant, Weights
from recipes.base.tensor import SCORES

# Own keys of a Core ML package stand under this prefix.
COREML_PREFIX = "org.soundport."

_MOST_SIZE = 2**31
# A hundred times what the names of 527 classes take.
_MOST_OF_LABELS = 2**20


@dataclass(frozen=True)
class Facts:
    """Enough to run an artifact on sound and to name its classes, without any other file.

    `least_size` is the least size of the input's last axis, `scores` the output that ranks the classes, `scores_kind`
    what it is, both None where the artifact does not give it. `peak` is that of `recipes.base.spec.Preparation`, None
    where sound is fed as it is.
    """

    model_type: str
    variant: str
    weights: Weights
    checkpoint_sha256: str
    sample_rate: int
    least_size: int
    scores: str | None
    scores_kind: str | None
    labels: tuple[str, ...]
    author: str
    license: str
    source: str
    version: str
    peak: float | None = None

    def to_strings(self) -> dict[str, str]:
        """Metadata values; the labels as a JSON list, since AudioSet's names hold commas."""
        texts = {key: str(value) for key, value in asdict(self).items() if value is not None}
        return texts | {"labels": json.dumps(self.labels, ensure_ascii=False)}


def summary(variant: Variant, facts: Facts) -> str:
    """One line for whoever opens the file."""
    weights = "" if facts.weights == "computed" else f" ({facts.weights} weights)"
    return f"{variant.title}: {variant.description}{weights}"


def facts_of(variant: Variant, weights: Weights, checkpoint_sha256: str, labels: tuple[str, ...]) -> Facts:
    published = weights == "published"
    own = published or weights == "computed"
    return Facts(
        model_type=variant.family,
        variant=variant.name,
        weights=weights,
        checkpoint_sha256=checkpoint_sha256,
        sample_rate=variant.sample_rate,
        least_size=variant.input.least,
        scores=variant.scores,
        scores_kind=next((output.kind for output in variant.outputs if output.name == variant.scores), None),
        labels=labels,
        author=variant.author if own else f"{weights} weights in the architecture of {variant.author}",
        license=licence(variant, weights),
        source=variant.source.url if published and variant.source else weights,
        version=version("soundport"),
        peak=variant.preparation.peak if variant.preparation else None,
    )


def licence(variant: Variant, weights: Weights) -> str:
    """The published weights have the published licence; nobody here can speak for any others."""
    if weights in ("published", "computed"):
        return variant.licence
    if weights == "synthetic":
        return "none: synthetic weights"
    if variant.source is None:
        return "that of the training run's owner"
    return f"that of the user's own checkpoint ({variant.licence} if it is the published one)"


def from_strings(values: Mapping[str, str], origin: str) -> Facts:
    """The facts in an artifact's metadata; `origin` is its name in messages. Raises UserError when it has none."""
    try:
        if values["weights"] not in get_args(Weights):
            raise ValueError(values["weights"])
        if ("scores" in values) != ("scores_kind" in values):
            raise ValueError("one of scores and scores_kind without the other")
        labels = _labels(values["labels"])
        if "scores" in values and not labels:
            raise ValueError("scores of no classes")
        if values.get("scores_kind", SCORES[0]) not in SCORES:
            raise ValueError(f"the kind of its scores, {values['scores_kind']}")
        return Facts(
            model_type=values["model_type"],
            variant=values["variant"],
            weights=cast(Weights, values["weights"]),
            checkpoint_sha256=values["checkpoint_sha256"],
            sample_rate=_number(values["sample_rate"], MOST_RATE),
            least_size=_number(values["least_size"], _MOST_SIZE),
            scores=values.get("scores"),
            scores_kind=values.get("scores_kind"),
            labels=labels,
            author=values["author"],
            license=values["license"],
            source=values["source"],
            version=values["version"],
            peak=_peak(values),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{origin}: its metadata is not what `convert recipe` writes ({error}); make the file again, "
            f"or feed it an .npz of its named inputs"
        ) from None


def _number(text: str, most: int) -> int:
    # A text of thousands of digits is refused by `int` itself.
    if not 1 <= (number := int(text)) <= most:
        raise ValueError(f"{number}, where 1 to {most} is expected")
    return number


def _labels(text: str) -> tuple[str, ...]:
    if len(text) > _MOST_OF_LABELS:
        raise ValueError(f"labels of {len(text)} characters")
    labels = plain_json.read(text)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError("labels that are no list of names")
    return tuple(labels)


def scores_faults(facts: Facts, classes: Mapping[str, object]) -> Iterator[str]:
    """What its scores and labels have against outputs of that many classes, by name; nothing where all is well."""
    if facts.scores is None:
        return
    if facts.scores not in classes:
        yield f"its scores are {facts.scores!r}, which is none of its outputs"
    elif classes[facts.scores] != len(facts.labels):
        yield f"it names {len(facts.labels)} classes, and {facts.scores} has {classes[facts.scores]}"


def _peak(values: Mapping[str, str]) -> float | None:
    if "peak" not in values:
        return None
    peak = float(values["peak"])
    if not 0 < peak < inf:
        raise ValueError(f"the peak {values['peak']}")
    return peak
