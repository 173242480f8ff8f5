"""Pickles of checkpoints, read without running anything that they name.

A pickle is a program: it names functions, and has them called. Here every name stands for something of this module:
a description of a tensor that is still in the file, a plain dict, or `Inert`, which keeps nothing and does nothing.
A name that is no known data is refused. Nothing is imported, and nothing is expanded.
"""

from __future__ import annotations

import functools
import math
import pickle
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import torch
from torch import Tensor


class WouldRunCode(Exception):
    """A pickle names what is no data; `name` is `module.name` as it stands in the file."""

    def __init__(self, name: str, holds_module: bool) -> None:
        super().__init__(name)
        self.name = name
        self.holds_module = holds_module
        """Whether it is the class of a torch.nn.Module, which was saved as a whole."""


@dataclass(frozen=True, eq=False)
class Storage:
    """Numbers in the file that tensors are views of."""

    read: Callable[[], Tensor]
    """Its bytes as an uint8 tensor; the same one for each call."""
    dtype: torch.dtype
    size: int
    """How many elements the file says that it has."""
    key: str
    """What it is called in the file. Tensors of one module under two names are views of one storage."""
    start: int = 0
    """Of a view of a storage: the first element."""


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor that is still in the file: a view of a storage."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def unusual(self) -> str:
        """What it is, if it is more than what lies in the file; else nothing."""
        stored = self.storage.size * self.storage.dtype.itemsize // self.dtype.itemsize
        count = math.prod(self.shape)
        return f"expanded ({count:,} values, of which {stored:,} are in the file)" if count > stored else ""

    def read(self) -> Tensor:
        """The tensor itself. Raises ValueError where it reaches beyond its storage."""
        numbers = self.storage.read().view(self.dtype)
        offset = self.offset + self.storage.start
        last = offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if math.prod(self.shape) and last >= len(numbers):
            raise ValueError("a tensor reaches beyond its storage")
        return numbers.as_strided(self.shape, self.stride, min(offset, len(numbers)))


@dataclass(frozen=True, eq=False)
class UnusualTensor:
    """A tensor that is no plain array of numbers, as `sparse` ones are not. It is not read."""

    unusual: str


class PlainDict(dict[Any, Any]):
    """An OrderedDict, a defaultdict or another dict: entries, and no attributes."""

    __slots__ = ()

    def __init__(self, *arguments: Any) -> None:
        """Takes what is pickled of them: nothing, a factory, or pairs, which are used up: no list is copied twice."""
        super().__init__()
        pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []
        for pair in pairs:
            if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], _KEYS):
                self[pair[0]] = pair[1]
        pairs.clear()


class Inert:
    """Stands for a value that no weights depend on: a path, a time, a numpy scalar, settings."""

    __slots__ = ()

    def __new__(cls, *_arguments: Any, **_named: Any) -> Inert:
        """Whatever it was made of is dropped."""
        return super().__new__(cls)


class NumpyArray(Inert):
    """Stands for a numpy array."""

    __slots__ = ()


_KEYS = (str, bytes, int, float, type(None))
"""What can be a key. The hash of nested tuples is recursive in C, and would end the process."""

_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128, "UntypedStorage": torch.uint8,
    "QInt8Storage": torch.int8, "QUInt8Storage": torch.uint8, "QInt32Storage": torch.int32,
    "QUInt4x2Storage": torch.uint8, "QUInt2x4Storage": torch.uint8,
}  # fmt: skip
"""torch's classes of storages → what their elements are; an untyped one counts bytes."""

_OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Python 2's names of modules, which pickles of protocol 2 have to this day."""

