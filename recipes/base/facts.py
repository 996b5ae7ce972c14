"""What an artifact says of itself: the facts that exporters write into its metadata and runners read back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import inf
from typing import cast, get_args

from recipes.base.errors import UserError
from recipes.base.spec import Variant, Weights

# Own keys of a Core ML package stand under this prefix.
COREML_PREFIX = "org.soundport."


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


def facts_of(variant: Variant, weights: Weights, checkpoint_sha256: str, labels: tuple[str, ...]) -> Facts:
    published = weights == "published"
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
        author=variant.author if published else f"{weights} weights in the architecture of {variant.author}",
        license=licence(variant, weights),
        source=variant.source.url if published and variant.source else weights,
        version=version("soundport"),
        peak=variant.preparation.peak if variant.preparation else None,
    )


def licence(variant: Variant, weights: Weights) -> str:
    """The published weights have the published licence; nobody here can speak for any others."""
    if weights == "published":
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
        labels = json.loads(values["labels"])
        if ("scores" in values) != ("scores_kind" in values):
            raise ValueError("one of scores and scores_kind without the other")
        return Facts(
            model_type=values["model_type"],
            variant=values["variant"],
            weights=cast(Weights, values["weights"]),
            checkpoint_sha256=values["checkpoint_sha256"],
            sample_rate=int(values["sample_rate"]),
            least_size=int(values["least_size"]),
            scores=values.get("scores"),
            scores_kind=values.get("scores_kind"),
            labels=tuple(str(label) for label in labels),
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


def _peak(values: Mapping[str, str]) -> float | None:
    if "peak" not in values:
        return None
    peak = float(values["peak"])
    if not 0 < peak < inf:
        raise ValueError(f"the peak {values['peak']}")
    return peak
