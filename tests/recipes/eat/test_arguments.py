"""`args.yml` is read as data, whatever it names, and held to the tensors."""

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path, PosixPath

import pytest
import yaml

from recipes.base.errors import UserError
from recipes.eat import arguments
from recipes.eat.model import build
from recipes.eat.spec import Sizes


@pytest.fixture
def shapes(tiny: Sizes) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in build(tiny).state_dict().items()}


@pytest.fixture
def read(tmp_path: Path, shapes: dict) -> Callable[[str | bytes], arguments.Arguments]:
    def reading(text: str | bytes) -> arguments.Arguments:
        path = tmp_path / "args.yml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return arguments.read(path, shapes)

    return reading


@pytest.fixture
def refusal(read: Callable, tmp_path: Path) -> Callable[[str | bytes], str]:
    def refused(text: str | bytes) -> str:
        start = time.process_time()
        with pytest.raises(UserError) as caught:
            read(text)
        assert time.process_time() - start < 5
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / 'args.yml'}: ")
        assert "\n" not in message
        assert len(message) < 2000
        return message

    return refused


def namespace(**changed: object) -> argparse.Namespace:
    values: dict[str, object] = {
        "nf": 4,
        "emb_dim": 8,
        "n_layers": 2,
        "n_head": 2,
        "dim_feedforward": 12,
        "ds_factors": [2, 2],
        "seq_len": 1024,
        "n_classes": 5,
        "sampling_rate": 16000,
        "dataset": "doors",
        "save_path": Path("outputs/r1"),
        "load_path": None,
        "ema": 0.995,
        "augs_mix": ["mixup", "phmix"],
    }
    return argparse.Namespace(**(values | changed))


def test_a_dumped_namespace(read: Callable, args_yml: str) -> None:
    dumped = yaml.dump(namespace())
    assert dumped.startswith("!!python/object:argparse.Namespace\n")
    assert "!!python/object/apply:pathlib.PosixPath" in dumped
    found = read(dumped)
    assert found == read(args_yml)
    assert (found.nf, found.ds_factors, found.seq_len) == (4, (2, 2), 1024)
    assert (found.sampling_rate, found.dataset, found.several_may_be_true) == (16000, "doors", False)


def test_a_plain_dict_and_one_nested_a_level(read: Callable) -> None:
    plain = vars(namespace())
    expected = read(yaml.dump(plain))
    groups = {"net": {key: plain[key] for key in ("nf", "emb_dim", "n_head", "n_layers", "dim_feedforward")}}
    rest = {key: value for key, value in plain.items() if key not in groups["net"]}
    assert read(yaml.dump(groups | rest)) == expected
    assert read(yaml.dump({"args": plain})) == expected
    assert read(yaml.dump({"args": namespace()})) == expected
    assert read(yaml.dump(argparse.Namespace(args=plain))) == expected


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
@pytest.mark.parametrize("system", ["PosixPath", "WindowsPath"])
def test_paths_of_either_system_are_data(module: str, system: str, read: Callable, args_yml: str) -> None:
    assert read(args_yml.replace("pathlib.PosixPath", f"{module}.{system}")) == read(args_yml)


def test_the_authors_runs(runs: dict, published: Callable) -> None:
    import torch

    for name, dataset in (("eat_s_esc50", "esc50"), ("eat_s_urban8k_dp", "urban8k")):
        state = torch.load(runs[name] / "chkpnt.pt", weights_only=True)["model_dict"]
        shapes = {key.removeprefix("module."): tuple(tensor.shape) for key, tensor in state.items()}
        found = arguments.read(runs[name] / "args.yml", shapes)
        assert Sizes(**{key: getattr(found, key) for key in Sizes.__dataclass_fields__}) == published("eat_s", dataset)
        assert found.sampling_rate == 22050
        assert found.dataset == dataset


def test_which_sets_have_several_true_classes(read: Callable) -> None:
    assert not read(yaml.dump(namespace())).several_may_be_true
    assert read(yaml.dump(namespace(multilabel=True))).several_may_be_true


