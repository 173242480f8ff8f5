"""Files of `torch.save`, in both of their forms: what is in them, with tensors that are still in the file.

A zip archive (torch 1.6 and later) has a pickle `data.pkl` and a member `data/KEY` of each storage. The older form is
five pickles (a magic number, the form's version, facts on the machine, the content, the storages' keys), and then
each storage: its number of elements in 8 bytes, and its bytes.

Sources: torch/serialization.py (`_save`, `_load`, `_legacy_save`, `_legacy_load`) and
caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from bench.networks.checkpoint_files import ALWAYS_ALLOWED, LARGEST_EXPANSION
from bench.networks.inert_pickle import InertUnpickler, Storage, WouldRunCode

LEGACY_MAGIC = (b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", b"L119547037146038801333356L")
"""The number in the older form's first pickle: of protocol 2 and later, and of 0 and 1."""
_LARGEST_PICKLE = 64 << 20
_UNPACK = "Unpack it if a checkpoint is in it; else save one: torch.save(model.state_dict(), …)."
_SAVE = "Save the weights alone, without compression: torch.save(model.state_dict(), …), or a .safetensors file."
_PYTHON = "Save its weights, torch.save(model.state_dict(), …), or evaluate it from Python, with bench.evaluate."


class NotTorch(Exception):
    """A file that is none of `torch.save`'s, or one that cannot be read: says what it is, and the remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


def read_archive(path: Path) -> Any:
    """What `torch.save` was given, from its zip archive.

    Raises NotTorch, WouldRunCode, and anything else for a damaged one.
    """
    size = path.stat().st_size
    archive = zipfile.ZipFile(path)  # closed with the last storage that may be read of it
    members = {info.filename: info for info in archive.infolist()}
    _require_torch(members)
    top = next(name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")).removesuffix("data.pkl")
    if sum(info.file_size for info in members.values()) > LARGEST_EXPANSION * size + ALWAYS_ALLOWED:
        raise NotTorch("an archive that would unpack to many times its size", _SAVE)
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in members.values()):
        raise NotTorch("a zip archive in a compression that torch does not read", _SAVE)
    pickled = members[f"{top}data.pkl"]
    if pickled.file_size > size:
        raise NotTorch("an archive that would unpack to many times its size", _SAVE)
    if not any(info.CRC for info in members.values() if info.file_size):  # torch can be told to write none
        for info in members.values():
            info.CRC = None  # type: ignore[assignment]  # zipfile then checks none
    order = members.get(f"{top}byteorder")
    if order and _read_member(archive, order).numpy().tobytes() == b"big":
        raise NotTorch("a file of a big-endian machine", _SAVE)
    kept: dict[str, Tensor] = {}

    def read(key: str, wanted: int) -> Tensor:
        if key not in kept:
            kept[key] = _read_member(archive, members[f"{top}data/{key}"])
        return _at_least(kept[key], wanted)

    def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        return Storage(lambda: read(key, count * dtype.itemsize), dtype, count, key)

    return InertUnpickler(io.BytesIO(_read_member(archive, pickled).numpy().tobytes()), storage).load()


def _require_torch(members: dict[str, zipfile.ZipInfo]) -> None:
    """Raises NotTorch, with what the archive is, unless it is one of `torch.save`."""
    second = {name.partition("/")[2] for name in members}
    if "constants.pkl" in second or any(name.startswith("code/") for name in second):
        raise NotTorch("a TorchScript program, which has code in it", _PYTHON)
    if ".data/extern_modules" in second:
        raise NotTorch("a torch.package, which has code in it", _PYTHON)
    if "archive_format" in second or "archive_format" in members:
        raise NotTorch("a program of torch.export", _PYTHON)
    if any(name.count("/") == 1 and name.endswith("/data.pkl") for name in members):
        return
    if members and all(name.endswith(".npy") for name in members):
        raise NotTorch("a file of numpy arrays (.npz)", _SAVE)
    names = ", ".join(sorted(members)[:3])
    raise NotTorch(f"a zip archive of other files ({names[:120]})" if members else "an empty zip archive", _UNPACK)


def read_legacy(path: Path) -> Any:
    """What `torch.save` was given, from the form before torch 1.6.

    Raises WouldRunCode, NotTorch, and anything else for a damaged one.
    """
    size = path.stat().st_size
    places: dict[str, tuple[int, int]] = {}
    kept: dict[str, Tensor] = {}

    def read(key: str, wanted: int) -> Tensor:
        if key not in kept:
            start, length = places[key]
            with path.open("rb") as stream:
                stream.seek(start)
                kept[key] = _read_bytes(stream, length)
        return _at_least(kept[key], wanted)

    itemsizes: dict[str, int] = {}

    def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        itemsizes[key] = dtype.itemsize
        return Storage(lambda: read(key, count * dtype.itemsize), dtype, count, key)

    with path.open("rb") as stream:
        _magic, _version, machine = (InertUnpickler(stream).load() for _ in range(3))
        if isinstance(machine, dict) and machine.get("little_endian") is False:
            raise NotTorch("a file of a big-endian machine", _SAVE)
        content = InertUnpickler(stream, storage).load()
        for key in InertUnpickler(stream).load():
            length = int.from_bytes(stream.read(8), "little", signed=True) * itemsizes[str(key)]
            places[str(key)] = (stream.tell(), length)
            if not 0 <= length <= size - stream.tell():
                raise EOFError("a storage ends beyond the file")
            stream.seek(length, os.SEEK_CUR)
    return content


def refuse_pickle(path: Path) -> None:
    """Raises NotTorch for a Python pickle that is none of torch's, WouldRunCode for one that would.

    A file that only begins like one is left to the caller.
    """
    with path.open("rb") as stream:
        unpickler = InertUnpickler(stream)
        if path.stat().st_size > _LARGEST_PICKLE:
            return
        try:
            unpickler.load()
        except WouldRunCode:
            raise
        except Exception:  # noqa: BLE001  # a damaged pickle fails in any way
            return
        if stream.tell() > len(b"\x80\x02."):
            raise NotTorch(f"a Python pickle (protocol {unpickler.proto}), not a file of torch.save", _SAVE)


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Tensor:
    """A member's bytes. zipfile compares its checksum, and expands no more at once than is asked for."""
    with archive.open(info) as stream:
        return _read_bytes(stream, info.file_size)


def _read_bytes(stream: IO[bytes], length: int) -> Tensor:
    """The next bytes of a stream, in memory that torch has allocated. Raises EOFError where there are fewer."""
    numbers = torch.empty(length, dtype=torch.uint8)
    view, done = memoryview(numbers.numpy().data), 0
    readinto: Callable[[memoryview], int | None] = stream.readinto  # type: ignore[attr-defined]
    while done < length:
        count = readinto(view[done : done + (1 << 24)])
        if not count:
            raise EOFError("a storage ends too early")
        done += count
    return numbers


def _at_least(numbers: Tensor, wanted: int) -> Tensor:
    if len(numbers) < wanted:
        raise EOFError("a storage is shorter than the file says")
    return numbers[:wanted]
