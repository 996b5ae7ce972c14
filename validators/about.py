"""model.json, which apps read of a model, held to the model itself."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from recipes.base import files, plain_json
from recipes.base.errors import UserError
from recipes.base.tensor import Input, Output

FILE = "model.json"
_MOST_BYTES = 2**24


def read(folder: Path) -> dict[str, object]:
    """All of it. Raises UserError where it is missing, or no JSON object."""
    try:
        found = plain_json.read(files.content(folder / FILE, _MOST_BYTES))
    except (OSError, ValueError) as error:
        raise UserError(f"{FILE} cannot be read ({error}); make the folder again") from None
    if not isinstance(found, dict):
        raise UserError(f"{FILE} is no JSON object; make the folder again")
    return found


def faults(
    said: Mapping[str, object],
    facts: Mapping[str, str],
    tensor: Input,
    outputs: tuple[Output, ...],
    size: int | None,
) -> Iterator[str]:
    """What it has against the facts in the model's own metadata, its tensors, and the one length that it takes."""
    expected = {
        "facts": facts,
        "input": {
            "name": tensor.name,
            "between": list(tensor.shape(1, tensor.default)[1:-1]),
            "size": size,
            "least": size or tensor.least,
            "default": size or tensor.default,
            "most": size or tensor.most,
        },
        "outputs": [{"name": output.name, "axes": list(output.axes), "kind": output.kind} for output in outputs],
    }
    for key, value in expected.items():
        if said.get(key) != value:
            yield f"{FILE} says other {key} than the model has"
