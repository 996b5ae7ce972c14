"""Checkpoints that would run something, take all memory or all time, or give numbers that are not the file's."""

import gc
import io
import os
import pickle
import random
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recipes.base import checkpoint, pickled
from recipes.base.errors import UserError
from recipes.base.shown import shown
from tests.hostile.cases import some
from tests.hostile.pickles import (
    EMPTY,
    FLOATS,
    MAGIC,
    PROTOCOL,
    REBUILD,
    called,
    legacy,
    mapping,
    named,
    state,
    storage,
    tensor,
    value,
    zipped,
)

pytestmark = pytest.mark.usefixtures("bounded")

Make = Callable[[Path], object]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.state_dict(checkpoint.read(path, checkpoint.NUMPY), path)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        weights(path)
    said = str(caught.value)
    assert str(path) in said
    assert shown(said).isprintable()
    return said


FORMS: dict[str, Callable[[Path, bytes], Path]] = {"zip": zipped, "legacy": legacy}


@pytest.fixture(params=FORMS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], Path]:
    """`saved(pickle)`: a file of either format with that pickle and one storage of four floats, `0`."""
    return lambda content: FORMS[request.param](tmp_path / "it.pt", content)


def test_what_is_made_byte_by_byte_is_what_pytorch_reads(saved: Callable[[bytes], Path]) -> None:
    """Else all that follows were refused for the wrong reason."""
    content = state(w=tensor((2,), (2,), 1))
    path = saved(content)
    if path.read_bytes().startswith(MAGIC):
        # PyTorch asks for a part or nothing there.
        path = saved(content.replace(value(4) + b"tQ", value(4) + b"NtQ"))
    for found in (weights(path), torch.load(path, weights_only=True)):
        assert found["w"].tolist() == [2, 4]


def _nested(depth: int, of: bytes = b"N") -> bytes:
    return of + b"\x85" * depth


def _doubled(times: int) -> bytes:
    """A tuple of a tuple twice of a tuple twice, and so on: as many leaves as 2 ** times."""
    return b")" + b"".join(b"r" + struct.pack("<I", n) + b"j" + struct.pack("<I", n) + b"\x86" for n in range(times))


_OPTIMISER = mapping({"model": mapping({"w": tensor()})})

