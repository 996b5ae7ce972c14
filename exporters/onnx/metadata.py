"""What a model.onnx says of itself."""

import json

import onnx

from recipes.base.spec import Variant, Weights

PRODUCER = "soundport"


def describe(
    model: onnx.ModelProto, variant: Variant, *, weights: Weights, checkpoint_sha256: str, labels: tuple[str, ...]
) -> None:
    """Set the metadata, each key once, in place. `labels` is a JSON list: AudioSet's names hold commas."""
    values = {
        "model_type": variant.family,
        "variant": variant.name,
        "weights": weights,
        "checkpoint_sha256": checkpoint_sha256,
        "sample_rate": str(variant.sample_rate),
        "least_samples": str(variant.input.least_samples),
        "scores": variant.scores,
        "labels": json.dumps(labels, ensure_ascii=False),
        "author": variant.author,
        "license": variant.licence,
        "source": variant.source.url,
    }
    model.producer_name = PRODUCER
    model.producer_version = ""
    model.doc_string = f"{variant.title}: {variant.description} ({weights} weights)"
    model.graph.name = variant.name
    del model.metadata_props[:]
    for key, value in values.items():
        model.metadata_props.add(key=key, value=value)
    texts = {output.name: output.description for output in variant.outputs}
    texts[variant.input.name] = variant.input.description
    for value_info in (*model.graph.input, *model.graph.output):
        value_info.doc_string = texts[value_info.name]
