"""EAT for the rest of the project."""

from dataclasses import fields, replace
from pathlib import Path

from torch import Tensor, nn

from recipes.base import spec
from recipes.base.config import variants
from recipes.base.recipe import Checkpoint, Recipe
from recipes.eat import checkpoint, model, synthetic
from recipes.eat.arguments import Arguments
from recipes.eat.spec import DATASETS, Sizes, Variant


def build(variant: spec.Variant) -> nn.Module:
    assert isinstance(variant, Variant)
    return model.build(variant.sizes)


def read_checkpoint(path: Path, _variant: spec.Variant) -> Checkpoint:
    """The weights of a training run, and the variant that its arguments make."""
    run = checkpoint.read(path)
    return Checkpoint(run.state, run.weights, of_run(run.arguments))


def of_run(told: Arguments) -> Variant:
    """The published variant of that network, data set and rate, or one of a name that none has."""
    published = [variant for variant in variants() if isinstance(variant, Variant)]
    sizes = Sizes(**{field.name: getattr(told, field.name) for field in fields(Sizes)})
    known = DATASETS.get(told.dataset)
    labels = known.labels if known else None
    for variant in published:
        if (variant.sizes, variant.labels, variant.sample_rate) == (sizes, labels, told.sampling_rate):
            return variant
    kind = "logit" if told.several_may_be_true else "multiclass_logit"
    like = next(variant for variant in published if variant.outputs[0].kind == kind)
    return replace(
        like,
        name="eat_of_a_run",
        title="EAT of a training run",
        description=f"Audio tagging with {told.n_classes} classes: EAT as a training run on {told.dataset} made it",
        sample_rate=told.sampling_rate,
        labels=labels,
        classes=told.n_classes,
        sizes=sizes,
        input=replace(
            like.input, axes=("batch", 1, told.seq_len), least=told.seq_len, default=told.seq_len, most=told.seq_len
        ),
        outputs=(replace(like.outputs[0], axes=("batch", told.n_classes)),),
        default=False,
    )


def synthesize(variant: spec.Variant) -> dict[str, Tensor]:
    assert isinstance(variant, Variant)
    several = any(output.kind == "logit" for output in variant.outputs)
    return synthetic.synthesize(variant.sizes, variant.sample_rate, several)


RECIPE = Recipe(family="eat", build=build, read_checkpoint=read_checkpoint, synthesize=synthesize)
