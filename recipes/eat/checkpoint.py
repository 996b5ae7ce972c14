"""The folder of a training run, `args.yml` beside `chkpnt.pt` or `best_model.pt`; it is only ever read."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from recipes.base import checkpoint
from recipes.base.errors import UserError
from recipes.base.weights import read as read_weights
from recipes.eat import arguments
from recipes.eat.arguments import Arguments

_ARGUMENTS = "args.yml"
# The trainer writes both at once; the second is the state dict alone.
_WEIGHTS = ("chkpnt.pt", "best_model.pt")

# Beside the weights the trainer keeps its score, a NumPy number, and its scheduler, into whose state PyTorch put a
# function until 2.4 and itself and the optimiser until 2.1: https://github.com/pytorch/pytorch/pull/123775,
# https://github.com/pytorch/pytorch/issues/42376. None of them is rebuilt.
_SKIPPED = (
    *checkpoint.NUMPY,
    "builtins.getattr",
    "builtins.dict",
    "collections.defaultdict",
    "torch.optim.lr_scheduler.OneCycleLR",
    "torch.optim.adamw.AdamW",
)


@dataclass(frozen=True)
class Run:
    """A training run: what it was told, its weights by their published names, and the file they are from."""

    arguments: Arguments
    state: dict[str, Tensor]
    weights: Path


def read(path: Path) -> Run:
    """A run's folder, or one of its weight files; `chkpnt.pt` where there are both.

    Names lose the `module.` that DataParallel puts before them, whatever `use_dp` says.
    Raises UserError where a part is missing, cannot be read, or contradicts another.
    """
    folder = path if path.is_dir() else path.parent
    weights = _weights_in(folder) if path.is_dir() else path
    place = folder / _ARGUMENTS
    if weights.is_file() and not place.is_file():
        found = f"{place}: is {'a folder' if place.is_dir() else 'a pipe or a device'} and no file"
        raise UserError(
            f"{found if place.exists() else f'{folder}: has no {_ARGUMENTS}'}, which says how large the network is; "
            "give the folder of the training run"
        )
    state = read_weights(weights, skipped=_SKIPPED)
    told = arguments.read(place, {name: tuple(tensor.shape) for name, tensor in state.items()})
    return Run(told, state, weights)


def _weights_in(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder}: has neither {' nor '.join(_WEIGHTS)}; give the folder of a training run")