PICKLES: dict[str, bytes] = {
    "a stride of 0": state(w=tensor((4,), (0,))),
    "a stride of 0 over a whole bias": state(w=tensor((2, 2), (2, 0))),
    "a billion elements of four": state(w=tensor((10**9,), (0,))),
    "more elements than 64 bits": state(w=tensor((2**40, 2**40), (0, 0))),
    "overlapping rows": state(w=tensor((2, 3), (1, 1))),
    "a place beyond the storage": state(w=tensor((4,), (1,), 1)),
    "a place far beyond the storage": state(w=tensor((1,), (1,), 2**60)),
    "a great stride": state(w=tensor((2,), (2**62,))),
    "a negative stride": state(w=tensor((4,), (-1,))),
    "a negative offset": state(w=tensor((4,), (1,), -1)),
    "an empty one of sizes beyond 64 bits": state(w=tensor((2**40, 2**40, 0), (0, 0, 0))),
    "a negative size": state(w=tensor((-4,), (1,))),
    "fewer strides than axes": state(w=tensor((2, 2), (2,))),
    "nine axes": state(w=tensor((1,) * 9, (1,) * 9)),
    "100,000 axes": state(w=tensor((1,) * 100_000, (1,) * 100_000)),
    "a shape of text": state(w=tensor("four", (1,))),
    "a shape of fractions": state(w=tensor((4.0,), (1,))),
    "a shape of booleans": state(w=tensor((True,), (1,))),
    "an offset of text": state(w=tensor((4,), (1,), "0")),
    "a size of 2,000 bits": state(w=tensor((2**2000,), (0,))),
    "a storage of a billion": state(w=tensor(within=storage(count=10**9))),
    "a storage of 2 ** 62": state(w=tensor(within=storage(count=2**62))),
    "a storage of 2 ** 70": state(w=tensor(within=storage(count=2**70))),
    "a storage of -1": state(w=tensor(within=storage(count=-1))),
    "a storage of three": state(w=tensor((3,), within=storage(count=3))),
    "a storage of two lengths": state(w=tensor(), v=tensor((2,), within=storage(count=2))),
    "a storage of two types": state(w=tensor(), v=tensor(within=storage(kind="IntStorage"))),
    "a storage of nobody's": state(w=tensor(within=storage(key="nowhere"))),
    "a storage above": state(w=tensor(within=storage(key="../../etc/passwd"))),
    "a storage of no name": state(w=tensor(within=storage(kind="Storage"))),
    "a storage of an unknown type": state(w=tensor(within=storage(kind="Float4Storage"))),
    "a storage in place of a tensor": state(w=storage()),
    "a tensor over a tensor": state(w=tensor(within=tensor())),
    "a tensor over nothing": state(w=tensor(within=b"N")),
    "complex numbers": state(w=tensor((2,), within=storage(count=2, kind="ComplexFloatStorage"))),
    "quantised numbers": state(w=tensor((16,), within=storage(count=16, kind="QUInt8Storage"))),
    "float4": state(
        w=called(named("torch._utils", "_rebuild_tensor_v3"), storage(), named("torch", "float4_e2m1fn_x2"))
    ),
    "float8": state(w=called(named("torch._utils", "_rebuild_tensor_v3"), storage(), named("torch", "float8_e5m2"))),
    "a sparse tensor": state(w=called(named("torch._utils", "_rebuild_sparse_tensor"), b"N", b"N")),
    "a nested tensor": state(w=called(named("torch._utils", "_rebuild_nested_tensor"), tensor(), b"N")),
    "a tensor on no device": state(w=called(named("torch._utils", "_rebuild_meta_tensor_no_storage"), b"N")),
    "a subclass of tensors": state(w=called(named("torch._utils", "_rebuild_wrapper_subclass"), b"N")),
    "a list of 4 GB": state(w=called(named("__builtin__", "bytearray"), value(2**32))),
    "a text of 4 GB": state(w=b"X\xff\xff\xff\xff"),
    "a text beyond the end": state(w=b"X\xff\xff\x00\x00abc"),
    "a name of 100 kB": state(w=b"c" + b"a" * 100_000 + b"\nb\n"),
    "a name without an end": PROTOCOL + b"c" + b"a" * 100_000,
    "a name in control characters": state(w=named("\x1b[31m", "red\u202e")),
    "a name of another script": PROTOCOL + "cпикл\nимя\n.".encode(),
    "a key nested 5,000 deep": PROTOCOL + b"}" + _nested(5000) + b"Ns.",
    "a key nested a million deep": PROTOCOL + b"}" + _nested(1_000_000) + b"Ns.",
    "a value nested a million deep": PROTOCOL + b"}" + value("w") + _nested(1_000_000) + b"s.",
    "a million lists in lists": PROTOCOL + b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "a million marks": PROTOCOL + b"(" * 1_000_000 + b".",
    "a key whose hash never ends": PROTOCOL + b"}" + _doubled(200) + b"Ns.",
    "a set whose hash never ends": state(w=called(named("__builtin__", "set"), b"](" + _doubled(200) + b"e")),
    "keys of one hash": PROTOCOL + b"}(" + b"".join(value(n * (2**61 - 1)) + b"N" for n in range(1, 100_000)) + b"u.",
    "a list in itself": PROTOCOL + b"]q\x00h\x00a.",
    "a mapping in itself": PROTOCOL + b"}q\x00" + value("model") + b"h\x00s.",
    "a memo that nobody wrote": PROTOCOL + b"h\x07.",
    "a list of pairs again and again": PROTOCOL
    + named("collections", "OrderedDict")
    + b"q\x000("
    + b"".join(b"](" + value(n) + b"Ne" for n in range(3000))
    + b"t.",
    "three million opcodes": PROTOCOL + b"N" * 3_000_000 + b".",
    "two million mappings": PROTOCOL + b"(" + b"}" * 1_900_000 + b"t.",
    "nothing on the stack": PROTOCOL + b".",
    "no end": PROTOCOL + b"}",
    "another opcode": PROTOCOL + b"(i__main__\nx\n.",
    "a call of a text": state(w=value("print") + b")R"),
    "a call of a storage": state(w=storage() + b")R"),
    "an extension": PROTOCOL + b"\x82\x01.",
    "a number of many digits": PROTOCOL + b"L" + b"9" * 100_000 + b"L\n.",
    "a number of 4 GB": PROTOCOL + b"\x8b\xff\xff\xff\x7f.",
    "another protocol": b"\x80\x09}.",
    "only a number": PROTOCOL + b"K\x01.",
    "only nothing": PROTOCOL + b"N.",
    "a mapping of numbers": PROTOCOL + b"}(K\x01K\x02u.",
    "a mapping of halves": PROTOCOL + b"}(K\x01u.",
    "a key of nothing": PROTOCOL + b"}(N" + tensor() + b"u.",
    "a key of a tensor": PROTOCOL + b"}(" + tensor() + tensor() + b"u.",
    "twice the numbers of the file": state(**{f"w{n}": tensor() for n in range(2)}),
    "100 times the numbers of the file": state(**{f"w{n}": tensor() for n in range(100)}),
    "a state dict of attributes": PROTOCOL + EMPTY + mapping({"w": tensor()}) + b"b.",
    "a tensor with a tensor's maker for a maker": state(
        w=called(named("torch._tensor", "_rebuild_from_type_v2"), named("os", "system"), named("torch", "Tensor"))
    ),
    "a maker in a maker": state(
        w=called(
            named("torch._tensor", "_rebuild_from_type_v2"),
            named("torch._tensor", "_rebuild_from_type_v2"),
            named("torch", "Tensor"),
            value(()),
        )
    ),
    "attributes of a name": PROTOCOL + named("torch", "Tensor") + b"}b.",
    "a storage of 11 parts": state(w=tensor(within=b"(" + value("storage") * 11 + b"tQ")),
    "a module": state(w=b"(" + value("module") + b"NNNtQ"),
    "bytes": state(w=b"C\x03abc"),
}


