"""Checkpoint files: what kind of file one is, by its content, and what is in it.

The name of a file says nothing. torch's files (`bench.networks.torch_files`) and safetensors are read; every other
kind is refused as what it is. Nothing in a file is ever executed, or expanded beyond what the file's size allows.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.base.errors import BadInput
from bench.cards.network_folders import network_in

_AGAIN = "Download or save it again, whole: a .pth, .pth.tar, .pt or .safetensors file."
_SAVE = "Save the weights alone: torch.save(model.state_dict(), …), or a .safetensors file."
_UNPACK = "Unpack it, and give the checkpoint that is in it."
_OTHER_LIBRARY = "Convert its weights with the library that wrote it, and save them: torch.save(model.state_dict(), …)."
_PYTHON = "Save its weights, torch.save(model.state_dict(), …), or evaluate it from Python, with bench.evaluate."
_LFS = "`git lfs pull` fetches the file."
LARGEST_EXPANSION = 8
ALWAYS_ALLOWED = 16 << 20
"""How many times its size a file may come to, and how many bytes any file. torch stores without compression, and
weights that people compress again get hardly smaller."""
_HEAD = 512
_MOST_NESTED = 50

_KINDS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (.h5)", _OTHER_LIBRARY),
    (0, b"\x93NUMPY", "a numpy array (.npy)", _SAVE),
    (0, b"GGUF", "a GGUF file", _OTHER_LIBRARY),
    (4, b"TFL3", "a TensorFlow Lite file", _OTHER_LIBRARY),
    (0, b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file itself", _LFS),
    (0, b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (0, b"BZh", "compressed with bzip2", _UNPACK),
    (0, b"\xfd7zXZ\x00", "compressed with xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstandard", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x89PNG", "a PNG image", _AGAIN),
    (0, b"\xff\xd8\xff", "a JPEG image", _AGAIN),
    (0, b"%PDF", "a PDF document", _AGAIN),
)  # fmt: skip
"""Offset, bytes there, what the file is, and the remedy."""


def require_file(path: Path) -> None:
    """Raises BadInput unless the path is that of an ordinary file that can be read. Waits for no pipe."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = "" if isinstance(error, (FileNotFoundError, ValueError)) else f" ({error.strerror})"
        remedy = "Give the path of a .pth, .pth.tar, .pt or .safetensors file."
        raise BadInput(f"no checkpoint at {path}{reason}", remedy) from error
    if stat.S_ISDIR(mode):
        named = network_in(path)
        network = f", or {named} for the network that it holds" if named else ""
        raise BadInput(f"{path} is a folder, not a checkpoint", f"Give the path of the file in it{network}.")
    if not stat.S_ISREG(mode):
        raise BadInput(f"{path} is a pipe or a device, not a checkpoint", "Copy what comes out of it to a file first.")
    try:
        path.open("rb").close()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "Correct its permissions.") from error


def read_content(path: Path) -> Any:
    """Everything in a checkpoint file, tensors included. Raises BadInput for a file that is none."""
    return _with_tensors(open_checkpoint(path), path, {})


def open_checkpoint(path: Path) -> Any:
    """Everything in a checkpoint file, with tensors that may still be in the file (`StoredTensor`).

    Raises BadInput for a file that is none.
    """
    require_file(path)
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    _refuse_web_page(path, head)
    for offset, magic, what, remedy in _KINDS:
        if head.startswith(magic, offset):
            raise BadInput(f"{path} is {what}, and no checkpoint", remedy)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return _safetensors(path)
    return _torch_file(path, head)


def _refuse_web_page(path: Path, head: bytes) -> None:
    start = head.lstrip().lower()
    if not start:
        raise BadInput(f"{path} is empty", _AGAIN)
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise BadInput(
            f"{path} is a web page, not a checkpoint",
            "Google Drive sends one if it asks for a confirmation or its quota is used up: "
            "open the link in a browser and save the file itself.",
        )


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is not a whole safetensors file: {error}", _AGAIN) from error
    except Exception as error:  # a type of numbers that this torch lacks, for example
        raise BadInput(f"{path} is a safetensors file that this torch cannot read: {error}", _SAVE) from error


