"""The weights in a checkpoint, read in a worker: a file that kills its reader, or feeds it without end, is refused."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recipes.base import checkpoint
from recipes.base.errors import UserError
from recipes.base.worker import Worker, WorkerError


def read(path: Path, skipped: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The state dict in a file of `torch.save`: `checkpoint.state_dict` of what `checkpoint.read` gives.

    Raises UserError as these do, and where the reading crashes or takes more time or memory than it may.
    """
    with Worker((checkpoint.__name__,)) as worker:
        try:
            arrays = worker.call(_arrays, path, skipped, raises=(UserError,))
        except WorkerError as error:
            raise UserError(f"{path}: what reads it {error}; give another checkpoint") from error
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _arrays(path: Path, skipped: tuple[str, ...]) -> dict[str, np.ndarray]:
    state = checkpoint.state_dict(checkpoint.read(path, skipped), path)
    return {name: tensor.numpy() for name, tensor in state.items()}