_DATA = re.compile(
    r"""builtins\.(object|int|long|float|bool|str|unicode|bytes|bytearray|list|tuple|set|frozenset|complex|slice|x?range|Ellipsis)
    | copyreg\._reconstructor | _codecs\.encode
    | argparse\.Namespace | types\.SimpleNamespace
    | pathlib(\._local)?\.(Pure)?(Posix|Windows)?Path
    | datetime\.(date|datetime|time|timedelta|timezone) | decimal\.Decimal | fractions\.Fraction | uuid\.(UUID|SafeUUID)
    | collections\.deque
    | numpy\.(dtype|ndarray|bool_?|(u?int|float|complex)\d*_?|str_|bytes_|void|datetime64|timedelta64)
    | numpy\.dtypes\.\w+DType
    | numpy\.(_core|core)\.multiarray\.scalar
    | numpy\.random\._pickle\.__(randomstate|generator|bit_generator)_ctor
    | numpy\.random\._(pcg64|mt19937|philox|sfc64)\.(PCG64(DXSM)?|MT19937|Philox|SFC64)
    | numpy\.random\.bit_generator\.(SeedSequence|__pyx_unpickle_SeedSequence)
    | torch\.(Tensor|device|Generator|memory_format|(strided|sparse_coo|sparse_csr|contiguous_format|channels_last))
    | torch\.nn\.parameter\.(Parameter|Buffer)
    | torch\.serialization\._get_layout
    | torch\.per_(tensor|channel)_(affine|symmetric|affine_float_qparams)
    | torch\.torch_version\.TorchVersion
    | torch\.distributed\.(_?tensor\.(api\.)?DTensor|_?tensor\.(_dtensor_spec|placement_types)\.\w+)
    | torch\.distributed\.(device_mesh\.DeviceMesh|_mesh_layout\._\w+Layout)
    | (pytorch_lightning|lightning(_fabric|\.pytorch|\.fabric)?)\.utilities\.(parsing|data)\.AttributeDict
    | (pytorch_lightning|lightning\.pytorch)\.callbacks\.[\w.]+
    | mmengine\.logging\.history_buffer\.HistoryBuffer
    | mmengine\.config\.config\.ConfigDict | yacs\.config\.CfgNode | easydict\.EasyDict | addict\.addict\.Dict
    | omegaconf\.(dictconfig\.DictConfig|listconfig\.ListConfig|base\.(Container)?Metadata|nodes\.\w+Node) | typing\.Any
    """,
    re.VERBOSE,
)
"""Names that stand for data: what training scripts, mmengine, Lightning and OmegaConf keep beside the weights."""
_MODULE_STATE = b"_parameters"
_NEAR = 256
"""Bytes after its class within which the state of a torch.nn.Module names its parameters."""


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_hooks: Any) -> StoredTensor:
    return _typed_tensor(storage, offset, shape, stride, False, None, storage.dtype)


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_more: Any
) -> StoredTensor:
    numbers = (offset, *shape, *stride)
    sound = isinstance(storage, Storage) and isinstance(dtype, torch.dtype) and len(shape) == len(stride) <= 64
    if not sound or not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
        raise ValueError("a tensor that cannot be")
    return StoredTensor(storage, dtype, offset, tuple(shape), tuple(stride))


def _first(data: Any, *_more: Any) -> Any:
    """Of a parameter: its tensor. Of torch.Size: its numbers."""
    return data


def _subclassed(rebuild: Any, _type: Any, arguments: Any, _state: Any) -> Any:
    """A tensor with attributes of its own, or of a subclass."""
    return rebuild(*arguments) if rebuild in _TENSORS.values() else UnusualTensor("of a class of its own")


def _unusual(kind: str) -> Callable[..., UnusualTensor]:
    return lambda *_arguments: UnusualTensor(kind)


_TENSORS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_sparse_tensor": _unusual("sparse"),
    "torch._utils._rebuild_sparse_csr_tensor": _unusual("sparse"),
    "torch._utils._rebuild_qtensor": _unusual("quantised"),
    "torch._utils._rebuild_meta_tensor_no_storage": _unusual("on the meta device, without values"),
    "torch._utils._rebuild_nested_tensor": _unusual("nested"),
    "torch._utils._rebuild_wrapper_subclass": _unusual("of a class of its own"),
    "torch._utils._rebuild_device_tensor_from_numpy": _unusual("of another device"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _unusual("of another device"),
}
_ARRAYS = ("multiarray._reconstruct", "numeric._frombuffer")
"""What makes a numpy array."""
_NAMES: dict[str, Any] = _TENSORS | {
    "torch._tensor._rebuild_from_type_v2": _subclassed,
    "torch.Size": _first,
    **dict.fromkeys((f"numpy.{core}.{name}" for core in ("core", "_core") for name in _ARRAYS), NumpyArray),
    "collections.OrderedDict": PlainDict,
    "collections.defaultdict": PlainDict,
    "collections.Counter": PlainDict,
    "builtins.dict": PlainDict,
}


