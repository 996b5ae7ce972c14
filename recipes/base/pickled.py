"""A pickle of `torch.save` read as plain data: nothing that it names is looked up, imported or called.

PyTorch's own reader of weights (`torch.load` with `weights_only=True`) calls what is on its list with whatever a file
says: it takes lengths, shapes and keys at their word, sets attributes of any name, and recurses as deep as the file
likes. This one knows four kinds of values that a name can make (tensors, mappings, storages, and what nobody needs) and
makes them itself. Opcodes: https://github.com/python/cpython/blob/3.11/Lib/pickletools.py, of protocols 2 to 4.
"""

import pickletools
import re
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

# Ten times as much as a training checkpoint of the largest variant needs. An opcode takes a hundred bytes
# at most beside the text that it holds, so that both together bound the memory.
_MOST_OPCODES = 1_000_000
MOST_BYTES = 64_000_000
_MOST_OF_A_LINE = 512
# Of what makes a tensor or a storage. More could be had again and again from the memo, at two opcodes a time.
_MOST_ARGUMENTS = 10
# Of what is in the making at once.
_MOST_LEVELS = 1000
# Of a tensor; PyTorch itself computes with 64 at most.
_MOST_AXES = 8

_TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
_WITH_ATTRIBUTES = "torch._tensor._rebuild_from_type_v2"
_OWN_TYPES = ("torch.Tensor", "torch.nn.parameter.Parameter")
_MAPPING = "collections.OrderedDict"
_DEFAULT = "collections.defaultdict"
_STORAGE = re.compile(r"torch\.(?:storage\.)?([A-Z][A-Za-z0-9]{0,30}Storage)")

# What training checkpoints hold beside their weights and PyTorch allows, but nothing here needs.
_UNNEEDED = frozenset(
    {
        *_OWN_TYPES,
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.set",
        "collections.Counter",
        "torch.Size",
        "torch.device",
        "torch.serialization._get_layout",
        "torch._utils._rebuild_device_tensor_from_cpu_tensor",
        "torch._utils._rebuild_device_tensor_from_numpy",
        "torch._utils._rebuild_meta_tensor_no_storage",
        "torch._utils._rebuild_nested_tensor",
        "torch._utils._rebuild_qtensor",
        "torch._utils._rebuild_sparse_tensor",
        "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_wrapper_subclass",
    }
)
# A type, a layout or a scheme of quantisation: `torch.float32`, `torch.per_tensor_affine`.
_CONSTANT = re.compile(
    r"torch\.(?:b?float\w*|double|half|u?int\d+|long|short|u?char|byte|bool|bits\w+|complex\w+|q\w*int\w+|"
    r"per_(?:tensor|channel)_\w+|strided|sparse_\w+|\w+_format)"
)

# What protocol 2 calls modules that Python 3 has renamed.
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class DamagedError(Exception):
    """This is no pickle of `torch.save`, or a part of it is missing or wrong."""


class NamesError(Exception):
    """The pickle names something that is no part of a checkpoint: `str()` is the name."""


class Skipped:
    """Stands for an object that nobody needs and that is never made; `by` is the name of what would have made it."""

    __slots__ = ("by",)

    def __init__(self, by: str = "") -> None:
        self.by = by


class Source(Protocol):
    """Where a pickle is read from."""

    def read(self, count: int, /) -> bytes: ...
    def readline(self, most: int, /) -> bytes: ...


@dataclass(frozen=True)
class Makers:
    """What makes storages, of (class name, key, number of elements, part or None), and views of them, of (storage,
    offset, shape, strides); each raises DamagedError for what cannot be, and gives Skipped for what nobody needs.
    """

    storage: Callable[[str, str, int, tuple[str, int, int] | None], object]
    tensor: Callable[[Any, int, tuple[int, ...], tuple[int, ...]], object]


@dataclass(frozen=True)
class _Name:
    """A global, which is never looked up."""

    name: str


