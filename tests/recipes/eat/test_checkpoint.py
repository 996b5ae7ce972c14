"""The folder of a training run, in every form that training leaves, and hostile ones."""

import builtins
import os
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recipes.base.config import find
from recipes.base.errors import UserError
from recipes.base.recipe import faithful_model
from recipes.eat import checkpoint
from recipes.eat import recipe as eat
from recipes.eat.model import build
from recipes.eat.spec import Sizes


def tree_of(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "chkpnt.pt", weights_only=True, mmap=False)


def save(tree: object, folder: Path, name: str = "chkpnt.pt") -> None:
    torch.save(tree, folder / name)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        checkpoint.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_both_published_forms(runs: dict) -> None:
    for folder in runs.values():
        run = checkpoint.read(folder)
        assert len(run.state) == 216
        assert "start.1.weight" in run.state
        assert run.weights == folder / "chkpnt.pt"
        assert len(run.state["tf.fc.bias"]) == run.arguments.n_classes


def test_the_weights_may_stand_alone_beside_the_arguments(tiny_run: Path) -> None:
    expected = tree_of(tiny_run)["model_dict"]
    (tiny_run / "chkpnt.pt").unlink()
    save(expected, tiny_run, "best_model.pt")
    run = checkpoint.read(tiny_run)
    assert run.weights.name == "best_model.pt"
    assert all(torch.equal(run.state[name], tensor) for name, tensor in expected.items())
    assert checkpoint.read(tiny_run / "best_model.pt").arguments == run.arguments


def test_a_file_of_the_folder_may_be_named(tiny_run: Path) -> None:
    state = tree_of(tiny_run)["model_dict"]
    save({name: torch.zeros_like(tensor) for name, tensor in state.items()}, tiny_run, "best_model.pt")
    assert checkpoint.read(tiny_run).state["tf.fc.weight"].any()
    assert not checkpoint.read(tiny_run / "best_model.pt").state["tf.fc.weight"].any()


@pytest.mark.parametrize("said", ["true", "false"])
@pytest.mark.parametrize("name", ["chkpnt.pt", "best_model.pt"])
def test_data_parallel_whatever_the_arguments_say(name: str, said: str, tiny_run: Path) -> None:
    tree = tree_of(tiny_run)
    parallel = {f"module.{key}": tensor for key, tensor in tree["model_dict"].items()}
    (tiny_run / "chkpnt.pt").unlink()
    save(tree | {"model_dict": parallel} if name == "chkpnt.pt" else parallel, tiny_run, name)
    text = (tiny_run / "args.yml").read_text()
    (tiny_run / "args.yml").write_text(text.replace("use_dp: false", f"use_dp: {said}"))
    assert list(checkpoint.read(tiny_run).state) == list(tree["model_dict"])


def test_the_folder_is_not_written_to(tiny_run: Path) -> None:
    (tiny_run / "best_model.pt").write_bytes(b"")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tiny_run.iterdir()}
    tiny_run.chmod(0o555)
    checkpoint.read(tiny_run)
    tiny_run.chmod(0o755)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tiny_run.iterdir()} == before


def test_training_may_go_on_while_its_weights_are_converted(tiny_run: Path) -> None:
    """It writes the same file again; weights that are mapped from it would change, or end the process."""
    expected = tree_of(tiny_run)["model_dict"]
    run = checkpoint.read(tiny_run)
    (tiny_run / "chkpnt.pt").write_bytes(b"half of the next")
    assert all(torch.equal(run.state[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("bound", [True, False])
def test_what_older_pytorch_kept_of_its_scheduler_is_not_rebuilt(bound: bool, zipped: bool, tiny_run: Path) -> None:
    """Until 2.4 a function, until 2.1 bound to the scheduler, which holds the optimiser."""
    tree = tree_of(tiny_run)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))], lr=1e-3)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=10)
    optimizer.step()
    function = torch.optim.lr_scheduler.OneCycleLR._annealing_cos
    kept = {key: value for key, value in vars(scheduler).items() if key != "optimizer"}
    kept["anneal_func"] = types.MethodType(function, scheduler) if bound else function
    tree |= {
        "lr_scheduler": kept,
        "best_acc": np.float64(91.5),
        "best_loss": torch.tensor(0.3),
        "scaler": {"scale": 2.0},
    }
    torch.save(tree, tiny_run / "chkpnt.pt", _use_new_zipfile_serialization=zipped)
    assert b"getattr" in (tiny_run / "chkpnt.pt").read_bytes()
    assert list(checkpoint.read(tiny_run).state) == list(tree["model_dict"])


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call

    def __call__(self) -> None:
        """Only what can be called pickles as what is."""


