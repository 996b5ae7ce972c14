"""What apps read of a model in a file beside it, where its format hides its metadata from them."""

import json
from pathlib import Path

from recipes.base.facts import Facts
from recipes.base.spec import Variant

FILE = "model.json"


def about(variant: Variant, facts: Facts, size: int | None) -> dict[str, object]:
    """Plain data for JSON: `size` is the one length of the input's last axis, None where that is free."""
    tensor = variant.input
    return {
        "title": variant.title,
        "facts": facts.to_strings(),
        "input": {
            "name": tensor.name,
            # Sizes of the axes between the batch and the samples.
            "between": list(tensor.shape(1, tensor.default)[1:-1]),
            "size": size,
            "least": size or tensor.least,
            "default": size or tensor.default,
            "most": size or tensor.most,
        },
        "outputs": [{"name": output.name, "axes": output.axes, "kind": output.kind} for output in variant.outputs],
        "front_end": variant.coreml.float32_through,
    }


def write(content: dict[str, object], folder: Path) -> None:
    """`model.json` in the folder."""
    (folder / FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