# Every kind of tag that PyYAML's own loaders know, and what it stands before.
TAGS = {
    "python/object/apply:os.system": "[touch {flag}]",
    "python/object/apply:builtins.eval": "[\"open({flag!r}, 'w')\"]",
    "python/object/apply:builtins.exec": "[\"open({flag!r}, 'w')\"]",
    "python/object/apply:subprocess.Popen": "[[touch, {flag}]]",
    "python/object/apply:pathlib.Path.touch": "[{flag}]",
    "python/object/apply:pathlib.PurePosixPath": "[{flag}]",
    "python/object/apply:argparse.Namespace": "[]",
    "python/object/new:os.system": "[touch {flag}]",
    "python/object/new:tuple": '[!!python/object/new:map [!!python/name:eval , ["1"]]]',
    "python/object:os.system": "{{}}",
    "python/object:pathlib.PosixPath": "{{}}",
    "python/name:os.system": "''",
    "python/module:os": "''",
    "python/tuple": "[1, 2]",
    "python/list": "[1]",
    "python/dict": "{{a: 1}}",
    "python/str": "text",
    "python/unicode": "text",
    "python/bytes": "aGVsbG8=",
    "python/int": "3",
    "python/long": "3",
    "python/float": "3.0",
    "python/complex": "1+2j",
    "python/bool": "true",
    "python/none": "null",
    "binary": "aGVsbG8=",
    "set": "{{a, b}}",
    "omap": "[a: 1]",
    "timestamp": "2020-01-01",
}


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("place", ["beside", "in a known key", "in a list", "in a path", "as a key", "at the top"])
def test_every_other_tag_is_refused_by_name_and_line(
    tag: str, place: str, refusal: Callable, args_yml: str, tmp_path: Path
) -> None:
    flag = tmp_path / "it_ran"
    node = f"!!{tag} {TAGS[tag].format(flag=str(flag))}"
    old, new = {
        "beside": ("amp: true", f"amp: {node}"),
        "in a known key": ("n_head: 2", f"n_head: {node}"),
        "in a list": ("- 2\n- 2", f"- 2\n- {node}"),
        "in a path": ("- outputs", f"- {node}"),
        "as a key": ("amp: true", f"? {node}\n: true"),
        "at the top": (args_yml, node),
    }[place]
    text = args_yml.replace(old, new, 1)
    assert text != args_yml
    message = refusal(text)
    assert not flag.exists()
    line = text[: text.index(f"!!{tag}")].count("\n") + 1
    assert f"line {line}: " in message
    assert repr(tag) in message or (place == "as a key" and "a key must be a plain name" in message)


@pytest.mark.parametrize(
    "text",
    [
        "%TAG ! tag:yaml.org,2002:python/\n---\nnf: !object/apply:os.system [true]\n",
        "nf: !<tag:yaml.org,2002:python/object/apply:os.system> [true]\n",
        "nf: !<!own> 3\n",
        "nf: !own 3\n",
        "!!python/object:argparse.Namespace [nf]\n",
        "nf: !!python/object/apply:pathlib.PosixPath {args: [a], state: {b: 1}}\n",
        "nf: !!python/object/apply:pathlib.PosixPath text\n",
        "nf: !!python/object/apply:pathlib.PosixPath [!!python/object/apply:os.getcwd []]\n",
    ],
)
def test_tags_in_other_spellings_and_the_two_on_other_nodes(text: str, refusal: Callable) -> None:
    assert "which is not allowed" in refusal(text)


def test_the_hostile_text_does_run_in_a_plain_loader(tmp_path: Path) -> None:
    flag = tmp_path / "it_ran"
    yaml.unsafe_load(f"a: !!python/object/apply:os.system ['touch {flag}']")
    assert flag.exists()
    assert yaml.unsafe_load("!!python/object/apply:pathlib.PosixPath [a, b]") == PosixPath("a/b")


