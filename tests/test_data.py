"""The stand-ins and the answers to them, before anything of the project is held to them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

DATA = Path(__file__).parent / "data"
NAMES = sorted(path.stem for path in (DATA / "stand_ins").iterdir())


def checkpoint_in(folder: Path) -> Any:
    (path,) = (path for path in folder.iterdir() if path.suffix in (".pt", ".pth"))
    # The sampler in PANN's container holds NumPy arrays; it was written here.
    return torch.load(path, weights_only=False)


def tensors_in(tree: Any) -> dict[str, Tensor]:
    return next((tree[key] for key in ("model", "model_dict") if key in tree), tree)


def test_each_stand_in_has_answers() -> None:
    assert len(NAMES) == 5
    assert sorted(path.stem for path in (DATA / "truth").glob("*.npz")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_is_said_how_exact_each_answer_is(truth: Callable, agreement: Callable, name: str) -> None:
    for case, tensors in truth(name).items():
        allowed = agreement(name, case)
        assert set(allowed) == set(tensors) - {"waveform"}
        assert all(0 < atol < 1e-3 for atol in allowed.values())


def test_a_training_run_of_eat_has_both_forms_of_its_arguments(stand_in: Callable[[str], Path]) -> None:
    """A namespace, whose tag names a Python class, and a mapping; the latter's training ran in DataParallel."""
    namespace, mapping = stand_in("eat_s_esc50"), stand_in("eat_s_urban8k_dp")
    for folder in (namespace, mapping):
        assert sorted(path.name for path in folder.iterdir()) == ["args.yml", "chkpnt.pt"]
    assert (namespace / "args.yml").read_text().startswith("!!python/object:argparse.Namespace\n")
    assert (mapping / "args.yml").read_text().startswith("add_noise: false\n")
    assert not any(key.startswith("module.") for key in tensors_in(checkpoint_in(namespace)))
    assert all(key.startswith("module.") for key in tensors_in(checkpoint_in(mapping)))


@pytest.mark.slow
def test_the_folder_that_it_is_written_to_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    for _ in range(2):
        subprocess.run([sys.executable, DATA / "stand_in.py", "eat_s_esc50", folder], check=True)
        assert sorted(path.name for path in folder.iterdir()) == ["args.yml", "chkpnt.pt"]


@pytest.mark.slow
def test_stand_ins_are_those_that_the_authors_code_was_given(
    stand_in: Callable[[str], Path], shared: Path, tmp_path: Path
) -> None:
    for name in NAMES:
        theirs = tmp_path / name
        # Beside the checkout are the real weights of mn04_as, too.
        given = "mn04_as_stand_in" if name == "mn04_as" else name
        subprocess.run([sys.executable, shared / "checkpoints" / "synthesize.py", given, theirs], check=True)
        made = stand_in(name)
        ours = made if made.is_dir() else made.parent
        assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())
        if (theirs / "args.yml").exists():
            assert (ours / "args.yml").read_bytes() == (theirs / "args.yml").read_bytes()
        mine, wanted = checkpoint_in(ours), checkpoint_in(theirs)
        # Beside the tensors: counters, an optimiser's state, PANN's sampler with its arrays.
        rests = [{key: tree[key] for key in tree if tree[key] is not tensors_in(tree)} for tree in (mine, wanted)]
        if tensors_in(mine) is not mine:
            assert json.dumps(rests[0], default=np.ndarray.tolist) == json.dumps(rests[1], default=np.ndarray.tolist)
        mine, wanted = tensors_in(mine), tensors_in(wanted)
        assert list(mine) == list(wanted)
        for key, tensor in wanted.items():
            assert mine[key].dtype == tensor.dtype, key
            assert mine[key].numpy().tobytes() == tensor.numpy().tobytes(), key