@pytest.fixture
def as_the_command() -> Iterator[None]:
    """Python looks for garbage as seldom as there: among a million small objects that takes most of the time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("as_the_command")
@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_that_is_refused(name: str, saved: Callable[[bytes], Path]) -> None:
    refusal(saved(PICKLES[name]))


_STATE = state(w=tensor())


def _entry(path: Path, change: Callable[[zipfile.ZipInfo], None]) -> None:
    """What an entry's heads say is changed, in both places, and the content stays."""
    zipped(path, _STATE)
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    content = bytearray(path.read_bytes())
    for info in infos:
        if info.filename == "archive/data/0":
            change(info)
            local = info.header_offset
            content[local + 6 : local + 10] = struct.pack("<HH", info.flag_bits, info.compress_type)
            central = content.index(b"PK\x01\x02", content.rindex(b"archive/byteorder"))
            content[central + 8 : central + 12] = struct.pack("<HH", info.flag_bits, info.compress_type)
    path.write_bytes(bytes(content))


def _set(**attributes: int) -> Callable[[Path], None]:
    return lambda path: _entry(path, lambda info: [setattr(info, *pair) for pair in attributes.items()])


def _claiming(path: Path) -> None:
    """A storage of 4 GB, as the list of entries says, in a file of some hundred bytes."""
    zipped(path, state(w=tensor((10**9,), within=storage(count=10**9))))
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02", content.rindex(b"archive/byteorder"))
    content[central + 24 : central + 28] = struct.pack("<I", 4 * 10**9)
    path.write_bytes(content)


def _misnamed(path: Path) -> None:
    """Said to be UTF-8 in the list of entries, where it stands right, and not before the content."""
    _set(flag_bits=0x800)(path)
    path.write_bytes(path.read_bytes().replace(b"archive/data/0", b"archive/data/\xff", 1))


def _flipped(path: Path) -> None:
    content = bytearray(zipped(path, _STATE).read_bytes())
    content[content.index(FLOATS) + 5] ^= 1
    path.write_bytes(content)


def _twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("archive/data.pkl", _STATE)
        archive.writestr("archive/data/0", FLOATS)


def _entries(**entries: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name.replace("__", "/"), content)

    return write


def _many(path: Path) -> None:
    """A list of 16 MB and more, which `zipfile` would read before anything can be asked of it."""
    zipped(path, _STATE)
    content = bytearray(path.read_bytes())
    content[-10:-6] = struct.pack("<I", 2**31)
    path.write_bytes(content)


def _sparse(path: Path, head: bytes = b"", size: int = 20_000_000_000) -> None:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)