BOMB = "a: &a [x, x, x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi"))  # noqa: B905


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOMB, "line 2: aliases are not allowed"),
        ("nf: &a\n  b: *a\n", "line 2: aliases are not allowed"),
        ("a: &x 4\nnf: *x\n", "line 2: aliases are not allowed"),
        ("nf: " + "[" * 20000, "nested over"),
        ("nf: " + "[" * 300 + "]" * 300, "nested over"),
        ("{a: " * 10000, "nested over"),
        ("".join(f"{' ' * level}a:\n" for level in range(300)), "nested over"),
        ("- " * 20000, "nested over"),
        ("nf: 4\nnf: 4\n", "line 2: the key 'nf' stands twice"),
        ("net:\n  nf: 4\n  nf: 5\n", "line 3: the key 'nf' stands twice"),
        ("<<: {nf: 4}\n", "line 1: a key must be a plain name"),
        ("? [a, b]\n: 4\n", "line 1: a key must be a plain name"),
        ("nf: 4\n" * 20000, "is over 65536 bytes long"),
        ("# " + "x" * 70000, "is over 65536 bytes long"),
        ("é" * 40000, "is over 65536 bytes long"),
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- nf\n", "holds no mapping"),
        ("nf\n", "holds no mapping"),
        ("nf: 4\n---\nnf: 4\n", "expected a single document"),
        ("nf: [4\n", "not valid YAML"),
        ("nf: \0\n", "not valid YAML"),
        ('nf: "\\UFFFFFFFF"\n', "not valid YAML"),
        ("%YAML 9.0\n---\nnf: 4\n", "not valid YAML"),
        (b"nf: 4\nrun: \xff\n", "line 2 is not UTF-8"),
        ("nf: 4\n".encode("utf-16"), "not"),
        (f"nf: {'9' * 5000}\n", "is not what its tag says"),
        (f"nf: 0x{'f' * 5000}\n", "is not what its tag says"),
        (f"nf: {':'.join(['59'] * 5000)}\n", "is not what its tag says"),
        ("nf: !!int many\n", "is not what its tag says"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_list_of_settings(text: str | bytes, expected: str, refusal: Callable) -> None:
    assert expected in refusal(text)


def test_missing_keys_are_listed_together_with_what_the_tensors_say(refusal: Callable) -> None:
    message = refusal("amp: true\n")
    for key in ("n_head", "seq_len", "sampling_rate", "dataset"):
        assert f"{key} is missing" in message
    for key, value in {"nf": 4, "emb_dim": 8, "n_layers": 2, "ds_factors": "2 2", "n_classes": 5}.items():
        assert f"{key} is missing (the tensors say {value})" in message


# Edits of the good file, and what the complaint says.
CONTRADICTIONS = {
    "nf": ("nf: 4", "nf: 8", "line 12, nf: is 8 and the tensors say 4"),
    "emb_dim": ("emb_dim: 8", "emb_dim: 16", "emb_dim: is 16 and the tensors say 8"),
    "n_layers": ("n_layers: 2", "n_layers: 3", "n_layers: is 3 and the tensors say 2"),
    "dim_feedforward": ("forward: 12", "forward: 24", "dim_feedforward: is 24 and the tensors say 12"),
    "n_classes": ("n_classes: 5", "n_classes: 6", "n_classes: is 6 and the tensors say 5"),
    "ds_factors": ("- 2\n- 2", "- 4\n- 2", "ds_factors: is 4 2 and the tensors say 2 2"),
    "fewer factors": ("- 2\n- 2", "- 2", "ds_factors: is 2 and the tensors say 2 2"),
    "seq_len": ("seq_len: 1024", "seq_len: 2048", "makes 129 positions and the tensors have 65"),
    "seq_len that is no multiple": ("seq_len: 1024", "seq_len: 1030", "makes 65 places, and training has positions"),
    "too short": ("seq_len: 1024", "seq_len: 64", "before a reflection that needs more"),
    "heads": ("n_head: 2", "n_head: 3", "emb_dim 8 is no multiple of n_head 3"),
    "classes of a known set": ("dataset: doors", "dataset: esc50", "n_classes is 5 and esc50 has 50"),
    "several classes of a set of one": ("doors", "esc50\nmultilabel: true", "is true and esc50 has one class"),
    "one class of a set of several": (
        "doors", "audioset\nmultilabel: false", "line 4, multilabel: is false and audioset has several classes"
    ),
    "other network": ("amp: true", "model_type: SoundNet2", "line 2, model_type: must be 'SoundNetRaw'"),
    "fraction": ("nf: 4", "nf: 4.0", "nf: must be a whole number"),
    "text": ("nf: 4", "nf: '4'", "nf: must be a whole number"),
    "truth": ("nf: 4", "nf: true", "nf: must be a whole number"),
    "nothing": ("nf: 4", "nf:", "nf: must be a whole number"),
    "not a number": ("nf: 4", "nf: .nan", "nf: must be a"),
    "zero": ("n_head: 2", "n_head: 0", "n_head: must be greater than 0"),
    "negative": ("seq_len: 1024", "seq_len: -1024", "seq_len: must be greater than 0"),
    "no list": ("ds_factors:\n- 2\n- 2", "ds_factors: 4", "ds_factors: must be a valid"),
    "empty list": ("ds_factors:\n- 2\n- 2", "ds_factors: []", "ds_factors: Tuple should have at least 1 item"),
    "list of texts": ("- 2\n- 2", "- 2\n- two", "ds_factors.1: must be a whole number"),
    "set that is a number": ("dataset: doors", "dataset: 50", "dataset: must be text"),
    "truth that is a number": ("amp: true", "multilabel: 1", "multilabel: must be true or false"),
    "a billion layers": ("n_layers: 2", "n_layers: 1000000000", "n_layers: must be less than or equal to 1024"),
    "a thousand layers": ("n_layers: 2", "n_layers: 1000", "n_layers: is 1000 and the tensors say 2"),
    "a petabyte of positions": ("seq_len: 1024", "seq_len: 4503599627370496", "seq_len: must be less than"),
    "too many positions": ("seq_len: 1024", "seq_len: 16777216", "makes 1048577 positions, over the 8192 that fit"),
    "a million heads": ("n_head: 2", "n_head: 1000000", "n_head: must be less than or equal to"),
    "many factors": ("- 2\n- 2", "- 2\n" * 40, "ds_factors: Tuple should have at most 8 items"),
    "great factors": ("- 2\n- 2", "- 2\n- 1000000000", "ds_factors.1: must be less than or equal to 1024"),
    "sampling rate of light": ("rate: 16000", "rate: 300000000000", "sampling_rate: must be less than"),
    "one thing and another": ("amp: true", "net:\n  nf: 5", "nf is one thing in line 3 and another in line 13"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions(case: str, refusal: Callable, args_yml: str) -> None:
    old, new, expected = CONTRADICTIONS[case]
    text = args_yml.replace(old, new, 1)
    assert text != args_yml
    assert expected in refusal(text)


def test_everything_that_is_wrong_is_listed_at_once(refusal: Callable, args_yml: str) -> None:
    text = args_yml.replace("n_head: 2", "n_head: 3").replace("emb_dim: 8\n", "").replace("nf: 4", "nf: 5")
    message = refusal(
        text.replace("sampling_rate: 16000", "sampling_rate: many").replace("n_classes: 5", "n_classes: 6")
    )
    for part in (
        "n_head 3",
        "emb_dim is missing",
        "nf: is 5",
        "sampling_rate: must be a whole number",
        "n_classes: is 6",
    ):
        assert part in message


def test_the_same_value_twice_is_no_contradiction(read: Callable, args_yml: str) -> None:
    assert read(args_yml.replace("amp: true", "net:\n  nf: 4")) == read(args_yml)


@pytest.mark.parametrize("key", ["start.1.weight", "tf.fc.weight", "down.0.down.1.weight", "project.weight"])
def test_tensors_that_are_of_another_network(key: str, tmp_path: Path, shapes: dict, args_yml: str) -> None:
    (tmp_path / "args.yml").write_text(args_yml)
    others = {name: shape for name, shape in shapes.items() if name.split(".")[0] != key.split(".")[0]}
    with pytest.raises(UserError, match=re.escape("the checkpoint has no tensor that says")):
        arguments.read(tmp_path / "args.yml", others)
    with pytest.raises(UserError, match="nf, emb_dim, dim_feedforward, n_classes, n_layers, ds_factors"):
        arguments.read(tmp_path / "args.yml", {})


def test_no_file(tmp_path: Path, shapes: dict) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        arguments.read(tmp_path / "args.yml", shapes)
    with pytest.raises(UserError, match="cannot be read"):
        arguments.read(tmp_path, shapes)
