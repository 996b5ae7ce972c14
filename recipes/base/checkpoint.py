"""Reads what `torch.save` wrote, without running anything that the file names; every number is one of the file's."""

import hashlib
import struct
from collections.abc import Mapping
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from recipes.base import files, pickled, zipped
from recipes.base.errors import UserError
from recipes.base.pickled import DamagedError, Makers, NamesError, Skipped

# What NumPy arrays and scalars name in a pickle; NumPy 2 moved the modules.
NUMPY = (
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
)

# Seven times the largest published checkpoint, as training runs keep it beside two moments of an optimiser.
MOST_BYTES = 2**31

# Where training scripts put the state dict, beside the optimiser's and the epoch.
_ENTRIES = ("model", "state_dict", "model_state_dict", "model_dict")
_PARALLEL = "module."

_FETCH_AGAIN = "fetch the file again, or give another one"

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Of what no model here has, that it can be stepped over: bytes an element.
_OTHER_SIZES = {
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
    "UntypedStorage": 1,
}
_MOST_TENSORS = 100_000

# The number that begins the older format, and the version of it: torch/serialization.py.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_COUNT = struct.Struct("<q")


def read(path: Path, skipped: tuple[str, ...] = ()) -> Any:
    """The object in a file of `torch.save`, old format or new, its tensors on the CPU.

    It may hold tensors, numbers, text, lists and mappings, all of them plain; objects that the names in `skipped` make
    become `Skipped`, and so does what nobody needs, such as tensors that are not dense.
    Raises UserError for anything else, by its name, and for what is no checkpoint, damaged, or only a part of one.
    """
    try:
        with files.opened(path, MOST_BYTES) as file:
            start = file.read(512)
            file.seek(0)
            _refuse_by_start(path, start)
            return _from_zip(file, skipped) if start.startswith(b"PK\x03\x04") else _from_legacy(file, skipped)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; give the path of a checkpoint") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give the path of the checkpoint in it") from None
    except NamesError as error:
        raise UserError(
            f"{path}: names {str(error)!r}, which is no part of a checkpoint's weights and could run code; nothing was "
            "run. Save the model's state_dict() alone if you trust the file, and give that"
        ) from None
    except DamagedError as error:
        raise UserError(
            f"{path}: is no checkpoint of torch.save, or a part is missing ({error}); {_FETCH_AGAIN}"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _refuse_by_start(path: Path, start: bytes) -> None:
    if not start:
        raise UserError(f"{path}: the file is empty; {_FETCH_AGAIN}")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UserError(f"{path}: is a web page, not a checkpoint, as failed downloads leave; {_FETCH_AGAIN}")
    if start.startswith(b"version https://git-lfs"):
        raise UserError(f"{path}: is a pointer of Git LFS, not the checkpoint; get the file itself with `git lfs pull`")


class _Storages:
    """The memory that a checkpoint's tensors lie in, no more of it than the file has bytes; filled after the pickle."""

    def __init__(self, most_bytes: int) -> None:
        self.bytes: dict[str, Tensor] = {}
        self.kinds: dict[str, str] = {}
        self._parts: dict[str, _Storage] = {}
        self._room, self._tensors = most_bytes, 0

    @property
    def makers(self) -> Makers:
        return Makers(self._storage, self._tensor)

    def _storage(self, kind: str, key: str, count: int, part: tuple[str, int, int] | None) -> object:
        size = _size(kind)
        if size is None:
            raise DamagedError(f"a tensor in it is of {kind}, which is unknown")
        if key not in self.bytes:
            self._room -= count * size
            if self._room < 0:
                raise DamagedError("its tensors have more bytes than the file")
            self.bytes[key], self.kinds[key] = torch.empty(count * size, dtype=torch.uint8), kind
        if len(self.bytes[key]) != count * size or self.kinds[key] != kind:
            raise DamagedError(f"its storage {key} is one thing here and another there")
        if kind not in _DTYPES:
            return Skipped(f"torch.{kind}")
        whole = _Storage(self.bytes[key].untyped_storage(), _DTYPES[kind], 0, count)
        if part is None:
            return whole
        _, start, length = part
        if start + length > count:
            raise DamagedError(f"a part of its storage {key} lies outside of it")
        return _Storage(whole.memory, whole.dtype, start, length)

    def _tensor(self, storage: object, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
        if not isinstance(storage, _Storage) or len(shape) != len(strides):
            raise DamagedError("a tensor in it has no storage, or as many strides as axes")
        self._tensors += 1
        if self._tensors > _MOST_TENSORS:
            raise DamagedError(f"it has over {_MOST_TENSORS} tensors")
        # Of an empty one too, since PyTorch multiplies its sizes before it sees a 0.
        if prod(shape) > storage.length or prod(max(1, size) for size in shape) >= 2**62:
            raise DamagedError(f"a tensor of shape {shape} has more places than numbers")
        reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1 if prod(shape) else 0
        if offset + reach > storage.length:
            raise DamagedError(f"a tensor of shape {shape} reaches beyond its numbers")
        return torch.empty(0, dtype=storage.dtype).set_(storage.memory, storage.start + offset, shape, strides)


class _Storage:
    def __init__(self, memory: torch.UntypedStorage, dtype: torch.dtype, start: int, length: int) -> None:
        self.memory, self.dtype, self.start, self.length = memory, dtype, start, length


def _size(kind: str) -> int | None:
    """Bytes an element."""
    return _DTYPES[kind].itemsize if kind in _DTYPES else _OTHER_SIZES.get(kind)


def _from_zip(file: BinaryIO, skipped: tuple[str, ...]) -> Any:
    """An archive of `NAME/data.pkl` and, for each storage, `NAME/data/KEY`."""
    try:
        with zipped.archive(file) as entries:
            mains = [name for name in entries.names if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(mains) != 1:
                raise DamagedError("it has no data.pkl, or several")
            main = mains[0]
            folder = main.removesuffix("data.pkl")
            storages = _Storages(entries.total_bytes)
            tree = pickled.load(BytesIO(entries.read(main, pickled.MOST_BYTES)), storages.makers, skipped)
            # After the pickle, which tells an archive of TorchScript better than its compressed code does.
            entries.refuse_unusual()
            if f"{folder}byteorder" in entries.names and entries.read(f"{folder}byteorder", 16) != b"little":
                raise DamagedError("its numbers are big-endian")
            for key, memory in storages.bytes.items():
                entries.read_into(f"{folder}data/{key}", memory.numpy())
            # What no tensor is made of must be whole too: else the file is not the one that was saved.
            entries.verify({f"{folder}data/{key}" for key in storages.bytes})
            return tree
    except zipped.ZipError as error:
        raise DamagedError(str(error)) from None


def _from_legacy(file: BinaryIO, skipped: tuple[str, ...]) -> Any:
    """Pickles one after the other, of which the last lists the storages' keys in the order in which they follow."""
    size = file.seek(0, 2)
    file.seek(0)
    storages = _Storages(size)
    nothing = Makers(_no_storage, _no_tensor)
    if pickled.load(file, nothing) != _LEGACY_MAGIC or pickled.load(file, nothing) != _LEGACY_VERSION:
        raise DamagedError("it begins like no checkpoint")
    system = pickled.load(file, nothing)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise DamagedError("its numbers are big-endian")
    tree = pickled.load(file, storages.makers, skipped)
    keys = pickled.load(file, nothing)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DamagedError("it lists no storages")
    # PyTorch leaves the memory of a storage that is not listed as it found it.
    if sorted(keys) != sorted(storages.bytes):
        raise DamagedError("the storages that it lists are not those of its tensors")
    for key in keys:
        memory = storages.bytes[key].numpy()
        head = file.read(_COUNT.size)
        if len(head) != _COUNT.size or _COUNT.unpack(head)[0] * (_size(storages.kinds[key]) or 0) != len(memory):
            raise DamagedError(f"its storage {key} has not as many numbers as its tensors say")
        if file.readinto(memory) != len(memory):  # type: ignore[attr-defined]
            raise DamagedError(f"its storage {key} is cut off")
    if file.read(1):
        raise DamagedError("something follows its last storage")
    return tree


def _no_storage(*_: object) -> object:
    raise DamagedError("it has tensors where none belong")


_no_tensor = _no_storage


def state_dict(tree: object, origin: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, by name, as dense finite values; `origin` is the file's name in messages.

    It may stand under an entry of a training checkpoint, and each name after DataParallel's `module.`.
    Floating-point tensors become float32 whatever they were saved in, since the models compute in it; integers stay.
    Raises UserError for anything else than a mapping from names to such tensors, each with numbers of its own.
    """
    tree = _unwrapped(tree)
    if not isinstance(tree, Mapping) or not tree:
        raise UserError(
            f"{origin}: holds {_kind(tree)} where a state dict is expected, a mapping from names to tensors"
        )
    for name, value in tree.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(
                f"{origin}: the entry {_named(name)} is {_kind(value)}, not a tensor by its name; "
                "give a file with the model's state_dict()"
            )
        _refuse_kind(value, name, origin)
    held = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tree.values()}
    if sum(tensor.numel() * tensor.element_size() for tensor in tree.values()) > sum(held.values()):
        raise UserError(
            f"{origin}: its tensors share their numbers, so that a few of them stand for many; "
            "save each with numbers of its own, with `clone()`"
        )
    return {name: _plain(tensor.detach(), name, origin) for name, tensor in tree.items()}


def _unwrapped(tree: object) -> object:
    if not isinstance(tree, Mapping):
        return tree
    inner = next((tree[entry] for entry in _ENTRIES if isinstance(tree.get(entry), Mapping)), tree)
    if isinstance(inner, Mapping) and all(isinstance(name, str) and name.startswith(_PARALLEL) for name in inner):
        return {name.removeprefix(_PARALLEL): value for name, value in inner.items()}
    return inner


def _named(key: object) -> str:
    return repr(key) if isinstance(key, str | int | None) else f"of the key {_kind(key)}"


def _kind(value: object) -> str:
    if isinstance(value, Skipped) and value.by:
        return f"made by {value.by}"
    return f"an empty {type(value).__name__}" if isinstance(value, Mapping) and not value else f"{type(value).__name__}"


def _refuse_kind(tensor: Tensor, name: str, origin: Path) -> None:
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
        raise UserError(
            f"{origin}: the tensor {name!r} is {tensor.layout}, {tensor.dtype}, on {tensor.device.type}; "
            "only dense real tensors can be loaded, so save it as one"
        )
    # A few bytes can stand for more elements than any memory holds; nobody trains such weights.
    if _overlaps(tensor):
        raise UserError(
            f"{origin}: the tensor {name!r} of {tuple(tensor.shape)} repeats fewer numbers than it has places; "
            "save it whole, with `contiguous()`"
        )


def _overlaps(tensor: Tensor) -> bool:
    """Whether two places may be the same number: in part of a whole tensor, each stride steps over all lesser ones."""
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reach:
            return True
        reach += (size - 1) * stride
    return False


def _plain(tensor: Tensor, name: str, origin: Path) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    single = tensor.to(torch.float32)
    # Both ends are NaN where any value is; this takes no memory, as `isfinite` of all of them would.
    if single.numel() and not all(map(torch.isfinite, torch.aminmax(single))):
        raise UserError(
            f"{origin}: the tensor {name!r} has values that are NaN or infinite in float32; "
            "the training run broke or the file is damaged, so use another checkpoint"
        )
    return single


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