CONTAINERS: dict[str, Make] = {
    "deflated": lambda path: zipped(path, _STATE, method=zipfile.ZIP_DEFLATED),
    "a pickle that unpacks to a thousand times itself": lambda path: zipped(
        path, PROTOCOL + b"}" * 10**7 + b".", method=zipfile.ZIP_DEFLATED
    ),
    "a bomb of zeros": lambda path: zipped(
        path, state(w=tensor((10**7,), within=storage(count=10**7))), {"0": bytes(4 * 10**7)}, zipfile.ZIP_DEFLATED
    ),
    "bzip2": lambda path: zipped(path, _STATE, method=zipfile.ZIP_BZIP2),
    "lzma": lambda path: zipped(path, _STATE, method=zipfile.ZIP_LZMA),
    "encrypted": _set(flag_bits=1),
    "a patch": _set(flag_bits=0x20),
    "strongly encrypted": _set(flag_bits=0x40),
    "a name that is no UTF-8": _misnamed,
    "16 bytes that claim to be 4 GB": _claiming,
    "a method of nobody's": _set(compress_type=97),
    "stored, and said to be deflated": _set(compress_type=8),
    "stored, and said to be of LZMA": _set(compress_type=14),
    "a flipped bit": _flipped,
    "an entry twice": _twice,
    "no pickle": _entries(archive__data__0=FLOATS),
    "two pickles": lambda path: _entries(**{"a__data.pkl": _STATE, "b__data.pkl": _STATE})(path),
    "big-endian": lambda path: _entries(**{"a__data.pkl": _STATE, "a__data__0": FLOATS, "a__byteorder": b"big"})(path),
    "too short a storage": lambda path: zipped(path, _STATE, {"0": FLOATS[:-1]}),
    "too long a storage": lambda path: zipped(path, _STATE, {"0": FLOATS + b"\0"}),
    "no storage": lambda path: zipped(path, _STATE, {}),
    "a list of 2 GB": _many,
    "a comment at the end": lambda path: path.write_bytes(zipped(path, _STATE).read_bytes() + b"more"),
    "sparse, 20 GB, a zip": lambda path: _sparse(path, b"PK\x03\x04"),
    "sparse, 20 GB, an old one": lambda path: _sparse(path, MAGIC),
    "sparse, 1 GB of zeros": lambda path: _sparse(path, size=10**9),
    "sparse, 1 GB, a zip": lambda path: _sparse(path, b"PK\x03\x04", 10**9),
    "sparse, 1 GB, a text": lambda path: _sparse(path, PROTOCOL + b"X\xf0\xff\xff\x3b", 10**9),
    "a pipe": os.mkfifo,
    "a link to zeros": lambda path: path.symlink_to("/dev/zero"),
    "a link to a pipe": lambda path: (os.mkfifo(f"{path}.pipe"), path.symlink_to(f"{path}.pipe")),
    "a link to itself": lambda path: path.symlink_to(path),
    "a folder": Path.mkdir,
    "a tar": lambda path: (
        shutil.make_archive(str(path.with_suffix("")), "tar", Path(__file__).parent, "pickles.py")
        and path.with_suffix(".tar").rename(path)
    ),
    "keys left out": lambda path: legacy(path, _STATE, (), ()),
    "a key too many": lambda path: legacy(path, _STATE, ("0", "1"), (4, 4), FLOATS * 2),
    "a key twice": lambda path: legacy(path, _STATE, ("0", "0"), (4, 4), FLOATS * 2),
    "another key": lambda path: legacy(path, _STATE, ("1",)),
    "another count": lambda path: legacy(path, _STATE, counts=(3,)),
    "a count of -1": lambda path: legacy(path, _STATE, counts=(-1,)),
    "numbers cut off": lambda path: legacy(path, _STATE, content=FLOATS[:-1]),
    "numbers that follow": lambda path: legacy(path, _STATE, content=FLOATS + b"\0"),
    "an old one, big-endian": lambda path: legacy(path, _STATE, little=False),
    "tensors among the keys": lambda path: path.write_bytes(MAGIC + _STATE),
    "pickle's own protocol 0": lambda path: path.write_bytes(pickle.dumps({"w": 1}, 0)),
    "pickle's own protocol 5": lambda path: path.write_bytes(pickle.dumps({"w": bytearray(9)}, 5)),
    "a NumPy file": lambda path: np.save(path.open("wb"), np.ones(3)),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_that_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "it.pt"
    CONTAINERS[name](path)
    refusal(path)


def test_a_device(tmp_path: Path) -> None:
    assert "is a device" in refusal(Path("/dev/zero"))
    assert "is a device" in refusal(Path("/dev/null"))


LOADED: dict[str, bytes] = {
    "a mapping whose methods a file would set": PROTOCOL
    + EMPTY
    + b"("
    + value("w")
    + tensor()
    + b"u"
    + mapping({name: value(1) for name in ("items", "get", "keys", "values", "__class__", "__iter__")})
    + b"b.",
    "a tensor whose methods a file would set": state(
        w=tensor() + mapping({name: value(1) for name in ("detach", "to", "shape", "dtype", "__class__")}) + b"b"
    ),
    "a parameter": state(w=called(named("torch._utils", "_rebuild_parameter"), tensor(), b"\x88", EMPTY)),
    "a parameter with a state": state(
        w=called(
            named("torch._utils", "_rebuild_parameter_with_state"), tensor(), b"\x88", EMPTY, mapping({"to": b"N"})
        )
    ),
    "a tensor with attributes": state(
        w=called(
            named("torch._tensor", "_rebuild_from_type_v2"),
            REBUILD,
            named("torch", "Tensor"),
            b"(" + storage() + value(0) + value((4,)) + value((1,)) + b"\x89" + EMPTY + b"t",
            mapping({"detach": value(1)}),
        )
    ),
    "pairs, as Python 2 wrote them": PROTOCOL
    + called(named("collections", "OrderedDict"), b"](](" + value("w") + tensor() + b"ee")
    + b".",
    "keys of tuples beside the weights": PROTOCOL
    + b"}("
    + value("model")
    + mapping({"w": tensor()})
    + _doubled(200)
    + b"Nu.",
    "what nobody needs beside the weights": PROTOCOL
    + mapping(
        {
            "model": mapping({"w": tensor()}),
            "size": called(named("torch", "Size"), b"](K\x01e"),
            "device": called(named("torch", "device"), value("cuda")),
            "set": called(named("__builtin__", "set"), b"](K\x01e"),
            "dtype": named("torch", "float32"),
            "bytes": called(named("_codecs", "encode"), value("abc"), value("latin1")),
            "memory": called(named("__builtin__", "bytearray"), value(2**40)),
        }
    )
    + b".",
}


@pytest.mark.parametrize("name", LOADED)
def test_what_does_no_harm_gives_the_numbers_of_the_file(name: str, saved: Callable[[bytes], Path]) -> None:
    found = weights(saved(LOADED[name]))
    assert list(found) == ["w"]
    assert found["w"].tolist() == [1, 2, 3, 4]
    assert type(found["w"]) is torch.Tensor


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "function",
    [os.system, os.mkdir, eval, exec, open, __import__, getattr, torch.load, torch.hub.load, pickle.loads, np.save],
    ids=lambda function: function.__name__,
)
def test_nothing_is_run_in_any_protocol(function: Callable[..., object], protocol: int, tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    tree = {"model": {"w": torch.ones(2)}, "epoch": Calls(function, str(canary))}
    torch.save(tree, tmp_path / "it.pt", pickle_protocol=protocol)
    refusal(tmp_path / "it.pt")
    (tmp_path / "it.pt").write_bytes(pickle.dumps({"epoch": Calls(function, str(canary))}, protocol))
    refusal(tmp_path / "it.pt")
    assert not canary.exists()


@pytest.mark.parametrize("zero", [False, True])
def test_damage_in_a_real_file_is_never_taken_for_weights(
    real_weights: Callable[[str], Path], tmp_path: Path, zero: bool
) -> None:
    """Wherever 64 kB of a published file are lost: other bytes, and the checksums that the archive itself holds."""
    whole = real_weights("mn04_as").read_bytes()
    path = tmp_path / "mine.pt"
    for place in range(0, len(whole) - 65_536, len(whole) // 12):
        damaged = bytearray(whole)
        damaged[place : place + 65_536] = bytes(65_536) if zero else os.urandom(65_536)
        path.write_bytes(damaged)
        refusal(path)


def test_a_published_name_and_size_with_another_checksum_is_refused(
    real_weights: Callable[[str], Path], convert: Callable[..., Any], tmp_path: Path
) -> None:
    published = real_weights("mn04_as")
    content = bytearray(published.read_bytes())
    # Between two entries, where no checksum of the archive looks.
    place = content.index(b"FB", 30)
    content[place + 6] ^= 1
    (tmp_path / published.name).write_bytes(content)
    said = convert("recipe", "mn04_as", "--checkpoint", tmp_path / published.name, "-o", tmp_path / "made")
    assert said.is_one_clear_error(), said
    assert "it is damaged, so fetch it again" in said.stderr
    assert not (tmp_path / "made").exists()


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path, noted: Callable[[str, object], None]) -> None:
    stream = io.BytesIO()
    state = {"layer.weight": torch.arange(60.0).reshape(6, 10), "layer.bias": torch.ones(6), "steps": torch.tensor(7)}
    torch.save(state, stream)
    whole, path, chance = stream.getvalue(), tmp_path / "it.pt", random.Random(0)
    refused, tried = 0, 600
    noted("tried", tried)
    for _ in range(tried):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            found = weights(path)
        except UserError:
            refused += 1
        else:
            assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert refused > 300


def test_whole_numbers_are_no_weights(tiny_model: Any) -> None:
    """Nothing is silently cast; a buffer that is a count stays one."""
    from recipes.base.config import find
    from recipes.base.recipe import faithful_model, load

    variant = find("mn01_as")
    own = load(variant.family).synthesize(variant)
    faithful_model(variant, own)
    for dtype in (torch.int64, torch.uint8, torch.bool):
        with pytest.raises(UserError, match=r"1 of another type: classifier.5.bias \w+ instead of float32"):
            faithful_model(variant, own | {"classifier.5.bias": own["classifier.5.bias"].to(dtype)})


def test_no_more_opcodes_than_a_checkpoint_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pickled, "_MOST_OPCODES", 40)
    refusal(zipped(tmp_path / "it.pt", state(a=tensor(), b=tensor())))


