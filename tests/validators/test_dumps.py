"""Dumps of all kinds are read back as they were written, and whatever is off in one is told with its place."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes.base.errors import UserError
from validators import dumps
from validators.compare import Sampled
from validators.dumps import Flat

ARRAY = np.random.RandomState(1).randn(1, 2, 3, 4).astype(np.float32)
LOGITS = np.random.RandomState(2).randn(1, 5).astype(np.float32)


def _whole(tensor: Sampled | Flat) -> np.ndarray:
    assert isinstance(tensor, Sampled)
    assert tensor.stride == 1
    return tensor.values.reshape(tensor.shape)


def _printed(array: np.ndarray, separator: str = "  ") -> str:
    """Sixteen numbers a line with six decimals, as the SDK's scripts print them."""
    words = [f"{value:.6f}{separator}" for value in array.flat]
    return "".join(f"{''.join(words[start : start + 16])}\n" for start in range(0, len(words), 16))


def result(tensors: dict[str, np.ndarray], aligned: int = 0) -> str:
    """What the simulator writes to log/output; fixed and offline models have the last axis aligned."""
    text = ""
    for name, array in tensors.items():
        shape = " ".join(map(str, array.shape))
        text += f"{name} Tensor:\n{{\ntensor dim:{array.ndim},  Original shape:[{shape}]"
        if aligned:
            rest = -array.shape[-1] % aligned
            array = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, rest)], constant_values=9e9)
            text += f",  Alignment shape:[{' '.join(map(str, array.shape))}]"
            text += "\nThe following tensor data shape is alignment shape."
        text += f"\ntensor data:\n{_printed(array)}}}\n\n"
    return text


def layers(tensors: dict[str, np.ndarray], binary: bool, *, floats: int = 1, side: str = "out") -> bytes:
    """What dumpTensor makes the simulators write, and the SDK's runners of other frameworks as text."""
    content = f"isFloat: {floats}\n".encode()
    for index, (name, array) in enumerate(tensors.items()):
        content += (
            f"//{side} 0 s: 0.000239 z: 0 type: SGS_S16 name: {name} bConstant:0 "
            f"shape:[{', '.join(map(str, array.shape))}] dims:{array.ndim}\nop_{side}[{index}] CONV = {{\n"
            f"//buffer data size: {4 * array.size}\n"
        ).encode()
        content += array.astype("<f4").tobytes() + b"\n};\n" if binary else f"\n{_printed(array, ', ')}\n}}\n".encode()
    return content


def test_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "logits.npy", LOGITS)
    dump = dumps.read(tmp_path / "logits.npy")
    assert (dump.layers, dump.simulator, dump.ports) == (False, False, ())
    np.testing.assert_array_equal(_whole(dump.cases[""]["logits"]), LOGITS)
    np.savez(tmp_path / "all.npz", logits=LOGITS, features=np.asfortranarray(ARRAY.astype(np.float64)))
    np.savez_compressed(tmp_path / "small.npz", logits=LOGITS, features=ARRAY)
    for name in ("all.npz", "small.npz"):
        tensors = dumps.read(tmp_path / name).cases[""]
        assert list(tensors) == ["logits", "features"]
        np.testing.assert_array_equal(_whole(tensors["features"]), ARRAY)


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "f8", "i1", "u2", ">i8"])
def test_real_numbers_are_read_as_they_are(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "a.npy", np.array([[1, 2, 3]], dtype))
    tensor = _whole(dumps.read(tmp_path / "a.npy").cases[""]["a"])
    assert tensor.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(tensor, [[1, 2, 3]])


def test_no_digit_is_lost(tmp_path: Path) -> None:
    for values in (np.array([2**24 + 1, 2**62 + 1, -(2**63)]), np.array([0.1, 1e300])):
        np.save(tmp_path / "a.npy", values)
        np.testing.assert_array_equal(_whole(dumps.read(tmp_path / "a.npy").cases[""]["a"]), values)
        (tmp_path / "a.txt").write_text(" ".join(map(str, values.tolist())))
        tensor = dumps.read(tmp_path / "a.txt").cases[""]["a"]
        assert tensor.values.tolist() == values.tolist()


def test_bare_numbers_have_no_shape(tmp_path: Path) -> None:
    (tmp_path / "logits.txt").write_text("1, 2.5\n-3e-2\tnan  inf,\n\n")
    tensor = dumps.read(tmp_path / "logits.txt").cases[""]["logits"]
    assert isinstance(tensor, Flat)
    np.testing.assert_array_equal(tensor.values, [1, 2.5, -0.03, np.nan, np.inf])
    for suffix in (".bin", ".raw"):
        LOGITS.tofile(tmp_path / f"logits{suffix}")
        tensor = dumps.read(tmp_path / f"logits{suffix}").cases[""]["logits"]
        assert isinstance(tensor, Flat)
        np.testing.assert_array_equal(tensor.values, LOGITS.reshape(-1))