class InertUnpickler(pickle._Unpickler):
    """Reads one pickle of any protocol from a stream; what follows it is left there.

    The unpickler is the one in Python, not the one in C: steps can be replaced, and a number in the file cannot make
    its memo large. `storage` makes a storage of the type, the key and the number of elements that the file names.
    Raises WouldRunCode; a damaged pickle raises anything.
    """

    # of the class above, which typeshed does not describe in full
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    proto: int

    def __init__(self, stream: IO[bytes], storage: Callable[[torch.dtype, str, int], Storage] | None = None) -> None:
        super().__init__(stream, encoding="latin-1")
        self._stream = stream
        self.storage = storage and functools.cache(storage)  # a file may name one a million times

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name here. Raises WouldRunCode for one that is not known to be data."""
        module = _OLD_NAMES.get(module, module)
        full = f"{module}.{name}"
        if module in ("torch", "torch.cuda", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and isinstance(dtype := vars(torch).get(name), torch.dtype):
            return dtype
        if full in _NAMES:
            return _NAMES[full]
        if _DATA.fullmatch(full):
            return Inert
        # the older form of torch.save says so, before the class's source
        holds_module = self.stack[-1:] == ["module"] or _MODULE_STATE in self._stream.read(_NEAR)
        raise WouldRunCode(full, holds_module)

    def persistent_load(self, pid: Any) -> Any:
        """The storage that a torch file names: ('storage', type, key, location, elements, view of another or None)."""
        kind, dtype, key, _location, size, *view = pid
        if self.storage is None or kind != "storage" or not isinstance(dtype, torch.dtype) or type(size) is not int:
            raise ValueError("a persistent id that is no storage")
        storage = self.storage(dtype, str(key), size)
        if not view or view[0] is None:
            return storage
        _key, start, length = view[0]
        if not 0 <= start <= start + length <= size:
            raise ValueError("a view beyond its storage")
        return Storage(storage.read, dtype, length, storage.key, start)

    # --- steps of the program that could change what is not the file's ---

    def _drop_state(self) -> None:
        self.stack.pop()

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set(key, value)

    def _set_items(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def _set(self, key: Any, value: Any) -> None:
        if isinstance(self.stack[-1], dict) and isinstance(key, _KEYS):
            self.stack[-1][key] = value

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    def _appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def _empty_set(self) -> None:
        self.append(Inert())

    def _add_items(self) -> None:
        self.pop_mark()

    def _frozen_set(self) -> None:
        self.pop_mark()
        self.append(Inert())

    def _byte_array(self) -> None:
        """The unpickler's own takes the memory for as many bytes as the file names before it reads them."""
        (length,) = struct.unpack("<Q", self.read(8))
        if len(self.read(length)) < length:
            raise EOFError("bytes end too early")
        self.append(Inert())

    def _refuse(self) -> None:
        raise pickle.UnpicklingError("a step that no checkpoint has")

    dispatch = pickle._Unpickler.dispatch | {  # type: ignore[assignment]  # steps of this class
        pickle.BUILD[0]: _drop_state,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _appends,
        pickle.EMPTY_SET[0]: _empty_set,
        pickle.ADDITEMS[0]: _add_items,
        pickle.BYTEARRAY8[0]: _byte_array,
        pickle.FROZENSET[0]: _frozen_set,
        **dict.fromkeys((code[0] for code in (pickle.EXT1, pickle.EXT2, pickle.EXT4)), _refuse),
        **dict.fromkeys((code[0] for code in (pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)), _refuse),
    }
