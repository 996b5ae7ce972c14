"""What a model family gives the rest of the project: its network, its checkpoints, its stand-in weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from recipes.base.errors import UserError
from recipes.base.spec import Variant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

_MOST_NAMES_SHOWN = 4


@dataclass(frozen=True)
class HostFrontEnd:
    """What a host needs to compute the front end itself: arrays by file name, numbers and words, a program."""

    arrays: dict[str, NDArray[np.float32]]
    numbers: dict[str, float | str | bool | None]
    program_file: str
    program: str


@dataclass(frozen=True)
class Checkpoint:
    """A state dict, the file that it is from, and the variant: the one that was asked for, or what the file says."""

    state: dict[str, Tensor]
    file: Path
    variant: Variant


def _nothing_to_read(path: Path, variant: Variant) -> Checkpoint:
    raise UserError(f"{path}: {variant.name} has no weights, and needs no checkpoint; leave it out")


@dataclass(frozen=True)
class Recipe:
    """One per family, called RECIPE in `recipes/FAMILY/recipe.py`; nothing else has to know of the family.

    `build` gives the faithful model, in evaluation mode: the variant's input, float32, to outputs by name. It reads no
    number out of a tensor that it makes, since it is also built without memory, on PyTorch's device `meta`.
    `read_checkpoint` reads a published or a user's file, or what else a user may give, or raises UserError.
    `biases` are the names that the last layer's bias may have, which says how many classes a checkpoint is of; none
    where the variant that is read with it says so.
    `synthesize` gives a state dict of deterministic stand-in weights, the same bytes on every run.
    `front_end` gives the front end as data, for families whose network may be fed its result.
    `doubts` says what a user should know of a variant before it is made.
    `streaming` gives the variant that is fed chunks of so many hops, and what computes it: (batch, state and chunk) to
    outputs by name; or raises UserError where that cannot be.

    A family that is not trained (`Variant.trained`) has no weights in its network, and needs neither of the three that
    are of weights.
    """

    family: str
    build: Callable[[Variant], nn.Module]
    read_checkpoint: Callable[[Path, Variant], Checkpoint] = _nothing_to_read
    biases: tuple[str, ...] = ()
    synthesize: Callable[[Variant], dict[str, Tensor]] = lambda variant: {}
    front_end: Callable[[Variant], HostFrontEnd] | None = None
    doubts: Callable[[Variant], Iterable[str]] = lambda variant: ()
    streaming: Callable[[Variant, int], tuple[Variant, nn.Module]] | None = None

    def classes(self, state: Mapping[str, Tensor]) -> int | None:
        """How many classes a state dict was trained for; None where no bias says so."""
        found = (state[name] for name in self.biases if name in state)
        return next((len(bias) for bias in found if bias.ndim == 1), None)


def load(family: str) -> Recipe:
    """The recipe of a family that has configurations; imports PyTorch, and the family's code alone."""
    recipe = import_module(f"recipes.{family}.recipe").RECIPE
    assert isinstance(recipe, Recipe)
    return recipe


def faithful_model(variant: Variant, state: dict[str, Tensor]) -> nn.Module:
    """The variant's model with these weights, in evaluation mode and without gradients.

    Raises UserError where a tensor is missing, unknown, of another shape, or of whole numbers in the place of weights.
    """
    import torch

    build = load(variant.family).build
    if variant.trained:
        # A few bytes can ask for a network of any size: no memory is taken before they are known to hold it all.
        with torch.device("meta"):
            own = build(variant).state_dict()
        _refuse_misfit(variant, own, state)
    model = build(variant)
    model.load_state_dict(state, strict=True)
    return model.eval().requires_grad_(False)


def _refuse_misfit(variant: Variant, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Raises UserError where `state` is not of the names, shapes and kinds of number that are in `own`."""
    expected = {name: tuple(tensor.shape) for name, tensor in own.items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    complaints = [
        ("missing", [name for name in expected if name not in found]),
        ("unexpected", [name for name in found if name not in expected]),
        (
            "of another shape",
            [
                f"{name} {found[name]} instead of {shape}"
                for name, shape in expected.items()
                if found.get(name, shape) != shape
            ],
        ),
        (
            "of another type",
            [
                f"{name} {state[name].dtype} instead of {tensor.dtype}".replace("torch.", "")
                for name, tensor in own.items()
                # Whole numbers, as they are quantised or damaged, are no weights, though PyTorch would take them.
                if name in state and tensor.is_floating_point() and not state[name].is_floating_point()
            ],
        ),
    ]
    if any(names for _, names in complaints):
        details = "; ".join(f"{len(names)} {what}: {_few(names)}" for what, names in complaints if names)
        raise UserError(
            f"these weights do not fit {variant.name} ({len(expected)} tensors): {details}. "
            "Is the checkpoint of another variant? `convert list` shows all"
        )


def digest(state: dict[str, Tensor]) -> str:
    """SHA-256 of a state dict's names, shapes and numbers, for weights that no file holds."""
    found = hashlib.sha256()
    for name, tensor in state.items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def digest_of_numbers(numbers: Mapping[str, object]) -> str:
    """SHA-256 of numbers by name as JSON without blanks, its keys sorted: for what no file and no weights are of."""
    text = json.dumps(numbers, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMES_SHOWN
    return ", ".join(names[:_MOST_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
