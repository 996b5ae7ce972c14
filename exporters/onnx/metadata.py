"""What a model.onnx says of itself."""

import onnx

from recipes.base.facts import Facts, summary
from recipes.base.spec import Variant


def describe(model: onnx.ModelProto, variant: Variant, facts: Facts) -> None:
    """Set the metadata and descriptions, each key once, in place."""
    model.producer_name = "soundport"
    model.producer_version = facts.version
    model.doc_string = summary(variant, facts)
    model.graph.name = variant.name
    del model.metadata_props[:]
    for key, value in facts.to_strings().items():
        model.metadata_props.add(key=key, value=value)
    texts = variant.input.descriptions(variant.outputs)
    for value_info in (*model.graph.input, *model.graph.output):
        value_info.doc_string = texts[value_info.name]