class _Bounded:
    """What `pickletools` reads from, never more of it than a pickle may be long."""

    def __init__(self, source: Source) -> None:
        self._source, self._done = source, 0

    def read(self, count: int) -> bytes:
        self._done += count
        if self._done > MOST_BYTES:
            raise DamagedError(f"what it says of its tensors is over {MOST_BYTES} bytes long")
        return self._source.read(count)

    def readline(self) -> bytes:
        line = self._source.readline(_MOST_OF_A_LINE)
        if len(line) == _MOST_OF_A_LINE:
            raise DamagedError(f"a name in it is over {_MOST_OF_A_LINE} bytes long")
        self._done += len(line)
        return line

    def tell(self) -> int:
        return self._done


def load(source: Source, makers: Makers, skipped: Collection[str] = ()) -> Any:
    """The value of the pickle at the source's position, which is left behind its end.

    Mappings, lists, tuples, numbers, text and what `makers` make; what the names in `skipped` make becomes Skipped, a
    defaultdict a plain mapping. Raises DamagedError, and NamesError for any other name.
    """
    machine = _Machine(makers, frozenset(skipped))
    try:
        with warnings.catch_warnings():
            # Python warns of escapes in texts of protocol 0, which are refused anyway.
            warnings.simplefilter("ignore")
            for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], _Bounded(source)))):
                if count > _MOST_OPCODES:
                    raise DamagedError(f"it says more of its tensors than {_MOST_OPCODES} steps can build")
                step = _STEPS.get(opcode.name)
                if step is None:
                    raise DamagedError(f"it uses {opcode.name}, which torch.save does not write")
                step(machine, argument)
        return machine.stack.pop()
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{type(error).__name__}") from None


class _Machine:
    """The stack of a pickle, its marks and its memo."""

    def __init__(self, makers: Makers, skipped: frozenset[str]) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self._makers, self._skipped = makers, skipped
        self._pairs = 0

    def push(self, value: object) -> None:
        self.stack.append(value)

    def mark(self, _: object) -> None:
        if len(self.marks) > _MOST_LEVELS:
            raise DamagedError(f"it is nested over {_MOST_LEVELS} levels deep")
        self.marks.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def name(self, name: str) -> None:
        module, _, rest = name.partition(" ")
        whole = f"{_RENAMED.get(module, module)}.{rest}"
        known = {*_TENSORS, *_PARAMETERS, _WITH_ATTRIBUTES, _MAPPING}
        if not (
            whole in known
            or whole in _UNNEEDED
            or whole in self._skipped
            or _STORAGE.fullmatch(whole)
            or _CONSTANT.fullmatch(whole)
        ):
            raise NamesError(whole)
        self.stack.append(_Name(whole))

    def name_on_stack(self, _: object) -> None:
        inner, module = self.stack.pop(), self.stack.pop()
        if not isinstance(inner, str) or not isinstance(module, str):
            raise TypeError
        self.name(f"{module[:_MOST_OF_A_LINE]} {inner[:_MOST_OF_A_LINE]}")

    def reduce(self, _: object) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if isinstance(called, Skipped):
            raise NamesError(called.by)
        if not isinstance(called, _Name) or not isinstance(arguments, tuple):
            raise TypeError
        self.stack.append(self._made(called.name, arguments))

    def _made(self, name: str, arguments: tuple[Any, ...]) -> object:
        if name == _MAPPING:
            return self._mapping(*arguments)
        # What a defaultdict would call for a missing key is skipped like all else.
        if name == _DEFAULT:
            return {}
        if len(arguments) > _MOST_ARGUMENTS:
            return Skipped(name)
        if name in _TENSORS:
            return self._tensor(*arguments[:4])
        if name in _PARAMETERS:
            return arguments[0]
        if name == _WITH_ATTRIBUTES:
            maker, kind, inner, *_ = arguments
            if isinstance(kind, _Name) and kind.name in _OWN_TYPES and isinstance(maker, _Name):
                if maker.name == _WITH_ATTRIBUTES or not isinstance(inner, tuple):
                    raise TypeError
                return self._made(maker.name, inner)
            return Skipped(name)
        return Skipped(name)

    def _mapping(self, pairs: object = ()) -> dict[Any, Any]:
        """Of [[key, value], ...], as Python 2 wrote it; each may be had from the memo, and counts each time."""
        if not isinstance(pairs, list | tuple):
            raise TypeError
        self._pairs += len(pairs)
        if self._pairs > _MOST_OPCODES or any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
            raise ValueError
        return {_key(key): value for key, value in pairs}

    def _tensor(self, storage: object, offset: object, shape: object, strides: object) -> object:
        if isinstance(storage, Skipped):
            return storage
        return self._makers.tensor(storage, _whole(offset), _wholes(shape), _wholes(strides))

    def persistent(self, _: object) -> None:
        identity = self.stack.pop()
        if not isinstance(identity, tuple) or len(identity) > _MOST_ARGUMENTS:
            raise TypeError
        what, kind, key, _place, count, *part = identity
        if what != "storage" or not isinstance(kind, _Name) or not isinstance(key, str) or len(part) > 1:
            raise TypeError
        named = _STORAGE.fullmatch(kind.name)
        if named is None:
            raise TypeError
        view = None
        if part and part[0] is not None:
            name, start, length = part[0]
            if not isinstance(name, str):
                raise TypeError
            view = (name, _whole(start), _whole(length))
        self.stack.append(self._makers.storage(named[1], key, _whole(count), view))

    def build(self, _: object) -> None:
        """Attributes: of a state dict its `_metadata`. Nobody needs any, and one may be called as a method is."""
        self.stack.pop()
        if isinstance(self.stack[-1], _Name):
            raise TypeError

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError
        target += items

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def two(self) -> list[Any]:
        value, key = self.stack.pop(), self.stack.pop()
        return [key, value]


