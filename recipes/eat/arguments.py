"""What a training run was told: its `args.yml`, read without building or running anything that it names.

The trainer writes `yaml.dump(args)` of an argparse.Namespace; its inference script writes a plain dict over that, and
reads one that is nested a level deep too (https://github.com/Alibaba-MIIL/AudioClassfication).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from recipes.base import plain_yaml
from recipes.base.errors import UserError
from recipes.base.fields import STRICT, complaint
from recipes.eat.spec import DATASETS, Sizes

Shapes = Mapping[str, tuple[int, ...]]

# What yaml.dump writes for the Namespace, and for the Paths in it, on either system; in Python 3.13 alone, `pathlib` is
# a package whose classes say so. All of them count as the mapping or the list that they stand before.
_TAGS: dict[str, type[yaml.Node]] = {"python/object:argparse.Namespace": yaml.MappingNode} | {
    f"python/object/apply:{module}.{system}Path": yaml.SequenceNode
    for module in ("pathlib", "pathlib._local")
    for system in ("Posix", "Windows")
}

# The tensor, of so many axes, whose first axis is as long as the key says.
_SAID_BY_LENGTH = {
    "nf": ("start.1.weight", 3),
    "emb_dim": ("project.weight", 3),
    "dim_feedforward": ("tf.transformer_enc.layers.0.linear1.weight", 2),
    "n_classes": ("tf.fc.weight", 2),
}

_OWN_NAME = "a set of one's own needs a name of its own"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Arguments(Sizes):
    """`dataset` as the run called it: one of DATASETS, or one of the user's own, where `multilabel` counts."""

    sampling_rate: Annotated[int, Field(ge=1000, le=768000)]
    dataset: str
    multilabel: bool = False
    model_type: Literal["SoundNetRaw"] = "SoundNetRaw"

    @property
    def several_may_be_true(self) -> bool:
        """Whether a class's probability is the sigmoid of its logit; else the softmax over all gives them."""
        known = DATASETS.get(self.dataset)
        return known.multilabel if known else self.multilabel


def read(path: Path, shapes: Shapes) -> Arguments:
    """The arguments in an `args.yml`, held to the shapes of the tensors that were trained with them.

    `shapes` are by published name, without `module.`.
    Raises UserError where the file cannot be read so, and one that lists everything that is missing, of another type,
    or contradicts another key or a tensor.
    """
    data, lines = plain_yaml.read(plain_yaml.text_of(path), str(path), _TAGS)
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds no mapping from names to values; give the args.yml of a training run")
    given: dict[str, Any] = {}
    line: dict[str, int] = {}
    complaints = []
    for place, value in _flattened(data):
        key = place[-1]
        if key not in Arguments.__dataclass_fields__:
            continue
        if key in given and given[key] != value:
            complaints.append(f"{key} is one thing in line {line[key]} and another in line {lines[place]}")
        given[key], line[key] = value, lines[place]

    said = _said_by(shapes)
    if unsaid := [key for key in (*_SAID_BY_LENGTH, "n_layers", "ds_factors") if key not in said]:
        complaints.append(f"the checkpoint has no tensor that says {', '.join(unsaid)}: is it of this network?")
    arguments: Arguments | None = None
    sizes: Sizes | None = None
    wrong: set[str] = set()
    # JSON is the mode in which pydantic is strict about types and still takes lists for tuples.
    try:
        sizes = arguments = TypeAdapter(Arguments).validate_json(json.dumps(given))
    except ValidationError as error:
        for item in error.errors():
            key, *deeper = map(str, item["loc"])
            where = ".".join([key, *deeper])
            told = f"line {line[key]}, {where}: {complaint(item['msg'])}" if key in line else f"{key} is missing"
            complaints.append(told + (f" (the tensors say {_words(said[key])})" if key in said else ""))
            wrong.add(key)
        # With what the tensors say in their place, the other sizes can still be held to each other.
        right = {key: said.get(key) if key in wrong else given[key] for key in Sizes.__dataclass_fields__}
        with suppress(ValidationError):
            sizes = TypeAdapter(Sizes).validate_json(json.dumps(right))
    for key in said:
        if key in given and key not in wrong and _plain(given[key]) != said[key]:
            complaints.append(
                f"line {line[key]}, {key}: is {_words(given[key])} and the tensors say {_words(said[key])}"
            )
    dataset, several = given.get("dataset"), given.get("multilabel")
    known = DATASETS.get(dataset) if isinstance(dataset, str) else None
    if known and isinstance(several, bool) and several != known.multilabel:
        complaints.append(
            f"line {line['multilabel']}, multilabel: is {str(several).lower()} and {dataset} has "
            f"{'several classes' if known.multilabel else 'one class'} to a sound: {_OWN_NAME}"
        )
    if known and sizes and known.classes != sizes.n_classes:
        complaints.append(f"n_classes is {sizes.n_classes} and {dataset} has {known.classes}: {_OWN_NAME}")
    if sizes is not None:
        complaints += _contradictions(sizes, shapes)
    if complaints or arguments is None:
        raise UserError(f"{path}: {'; '.join(complaints)}")
    return arguments


def _flattened(data: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value with where it stands, those of groups taken out of them."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from (((key, inner), below) for inner, below in value.items())
        else:
            yield (key,), value


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _words(value: object) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) < 60 else f"{text[:60]}..."


def _said_by(shapes: Shapes) -> dict[str, object]:
    """What the tensors say, as far as they are there."""
    said: dict[str, object] = {}
    for key, (name, axes) in _SAID_BY_LENGTH.items():
        if len(shapes.get(name, ())) == axes:
            said[key] = shapes[name][0]
    # Counted, and not the greatest number: each must be there.
    layers = {name.split(".")[3] for name in shapes if name.startswith("tf.transformer_enc.layers.")}
    if layers:
        said["n_layers"] = len(layers)
    stages = (name.split(".") for name, shape in shapes.items() if len(shape) == 3)
    numbers = [parts[1] for parts in stages if parts[0] == "down" and parts[2:] == ["down", "1", "weight"]]
    if numbers:
        # By number, as the network has them; whatever is no number comes last, and is refused as unknown later.
        ordered = sorted(numbers, key=lambda number: (len(number), number))
        said["ds_factors"] = tuple(shapes[f"down.{number}.down.1.weight"][2] - 1 for number in ordered)
    return said


def _contradictions(sizes: Sizes, shapes: Shapes) -> Iterator[str]:
    yield from sizes.contradictions()
    positions = shapes.get("tf.pos_embed", ())
    if len(positions) == 3 and positions[1] != sizes.positions:
        yield (
            f"seq_len {sizes.seq_len} with ds_factors {_words(sizes.ds_factors)} makes {sizes.positions} "
            f"positions and the tensors have {positions[1]}"
        )