def _json(**more: Any) -> dict[str, Any]:
    output = {"shape": [1, 5], "stride": 2, "values": [1.0, 2.0, 3.0]}
    return {"schema": "soundport.reference/1", "cases": [{"name": "rich", "outputs": {"logits": output}}], **more}


def test_json_needs_no_more_than_the_answers(tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    path.write_text(json.dumps(_json(outputs=[{"name": "logits", "axes": ["batch", 5], "kind": "logit"}])))
    dump = dumps.read(path)
    tensor = dump.cases["rich"]["logits"]
    assert isinstance(tensor, Sampled)
    assert (tensor.shape, tensor.stride, tensor.values.tolist()) == ((1, 5), 2, [1, 2, 3])
    assert [(port.name, port.kind) for port in dump.ports] == [("logits", "logit")]


@pytest.mark.parametrize("aligned", [0, 8, 3])
def test_a_simulators_result(tmp_path: Path, aligned: int) -> None:
    path = tmp_path / "unknown_model_fixed.sim_sgsimg.img_odd_length.bin.txt"
    path.write_text(result({"logits": LOGITS, "a/b:0": ARRAY}, aligned))
    dump = dumps.read(path)
    assert dump.simulator
    assert not dump.layers
    assert list(dump.cases) == ["odd_length"], "the case has the name of the input's file"
    np.testing.assert_allclose(_whole(dump.cases["odd_length"]["logits"]), LOGITS, atol=1e-6)
    np.testing.assert_allclose(_whole(dump.cases["odd_length"]["a/b:0"]), ARRAY, atol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", ["sigma_outtensor_dump.bin", "onnx_NHWC_outtensor_dump.txt", "logits#(1, 5)"])
def test_the_tensors_of_every_layer(tmp_path: Path, binary: bool, name: str) -> None:
    taken = layers({"constant": ARRAY}, binary, side="in").partition(b"\n")[2]
    # Numbers whose bytes are brackets and line ends must not end a tensor.
    brackets = np.frombuffer(b"};\n}" * 3, "<f4")
    given = layers({"conv1": ARRAY, "brackets": brackets, "logits": LOGITS}, binary)
    (tmp_path / name).write_bytes(given + taken)
    dump = dumps.read(tmp_path / name)
    assert dump.layers
    assert dump.simulator
    assert list(dump.cases[""]) == ["conv1", "brackets", "logits"]
    np.testing.assert_allclose(_whole(dump.cases[""]["conv1"]), ARRAY, atol=1e-6)
    np.testing.assert_allclose(_whole(dump.cases[""]["logits"]), LOGITS, atol=1e-6)
    if binary:
        np.testing.assert_array_equal(_whole(dump.cases[""]["brackets"]), brackets)


def test_what_sigmastars_tools_print_is_the_nearest_float32(tmp_path: Path) -> None:
    array = np.array([[0.1, -0.7, 3]], np.float32)
    for content in (result({"logits": array}).encode(), layers({"logits": array}, binary=False)):
        (tmp_path / "dump.txt").write_bytes(content)
        (tensors,) = dumps.read(tmp_path / "dump.txt").cases.values()
        np.testing.assert_array_equal(_whole(tensors["logits"]), array)


def test_a_folder_is_a_case_with_a_file_per_output(tmp_path: Path) -> None:
    np.save(tmp_path / "logits.npy", LOGITS)
    ARRAY.tofile(tmp_path / "features.raw")
    (tmp_path / ".hidden").write_text("of the system")
    assert {case: list(tensors) for case, tensors in dumps.read(tmp_path).cases.items()} == {"": ["features", "logits"]}


def test_a_folder_of_folders_is_a_case_each(tmp_path: Path) -> None:
    for case in ("rich", "silence"):
        (tmp_path / case).mkdir()
        np.save(tmp_path / case / "logits.npy", LOGITS)
    assert {case: list(tensors) for case, tensors in dumps.read(tmp_path).cases.items()} == {
        "rich": ["logits"],
        "silence": ["logits"],
    }


def test_a_simulators_folder_is_a_case_per_input(tmp_path: Path) -> None:
    for case in ("rich", "odd_length"):
        (tmp_path / f"unknown_m_float.sim_{case}.bin.txt").write_text(result({"logits": LOGITS}))
    assert sorted(dumps.read(tmp_path).cases) == ["odd_length", "rich"]


def _archive_of(member: str, content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr(member, content)

    return write


class _Trap:
    """Unpickled, it would leave a file behind."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("trapped"),)


def _saved(array: np.ndarray) -> bytes:
    from io import BytesIO

    stream = BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


TRAP = np.array([_Trap()], object)
HUGE = _header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 1000000)}")


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.txt", b"1 2\n3 four 5\n", ["a.txt: line 2: 'four' is not a number"]),
        ("a.txt", b"2\n1_0 2", ["a.txt: line 2: '1_0' is not a number"]),
        ("a.txt", "\u0661 2".encode(), ["line 1", "is not a number"]),
        ("a.txt", b"0x10", ["line 1: '0x10' is not a number"]),
        ("a.txt", b"\xff\xfe\x00", ["line 1", "is not a number"]),
        ("a.txt", b"[1 2 ... 3]", ["line 1: '[1' is not a number"]),
        ("a.txt", b" \n", ["there is not one number"]),
        ("a.bin", b"\x00" * 7, ["has 7 bytes", "cut off"]),
        ("a.raw", b"", ["has 0 bytes"]),
        ("a.npy", b"", ["is no NumPy array"]),
        ("a.npy", pickle.dumps(_Trap()), ["is no NumPy array"]),
        ("a.npy", _saved(TRAP), ["Python objects, which are not unpickled"]),
        ("a.npy", _saved(np.array([1j])), ["holds complex128, not real numbers"]),
        ("a.npy", _saved(np.array(["x"])), ["not real numbers"]),
        ("a.npy", _saved(np.array([True])), ["holds bool, not real numbers"]),
        ("a.npy", _saved(np.zeros(2, [("x", "f4")])), ["not real numbers"]),
        ("a.npy", _saved(LOGITS)[:-1], ["shape [1, 5] needs 20", "cut off"]),
        ("a.npy", HUGE, ["has 0 bytes of numbers"]),
        (
            "a.npy",
            _header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1)}") + b"\0" * 4,
            ["has a shape that no array has"],
        ),
        ("a.npy", _header("__import__('os').abort()"), ["is no NumPy array"]),
        ("a.npy", b"\x93NUMPY\x03\x00" + b"\0" * 8, ["a header that plain arrays do not have"]),
        ("a.npz", b"no zip", ["is no .npz of plain arrays"]),
        ("a.npz", _archive_of("a.npy", _saved(TRAP)), ["a.npz: a: holds Python objects"]),
        ("a.npz", _archive_of("a.npy", HUGE), ["a.npz: a: has 0 bytes of numbers"]),
        ("a.npz", _archive_of("../a.txt", b"1"), ["is no NumPy array"]),
        ("a.json", b"{", ["a.json: top level"]),
        ("a.json", b"[1, 2]", ["a.json: top level", "reference.json"]),
        ("a.json", json.dumps(_json(schema="soundport.reference/2")).encode(), ["schema"]),
        ("a.json", json.dumps(_json(cases=[])).encode(), ["cases"]),
        ("a.json", json.dumps(_json(cases=2 * _json()["cases"])).encode(), ["two cases are called 'rich'"]),
        ("a.json", json.dumps(_json()).replace("3.0", "NaN").encode(), ["logits.values.2", "finite"]),
        ("a.json", json.dumps(_json()).replace(", 3.0", "").encode(), ["case rich: logits: has 2 values", "needs 3"]),
        (
            "a.json",
            json.dumps(_json())
            .replace("[1, 5]", "[99999, 99999]")
            .replace('"stride": 2', '"stride": 4999900001')
            .encode(),
            ["case rich: logits: has the shape [99999, 99999]"],
        ),
        ("a.dat", b"1 2 3", ["is none of the files that are read", ".npz"]),
        ("a.pkl", pickle.dumps(_Trap()), ["is none of the files that are read"]),
        ("a.txt", result({"x": LOGITS}).replace(".", "_").encode(), ["is not a number", "line "]),
        ("a.txt", result({"x": LOGITS}).replace("-", "-x-").encode(), ["is not a number", "line "]),
        ("a.txt", result({"x": LOGITS, "y": ARRAY}).encode()[:-20], ["line 8: no whole tensor begins here"]),
        ("a.txt", result({"x": LOGITS}).replace("[1 5]", "[1 6]").encode(), ["x: has 5 numbers", "needs 6"]),
        ("a.txt", result({"x": LOGITS}, 8).replace("[1 5]", "[1 9]").encode(), ["no part of the aligned one [1, 8]"]),
        ("a.txt", 2 * result({"x": LOGITS}).encode(), ["holds the tensor 'x' twice"]),
        ("a.bin", layers({"x": LOGITS}, True, floats=0), ["integers as the chip has them", "dequantFixed"]),
        ("a.bin", layers({"x": LOGITS}, True)[:-9], ["ends amid the tensor 'x'"]),
        ("a.bin", layers({"x": LOGITS}, True) + b"//out", ["byte ", "no whole tensor begins here"]),
        ("a.bin", layers({"x": LOGITS}, True).replace(b"[1, 5]", b"[1, 4]"), ["x: has 5 numbers", "eliminateGarbage"]),
        ("a.bin", 2 * layers({"x": LOGITS}, True).partition(b"\n")[2], ["holds the tensor 'x' twice"]),
        ("a.txt", layers({"x": LOGITS}, False).replace(b"0.", b"zero", 9), ["is not a number"]),
        (
            "a.bin",
            b"isFloat: 1\n//out 0 s: 1 z: 0 type: f name: x bConstant:0 shape:[" + b"9" * 5000,
            ["no whole tensor"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: Any, parts: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    content(path) if callable(content) else path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        dumps.read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert all(part in message for part in parts), message
    assert [entry.name for entry in tmp_path.iterdir()] == [name], "nothing was run"


def test_an_archive_that_would_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(300_000, np.float32))
    assert (tmp_path / "bomb.npz").stat().st_size < 10_000
    assert dumps.read(tmp_path / "bomb.npz").cases
    monkeypatch.setattr("validators.dumps.numpy_file.MOST_BYTES_UNPACKED", 1_000_000)
    with pytest.raises(UserError, match="unpacks to 1200128 bytes; at most 1000000 are read"):
        dumps.read(tmp_path / "bomb.npz")


def test_an_archive_whose_directory_lies_about_its_size(tmp_path: Path) -> None:
    path = tmp_path / "liar.npz"
    np.savez_compressed(path, a=np.zeros(300_000, np.float32))
    content = path.read_bytes()
    path.write_bytes(content.replace((1_200_128).to_bytes(4, "little"), (128).to_bytes(4, "little")))
    assert path.read_bytes() != content
    with pytest.raises(UserError, match=r"liar\.npz"):
        dumps.read(path)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validators.dumps.files.MOST_BYTES", 10)
    LOGITS.tofile(tmp_path / "a.bin")
    with pytest.raises(UserError, match="has 20 bytes; at most 10 are read"):
        dumps.read(tmp_path / "a.bin")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        dumps.read(tmp_path / "nowhere.npy")
    with pytest.raises(UserError, match="is a device, which is not read"):
        dumps.read(Path("/dev/null"))


def _two_of_a_name(folder: Path) -> None:
    np.save(folder / "logits.npy", LOGITS)
    LOGITS.tofile(folder / "logits.bin")


def _files_and_folders(folder: Path) -> None:
    np.save(folder / "logits.npy", LOGITS)
    (folder / "rich").mkdir()


def _a_stranger(folder: Path) -> None:
    np.save(folder / "logits.npy", LOGITS)
    (folder / "embedding.dat").write_bytes(b"")


def _an_empty_case(folder: Path) -> None:
    (folder / "rich").mkdir()


def _folders_in_folders(folder: Path) -> None:
    (folder / "rich" / "deeper").mkdir(parents=True)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda folder: None, "is empty"),
        (_two_of_a_name, "logits.bin and logits.npy both hold 'logits'"),
        (_files_and_folders, "holds both files and folders"),
        (_a_stranger, "embedding.dat: is none of the files that are read"),
        (_an_empty_case, "rich: is empty"),
        (_folders_in_folders, "deeper: is a folder in the folder of a case"),
    ],
)
def test_folders_that_say_nothing_sure(tmp_path: Path, make: Callable[[Path], None], part: str) -> None:
    make(tmp_path)
    with pytest.raises(UserError) as caught:
        dumps.read(tmp_path)
    assert part in str(caught.value)


def test_a_folder_of_archives_is_a_case_each(tmp_path: Path) -> None:
    for case in ("rich", "silence"):
        np.savez(tmp_path / f"{case}.npz", a=np.ones(2, np.float32), b=np.zeros(3, np.float32))
    assert {case: set(tensors) for case, tensors in dumps.read(tmp_path).cases.items()} == {
        "rich": {"a", "b"},
        "silence": {"a", "b"},
    }
    np.save(tmp_path / "more.npy", np.ones(2, np.float32))
    with pytest.raises(UserError, match="both hold 'a'"):
        dumps.read(tmp_path)