@pytest.mark.parametrize("entry", ["model_dict", "opt_dict", "lr_scheduler"])
@pytest.mark.parametrize(
    "call",
    [
        lambda flag: Calls(os.system, f"touch {flag}"),
        lambda flag: Calls(builtins.eval, f"open({str(flag)!r}, 'w')"),
        lambda flag: Calls(Calls(getattr, Calls(__import__, "os"), "mkdir"), str(flag)),
        lambda flag: Calls(open, str(flag), "w"),
        lambda flag: Calls(np.save, str(flag), 0),
    ],
)
def test_hostile_pickles_run_nothing(call: Callable[[Path], Calls], entry: str, tiny_run: Path, tmp_path: Path) -> None:
    flag = tmp_path / "it_ran"
    save(tree_of(tiny_run) | {entry: call(flag)}, tiny_run)
    assert "nothing was run" in refusal(tiny_run) or "is no checkpoint" in refusal(tiny_run)
    assert not flag.exists()


def test_what_is_skipped_calls_nothing(tiny_run: Path, tmp_path: Path) -> None:
    """The names that are let pass stand for nothing: what they would have given is not there to be called."""
    flag = tmp_path / "it_ran"
    trap = Calls(Calls(getattr, Path(flag).as_posix(), "upper"))
    tree = tree_of(tiny_run)
    save(tree | {"lr_scheduler": {"anneal_func": Calls(getattr, "text", "upper")}}, tiny_run)
    assert checkpoint.read(tiny_run).arguments.nf == 4
    save(tree | {"lr_scheduler": {"anneal_func": trap}}, tiny_run)
    assert "nothing was run" in refusal(tiny_run / "chkpnt.pt")
    save(tree["model_dict"] | {"start.1.weight": Calls(getattr, "text", "upper")}, tiny_run)
    assert "'start.1.weight' is made by builtins.getattr" in refusal(tiny_run / "chkpnt.pt")


def test_what_is_missing_from_the_folder(tiny_run: Path, tmp_path: Path) -> None:
    (tiny_run / "args.yml").rename(tmp_path / "args.yml")
    assert "has no args.yml" in refusal(tiny_run)
    (tiny_run / "chkpnt.pt").unlink()
    assert "neither chkpnt.pt nor best_model.pt" in refusal(tiny_run)
    assert "there is no such file" in refusal(tmp_path / "nothing")


def test_arguments_that_are_no_file(tiny_run: Path) -> None:
    """They are not opened: a pipe that nobody writes to would never end."""
    path = tiny_run / "args.yml"
    path.unlink()
    path.mkdir()
    assert refusal(tiny_run).startswith(f"{path}: is a folder and no file")
    path.rmdir()
    os.mkfifo(path)
    assert refusal_of_arguments(tiny_run).startswith(f"{path}: is a pipe or a device and no file")


def test_a_checkpoint_of_another_run(tiny_run: Path, runs: dict) -> None:
    shutil.copy(runs["eat_s_esc50"] / "chkpnt.pt", tiny_run / "chkpnt.pt")
    message = refusal_of_arguments(tiny_run)
    for part in ("nf: is 4 and the tensors say 16", "n_layers: is 2 and the tensors say 4", "the tensors have 113"):
        assert part in message


def refusal_of_arguments(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        checkpoint.read(folder)
    assert str(caught.value).startswith(f"{folder / 'args.yml'}: ")
    return str(caught.value)


@pytest.mark.parametrize("name", ["tf.fc.weight", "start.1.weight", "down.0.down.1.weight"])
def test_a_tensor_that_says_a_size_is_missing(name: str, tiny_run: Path) -> None:
    tree = tree_of(tiny_run)
    del tree["model_dict"][name]
    save(tree, tiny_run)
    message = refusal_of_arguments(tiny_run)
    assert "has no tensor that says" in message or "the tensors say 2" in message


def test_a_network_larger_than_its_file_is_not_built(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are quickly written: a thousand layers that hold nothing, and sizes that agree with them."""
    tree = tree_of(tiny_run)
    state = tree["model_dict"]
    for layer in range(2, 1000):
        state[f"tf.transformer_enc.layers.{layer}.linear1.weight"] = torch.zeros(1)
    state["tf.transformer_enc.layers.0.linear1.weight"] = torch.zeros(60000, 1)
    save(tree, tiny_run)
    text = (tiny_run / "args.yml").read_text()
    text = text.replace("n_layers: 2", "n_layers: 1000").replace("feedforward: 12", "feedforward: 60000")
    (tiny_run / "args.yml").write_text(text)

    def build_on_meta(sizes: Sizes) -> torch.nn.Module:
        model = build(sizes)
        assert all(parameter.is_meta for parameter in model.parameters())
        return model

    monkeypatch.setattr(eat.model, "build", build_on_meta)
    read = eat.read_checkpoint(tiny_run, find("eat_s_esc50"))
    with pytest.raises(UserError, match=r"do not fit eat_of_a_run .*missing.*of another shape"):
        faithful_model(read.variant, read.state)


def test_a_petabyte_of_positions_in_a_few_bytes(tiny_run: Path, tiny: Sizes) -> None:
    tree = tree_of(tiny_run)
    tree["model_dict"]["tf.pos_embed"] = torch.zeros(1).expand(1, 2**45, tiny.emb_dim)
    save(tree, tiny_run)
    with pytest.raises(UserError, match="has more places than numbers"):
        checkpoint.read(tiny_run)