def _torch_file(path: Path, head: bytes) -> Any:
    from bench.networks import torch_files
    from bench.networks.inert_pickle import WouldRunCode

    try:
        if head.startswith(b"PK"):
            return torch_files.read_archive(path)
        if any(magic in head[:64] for magic in torch_files.LEGACY_MAGIC):
            return torch_files.read_legacy(path)
        torch_files.refuse_pickle(path)
        _refuse_onnx(path, head)
        _refuse_text(path, head)
    except torch_files.NotTorch as error:
        raise BadInput(f"{path} is {error}", error.remedy) from error
    except WouldRunCode as error:
        raise BadInput(
            f"{path} would run code when it is opened ({error.name[:100]}), and is refused"
            + (": it holds a whole module, not its weights alone" if error.holds_module else ""),
            "A plain state dict runs none: torch.save(model.state_dict(), …), or a .safetensors file.",
        ) from error
    except BadInput:
        raise
    except Exception as error:  # a damaged file makes its reader fail in any way
        raise _damaged(path) from error
    raise _damaged(path)


def _refuse_onnx(path: Path, head: bytes) -> None:
    """ONNX is a protobuf without a magic number: its first fields are the version and the program that wrote it."""
    if re.match(rb"\x08[\x01-\x20](\x12[\x01-\x40][\w.+ -]+|:)", head) or path.suffix.lower() == ".onnx":
        raise BadInput(f"{path} is an ONNX program, and no checkpoint", _PYTHON)


def _refuse_text(path: Path, head: bytes) -> None:
    """A list of a checkpoint's shards, a card, an error message in a file's place: bytes of weights are no text."""
    text = "".join(head.decode("utf-8", "replace")[:-1].split())
    if len(text) > 1 and text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text:
        if '"weight_map"' in text:
            raise BadInput(f"{path} is a list of the files that a checkpoint was split into", _SAVE)
        raise BadInput(f"{path} is a text file, and no checkpoint", _AGAIN)


def _damaged(path: Path) -> BadInput:
    size = path.stat().st_size
    return BadInput(f"{path} is truncated or not a checkpoint ({size:,} bytes)", _AGAIN)


def require_bounded(shapes: Iterable[Sequence[int]], path: Path) -> None:
    """Raises BadInput where tensors of these shapes would take many times the file's size: all views of one storage."""
    expanded = 4 * sum(map(math.prod, shapes))
    if expanded > LARGEST_EXPANSION * path.stat().st_size + ALWAYS_ALLOWED:
        raise BadInput(f"{path} would unpack to {expanded:,} bytes, many times its size", _SAVE)


def as_tensor(value: Any, key: str, path: Path) -> Any:
    """A tensor of the file as one in memory. Raises BadInput, which names it, for one that cannot be.

    Tensors of other libraries' kinds, and those that are larger than what the file has of them, are refused.
    """
    from bench.networks.inert_pickle import StoredTensor, UnusualTensor

    if isinstance(value, (StoredTensor, UnusualTensor)) and value.unusual:
        raise unusual_tensor(path, key, value.unusual)
    if not isinstance(value, StoredTensor):
        return value
    try:
        return value.read()
    except Exception as error:
        raise BadInput(f"{path} is damaged: '{key}' cannot be read ({error})", _AGAIN) from error


def unusual_tensor(path: Path, key: str, what: str) -> BadInput:
    """The error for weights that are no plain array of real numbers."""
    return BadInput(
        f"{path}: '{key}' is {what}: weights of this kind are not read",
        "Convert the weights (dequantize(), to_dense(), full_tensor(), contiguous(), float()), and save them again.",
    )


def _with_tensors(value: Any, path: Path, seen: dict[int, Any], name: str = "", depth: int = 0) -> Any:
    """The content with its tensors read. `seen` has what was there before: a list may be in a file many times."""
    if depth > _MOST_NESTED:
        raise BadInput(f"{path} is nested too deeply", _SAVE)
    found: Any
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, dict):
        found = seen[id(value)] = {}
        found.update({k: _with_tensors(v, path, seen, f"{name}.{k}"[-100:], depth + 1) for k, v in value.items()})
        return found
    if isinstance(value, (list, tuple)):
        found = seen[id(value)] = []
        found.extend(_with_tensors(v, path, seen, f"{name}.{i}"[-100:], depth + 1) for i, v in enumerate(value))
        if isinstance(value, tuple):
            seen[id(value)] = found = tuple(found)
        return found
    return as_tensor(value, name.removeprefix("."), path)
