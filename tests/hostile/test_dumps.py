"""Arrays, dumps and references that keep their readers busy, or make them raise what nobody foresaw."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes.base.errors import UserError
from tests.hostile.cases import some
from tests.hostile.conftest import Commands
from tests.hostile.models import model_of_sound
from tests.hostile.test_folders import anew, listed
from validators.arrays import of_npy

Refused = Callable[..., str]


def npy(head: str, numbers: bytes = bytes(4)) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + numbers


def array(descr: str = "'<f4'", shape: str = "(1,)", numbers: bytes = bytes(4)) -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n", numbers)


def answers(**more: Any) -> dict[str, Any]:
    output = {"shape": [1], "stride": 1, "values": [1.0]} | more
    return {"schema": "soundport.reference/1", "cases": [{"name": "rich", "outputs": {"logits": output}}]}


def packed(value: object) -> bytes:
    return json.dumps(value).encode()


HEADS = {
    "a list as a key": npy("{[]: 1}\n"),
    "a set as a key": npy("{{1}: 2}\n"),
    "keys that have no order": npy("{1: 2, 'a': 3, None: 4}\n"),
    "a type of nothing": array("()"),
    "half a type": array("('<f4',)"),
    "a type of types": array("('<f4', (1,))"),
    "a span of time": array("'<m8[s]'", numbers=bytes(8)),
    "a condition in the shape": array(shape="(1if 1else 1,)"),
    "a truth value in the shape": array(shape="(True,)"),
    "65 axes": array(shape=str((1,) * 65)),
    "none of 10 ** 30": array(shape=f"(0, {10**30})", numbers=b""),
    "sizes of 4,000 digits": array(shape=f"({10**4000}, {10**4000})"),
    "a negative size": array(shape="(-1,)"),
    "a block": npy("if 1:\n    x\n  y\n"),
    "an escape of nobody's": array(r"'<f4\d'"),
    "5,000 signs": npy("-" * 5000 + "1\n"),
}

_RESULT = b"x Tensor: { tensor dim:1, Original shape:[%b]"
_NUMBER = b"\ntensor data:\n1\n}\n"
_LAYER = b"//out 0 s: name: x bConstant:0 shape:[%b]\n{\n"
LONG = 1_000_000

DUMPS: dict[str, tuple[str, bytes]] = {
    "an array of 300 axes.json": ("axes", packed(answers(shape=[1] * 300))),
    "sizes of 4,000 digits.json": ("shape.0", packed(answers(shape=[10**4000, 10**4000]))),
    "a gigabyte of one number.json": ("at most", packed(answers(shape=[2**29], stride=2**29))),
    "a million wrong numbers.json": ("values.0", packed(answers(values=["a"] * LONG))),
    "a million wrong cases.json": ("cases.0", packed(answers() | {"cases": [1] * LONG})),
    "a million wrong arrays.json": ("numbers or names", b'{"a": {' + b",".join([b'"a":1'] * LONG) + b"}}"),
    "a layer's name over and over.txt": ("no whole tensor", b"//out 0 s: " + b"name: " * (LONG // 6) + b"\n"),
    "a layer's shape over and over.txt": (
        "no whole tensor",
        b"//out 0 s: name: x" + b" bConstant:0 shape:[1]" * (2 * LONG // 22) + b"\nx\n",
    ),
    "lines before the numbers.txt": ("no whole tensor", _RESULT % b"1" + b"\n" * LONG + b"x"),
    "lines in place of numbers.txt": ("no whole tensor", _RESULT % b"1" + b"\ntensor data:" + b"\n" * LONG),
    "30,000 tensors and half a one.txt": (
        "line 120001: no whole tensor",
        b"".join(b"%d Tensor: { tensor dim:1, Original shape:[1]" % i + _NUMBER for i in range(30_000)) + b"x",
    ),
    "30,000 layers and half a one.txt": (
        "no whole tensor",
        b"".join(_LAYER.replace(b"x", b"%d" % i) % b"1" + b"1\n}\n" for i in range(30_000)) + b"x",
    ),
    "a result of 100 axes.txt": ("no array has", _RESULT % b" ".join([b"1"] * 100) + _NUMBER),
    "a layer of 100 axes.txt": ("no array has", _LAYER % b",".join([b"1"] * 100) + b"1\n}\n"),
    "none of 10 ** 50.txt": ("no array has", _LAYER % (b"0, 1" + b"0" * 50) + b"//buffer data size: 0\n}\n"),
    "layers without any.txt": ("no tensor", b"isFloat: 1\n"),
}


@pytest.mark.parametrize("name", some(HEADS, 3))
def test_what_no_array_begins_with(name: str, refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "it.npy"
    path.write_bytes(HEADS[name])
    assert str(path) in refused("compare", path, path)


@pytest.mark.parametrize("name", HEADS)
def test_such_a_head_is_refused_and_nothing_else_is_said(name: str, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(UserError, match="it: "):
        of_npy("it", HEADS[name])
    assert not recwarn.list


@pytest.mark.parametrize("command", ["run", "compare --on", "compare a reference"])
def test_every_reader_of_arrays_refuses_such_a_head(command: str, refused: Refused, tmp_path: Path) -> None:
    model, arrays, said = tmp_path / "model.onnx", tmp_path / "it.npz", tmp_path / "device.json"
    model.write_bytes(model_of_sound().SerializeToString())
    with zipfile.ZipFile(arrays, "w") as archive:
        archive.writestr("x.npy", HEADS["a list as a key"])
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "rich.logits.npy").write_bytes(HEADS["a list as a key"])
    said.write_bytes(packed(answers(file="reference/rich.logits.npy")))
    words: dict[str, tuple[object, ...]] = {
        "run": ("run", model, arrays),
        "compare --on": ("compare", model, model, "--on", arrays),
        "compare a reference": ("compare", said, said),
    }
    assert "no NumPy" in refused(*words[command])


@pytest.mark.parametrize("name", DUMPS)
def test_a_dump_that_is_refused(name: str, refused: Refused, tmp_path: Path) -> None:
    why, content = DUMPS[name]
    (tmp_path / name).write_bytes(content)
    line = refused("compare", tmp_path / name, tmp_path / name)
    assert str(tmp_path / name) in line
    assert why in line


def test_a_case_without_any_tensor_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "it" / "rich").mkdir(parents=True)
    (tmp_path / "it" / "rich" / "a.txt").write_text("isFloat: 1\n")
    assert "no tensor" in refused("compare", tmp_path / "it", tmp_path / "it")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("what Python 2 wrote.npy", array(shape="(1L,)")),
        ("64 axes.npy", array(shape=str((1,) * 64))),
        ("64 axes.json", packed(answers(shape=[1] * 64))),
        ("a whole number of 5,000 digits.txt", b"9007199254740993 " + b"0" * 5000 + b"1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_odd_and_whole_is_read_without_a_word(
    name: str, content: bytes, commands: Commands, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    ended = commands.run("compare", tmp_path / name, tmp_path / name)
    assert ended.exit_code == 0, ended
    assert [line.partition(":")[0] for line in ended.stderr.splitlines()] == ["note"]


def test_a_number_of_5000_digits_is_beyond_float64_and_fails(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "it.txt").write_bytes(b"9007199254740993 " + b"9" * 5000)
    ended = commands.run("compare", tmp_path / "it.txt", tmp_path / "it.txt")
    assert ended.exit_code == 1, ended
    assert "inf" in ended.stdout


# References

_WRONG: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "60,000 cases of nothing": (
        "case c0: has the input",
        lambda data: data.update(
            cases=[{"name": f"c{i}", "description": "", "input": {}, "outputs": {}} for i in range(60_000)]
        ),
    ),
    "two of 60,000 cases": (
        "two cases are called 'c0'",
        lambda data: data.update(
            cases=[{"name": f"c{i % 59_999}", "description": "", "input": {}, "outputs": {}} for i in range(60_000)]
        ),
    ),
    "a million wrong cases": ("case 0: must be an object", lambda data: data.update(cases=[1] * 1_600_000)),
    "10,000 outputs of one name": (
        "two arrays are called 'logits'",
        lambda data: data.update(outputs=10_000 * [{"name": "logits", "axes": ["batch", 527], "kind": "logit"}]),
    ),
    "a rate beyond all WAV": ("sample_rate", lambda data: data.update(sample_rate=2**40)),
    "a sound of 300 axes": (
        "waveform, shape",
        lambda data: data["cases"][0]["input"]["waveform"].update(shape=[*[1] * 299, 9920]),
    ),
}


@pytest.mark.parametrize("name", _WRONG)
def test_a_reference_that_is_refused(name: str, folder: Path, refused: Refused) -> None:
    path = folder / "reference.json"
    why, change = _WRONG[name]
    data = json.loads(path.read_bytes())
    change(data)
    anew(path, packed(data))
    assert path.stat().st_size < 5_000_000, "it is refused for what it holds"
    listed(folder, "reference.json")
    assert why in refused("check", folder)


# Names of outputs


def called(name: str) -> bytes:
    """A model whose one output has this name."""
    model = model_of_sound()
    before = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = [name if output == before else output for output in node.output]
    model.graph.output[0].name = name
    del model.metadata_props[:]
    return bytes(model.SerializeToString())


@pytest.fixture
def fed(tmp_path: Path) -> Path:
    (port,) = model_of_sound().graph.input
    axes = [axis.dim_value or 16000 for axis in port.type.tensor_type.shape.dim]
    np.savez(tmp_path / "in.npz", **{port.name: np.zeros([1, *axes[1:]], np.float32)})
    return tmp_path / "in.npz"


@pytest.mark.parametrize("name", ["../../evil", "n" * 70_000], ids=["a path", "long"])
def test_an_output_that_no_archive_should_hold(name: str, fed: Path, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(called(name))
    assert "its name" in refused("run", tmp_path / "model.onnx", fed, "-o", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_an_output_with_a_usual_name_is_found_again(fed: Path, commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(called("model/Identity:0"))
    ended = commands.run("run", tmp_path / "model.onnx", fed, "-o", tmp_path / "out.npz")
    assert ended.exit_code == 0, ended
    with np.load(tmp_path / "out.npz", allow_pickle=False) as found:
        assert found.files == ["model/Identity:0"]