# Through the command itself: all in `make test-all`, and some of them always.
_FILES: dict[str, Make] = {
    **{f"{form}, {name}": partial(write, pickle=PICKLES[name]) for name in PICKLES for form, write in FORMS.items()},
    **CONTAINERS,
}


@pytest.mark.parametrize("name", some(_FILES, 16))
def test_the_command_refuses_it_and_leaves_nothing(name: str, refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "it.pt"
    _FILES[name](path)
    assert str(path) in refused("recipe", "mn04_as", "--checkpoint", path, "-o", tmp_path / "made")
    assert sorted(found.name for found in tmp_path.iterdir() if not found.name.startswith("it")) == []


def _saved(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, path)


def _of_a_run(folder: Path) -> None:
    """Arguments and tensors that agree on a thousand layers, nearly all of whose numbers are missing."""
    width, names = 512, [f"tf.transformer_enc.layers.{layer}.linear1.weight" for layer in range(1024)]
    state = {name: torch.zeros(1) for name in names} | {
        names[0]: torch.zeros(65536, 1),
        "start.1.weight": torch.zeros(4, 1, 7),
        "project.weight": torch.zeros(width, 1, 1),
        "tf.fc.weight": torch.zeros(5, 1),
        "tf.fc.bias": torch.zeros(2_000_000),
        "down.0.down.1.weight": torch.zeros(8, 4, 3),
    }
    told = (
        f"nf: 4\nemb_dim: {width}\nn_layers: 1024\nn_head: 2\ndim_feedforward: 65536\nds_factors: [2]\n"
        "seq_len: 1024\nn_classes: 5\nsampling_rate: 16000\ndataset: doors\n"
    )
    folder.mkdir()
    torch.save(state, folder / "chkpnt.pt")
    (folder / "args.yml").write_text(told, encoding="utf-8")


# What is read well, and fits no network: a family, and what its `--checkpoint` is given.
NETWORKS: dict[str, tuple[str, Make]] = {
    **{
        f"{family}, {what}": (family, partial(_saved, state={bias: numbers}))
        for family, bias in (("pann", "fc_audioset.bias"), ("mn01_as", "classifier.5.bias"))
        for what, numbers in (
            ("a bias of 20 million classes", torch.zeros(20_000_000)),
            ("a bias of no axis", torch.tensor(1.0)),
            ("a bias of no class", torch.zeros(0)),
            ("a bias of two axes", torch.zeros(3, 4)),
        )
    },
    "dymn04_as, a bias of 20 million classes": (
        "dymn04_as",
        partial(_saved, state={"classifier.5.bias": torch.zeros(20_000_000)}),
    ),
    "eat, layers without numbers": ("eat", _of_a_run),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_no_network_is_built_for_a_file_that_does_not_fit(
    name: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    family, make = NETWORKS[name]
    make(tmp_path / "it.pt")
    assert "these weights do not fit" in refused(
        "recipe", family, "--checkpoint", tmp_path / "it.pt", "-o", tmp_path / "made"
    )
    assert [found.name for found in tmp_path.iterdir()] == ["it.pt"]