def _key(key: object) -> object:
    """Text or a small number, as the keys of checkpoints are; of anything else a stand-in that is equal to nothing.

    The hash of a tuple in a tuple, each of them twice the one within, takes for ever; and great numbers and fractions
    can be chosen so that all their hashes are the same.
    """
    if key is None or isinstance(key, str) or (isinstance(key, int) and abs(key) < 2**31):
        return key
    return Skipped(type(key).__name__)


def _whole(number: object) -> int:
    if type(number) is not int or not 0 <= number < 2**63:
        raise ValueError
    return number


def _wholes(numbers: object) -> tuple[int, ...]:
    if not isinstance(numbers, tuple | list):
        raise TypeError
    if len(numbers) > _MOST_AXES:
        raise DamagedError(f"a tensor in it has {len(numbers)} axes")
    return tuple(map(_whole, numbers))


_Step = Callable[[_Machine, Any], None]


def _constant(make: Callable[[], object]) -> _Step:
    return lambda machine, _: machine.push(make())


_STEPS: dict[str, _Step] = {
    "PROTO": lambda *_: None,
    "FRAME": lambda *_: None,
    "STOP": lambda *_: None,
    "MARK": _Machine.mark,
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_LIST": _constant(list),
    "EMPTY_TUPLE": _constant(tuple),
    **dict.fromkeys(
        (
            "BININT",
            "BININT1",
            "BININT2",
            "LONG1",
            "BINFLOAT",
            "BINUNICODE",
            "SHORT_BINUNICODE",
            "SHORT_BINSTRING",
            "BINBYTES",
            "SHORT_BINBYTES",
        ),
        _Machine.push,
    ),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.marked())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
    "SETITEM": lambda machine, _: machine.set_items(machine.two()),
    "SETITEMS": lambda machine, _: machine.set_items(machine.marked()),
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "BINGET": lambda machine, place: machine.push(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.push(machine.memo[place]),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_on_stack,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
