"""Picture files: opens image files of the formats that are read, and refuses what is damaged.

See docs/data.md#picture-files.
"""

from __future__ import annotations

import errno
import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.base.errors import BadInput
from bench.base.files import read_regular

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

Image8 = npt.NDArray[np.uint8]

IMAGE_FORMATS = frozenset({"JPEG", "PNG", "WebP", "BMP"})
"""What images are read from. A format is a decoder that a stranger's file reaches, so there are few."""
MOST_PIXELS = 2**30 // 6
"""An image has at most so many: 179 million, half a gigabyte decoded."""
MOST_BYTES = 2**30
DEEP_MODES = ("I", "F")
"""How Pillow's names of pixels begin that do not fit into 8 bits."""
DAMAGED_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, OverflowError)
"""What Pillow raises on a damaged file, format by format."""
_BAD_FILE = {errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EILSEQ, errno.EINVAL, errno.ENXIO, errno.EFBIG}
"""Said of a link in a circle, a name that the system cannot have, no ordinary file, and one that is too large."""
AGAIN = "Fetch this file again, or write it again with the program that made it."

_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"8BPS": "Photoshop",
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xffO\xffQ": "JPEG 2000",
    b"\xff\n": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\x93NUMPY": "numpy",
    b"MATLAB": "MATLAB",
    b"\x89HDF": "HDF5",
    b"PK\x03\x04": "zip",
    b"<svg": "SVG",
    b"<!DOCTYPE": "HTML",
    b"<!doctype": "HTML",
    b"<html": "HTML",
    b"version https://git-lfs": "Git LFS pointer",
}
"""How files begin: the formats that are read, and those that people have in their place."""
NO_PICTURE = frozenset({"HTML", "Git LFS pointer"})
"""What comes in a picture's place, so that there is nothing to convert."""
# a senseless EXIF block turns nothing, and what Pillow says of it names no file
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)


@dataclass(frozen=True)
class Picture:
    """A picture file, opened: its header is read, its pixels are not decoded yet."""

    path: Path
    data: bytes
    format: str
    opened: ImageFile

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels, as the file has them."""
        return self.opened.height, self.opened.width

    @property
    def digest(self) -> bytes:
        """SHA-256 of the file."""
        return hashlib.sha256(self.data).digest()

    @property
    def depth(self) -> int:
        """Bits of one channel of a PNG."""
        return self.data[24]

    @property
    def mode(self) -> str:
        """Pillow's name of the pixels' kind, and whether a PNG has 16 bits where Pillow would cut them to 8."""
        mode = self.opened.mode
        return f"16-bit {mode}" if self.format == "PNG" and self.depth == 16 and mode[:2] in ("RG", "LA") else mode

    def values(self) -> npt.NDArray[Any]:
        """The pixels as Pillow decodes them. Raises BadInput for a damaged file."""
        try:
            with self.opened as picture:
                return np.asarray(picture)
        except DAMAGED_IMAGE as error:
            raise damaged(self.path, error) from error

    def rgb(self) -> Image8:
        """The pixels as RGB, H×W×3. Raises BadInput for a damaged file, or one of more than 8 bits."""
        if self.opened.mode.startswith(DEEP_MODES):
            raise BadInput(
                f"{self.path} has {self.opened.mode} pixels; 8-bit images are expected", "Convert it to an 8-bit image."
            )
        pixels = _decode_jpeg(self) if self.format == "JPEG" else None
        if pixels is not None and self.opened.mode in ("RGB", "L"):
            return pixels
        if self.format == "JPEG" and _END not in self.data[len(self.data) // 2 :]:
            raise damaged(self.path, "it ends before its last byte")
        try:
            with self.opened as picture:
                return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
        except DAMAGED_IMAGE as error:
            raise damaged(self.path, error) from error


def open_picture(path: Path, formats: Collection[str] = IMAGE_FORMATS, *, read_as: str = "an image") -> Picture:
    """Open a picture file by what it contains, whatever its name.

    Raises BadInput, naming the file, where it is missing, no regular file, of another format, too large, or damaged
    as far as checksums and marks of its end show: a JPEG's damage is found when it is decoded.
    """
    data = _read(path)
    found = format_of(data)
    if found not in formats:
        what = f"is {_with_article(found)} file" if found else "is damaged or not an image"
        remedy = f"Convert it to {' or '.join(sorted(formats))}." if found else AGAIN
        if found in NO_PICTURE:
            remedy = "Fetch this file again; `git lfs pull` fetches what a pointer stands for."
        elif found == "JPEG":
            what, remedy = "is a JPEG, which changes values", "Save it as PNG, which does not, from the source."
        expected = f"; {read_as} is read from {', '.join(sorted(formats))}" if found else ""
        raise BadInput(f"{path} {what}{expected}", remedy)
    opened = _open(path, data, found)
    if opened.width * opened.height > MOST_PIXELS:
        raise BadInput(
            f"{path} is {opened.width}×{opened.height} pixels, more than the {MOST_PIXELS:,} that are read at once",
            "Make it smaller, or cut it into tiles, and its label alike.",
        )
    picture = Picture(path, data, found, opened)
    _require_whole(picture)
    return picture


def damaged(path: Path, error: object) -> BadInput:
    """The error for a file whose decoder says `error` of it."""
    return BadInput(f"{path} is damaged: {error}", AGAIN)


def format_of(data: bytes) -> str:
    """The format that a file's first bytes show; empty for none that is known."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return "HEIC or AVIF"
    return next((name for start, name in _STARTS.items() if data.startswith(start)), "")


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOS" and name != "SVG" else f"a {name}"


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MOST_BYTES)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadInput(f"{path} is missing, or is a folder", "Complete the data.") from error
    except ValueError as error:  # a NUL in its name
        raise BadInput(f"{path} cannot be read: {error}", "Correct its name.") from error
    except OSError as error:
        if error.errno not in _BAD_FILE:
            raise
        raise BadInput(f"{path} cannot be read: {error.strerror}", "Correct the file or its name.") from error


def _open(path: Path, data: bytes, format_: str) -> ImageFile:
    """The picture by its own plugin: Pillow's `open` would try all that it has, and warn of large ones."""
    from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    plugins: dict[str, type[ImageFile]] = {
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "WebP": WebPImagePlugin.WebPImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
    }
    try:
        return plugins[format_](io.BytesIO(data))
    except DAMAGED_IMAGE as error:
        raise BadInput(f"{path} is damaged or not an image", AGAIN) from error


# --- whether a file is whole ---


def _require_whole(picture: Picture) -> None:
    """Raises BadInput where checksums or lengths say that bytes are wrong or missing."""
    data = picture.data
    if picture.format == "PNG" and (damage := png_damage(data)):
        raise damaged(picture.path, damage)
    if picture.format == "WebP" and 8 + int.from_bytes(data[4:8], "little") > len(data):
        raise damaged(picture.path, "it ends before its last byte")


def png_damage(whole: bytes) -> str:
    """What is wrong with a PNG by its checksums; empty where nothing is. Pillow skips those of the pixels.

    https://www.w3.org/TR/png-3/#5Chunk-layout
    """
    data, start = memoryview(whole), 8
    while start + 12 <= len(data):
        length = int.from_bytes(data[start : start + 4])
        end = start + 8 + length
        if end + 4 > len(data):
            break
        name = bytes(data[start + 4 : start + 8])
        if zlib.crc32(data[start + 4 : end]) != int.from_bytes(data[end : end + 4]):
            return f"a wrong checksum in its {name.decode('latin-1')!a} part"
        if name == b"IEND":
            return ""
        start = end + 4
    return "it ends before its last part"


def png_part(data: bytes, wanted: bytes) -> bytes:
    """The content of the first part of a PNG that has this name, wherever it stands; empty where there is none."""
    start = 8
    while start + 12 <= len(data):
        length = int.from_bytes(data[start : start + 4])
        if data[start + 4 : start + 8] == wanted:
            return data[start + 8 : start + 8 + length]
        start += 12 + length
    return b""


_END = b"\xff\xd9"
"""The mark at a JPEG's end; its thumbnail has one too, near its beginning."""


def _decode_jpeg(picture: Picture) -> Image8 | None:
    """A JPEG by a decoder that says what it had to make up; grey and RGB pixels are those of Pillow.

    Both decode with libjpeg-turbo, but Pillow keeps quiet about the warnings of damaged data. None where this decoder
    does not know the sampling of the colours.
    """
    import simplejpeg

    try:
        return np.asarray(simplejpeg.decode_jpeg(picture.data, "CMYK" if picture.opened.mode == "CMYK" else "RGB"))
    except ValueError as error:
        if "subsampling" in str(error):
            return None
        raise damaged(picture.path, error) from error


# --- orientation ---

_TAG, _SHORT = 0x0112, 3
SIDEWAYS = frozenset({5, 6, 7, 8})
"""Orientations that exchange height and width."""


def orientation(picture: Picture) -> int:
    """The EXIF orientation, 1 (as stored) to 8; 1 where the file has none, or one that makes no sense.

    Read from the first directory of the EXIF block: CIPA DC-008 (Exif 3.0), 4.6.5, tag 0x0112.
    """
    block = picture.opened.info.get("exif", b"")
    if picture.format == "PNG" and not block:
        block = png_part(picture.data, b"eXIf")  # Pillow knows of one behind the pixels only when these are decoded
    return exif_orientation(block.removeprefix(b"Exif\0\0")) if isinstance(block, bytes) else 1


def exif_orientation(block: bytes) -> int:
    """The orientation in an EXIF block, which begins with its byte order; 1 where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    if start + 2 > len(block):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", block, start)
    for place in range(start + 2, min(start + 2 + 12 * entries, len(block) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, place)
        if tag == _TAG:
            return int(value) if kind == _SHORT and 1 <= value <= 8 else 1
    return 1


def turned(pixels: Image8, how: int) -> Image8:
    """Pixels, H×W×3, as they stand upright by an EXIF orientation."""
    if how in SIDEWAYS:
        pixels = pixels.swapaxes(0, 1)
    if how in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if how in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def turned_size(size: tuple[int, int], how: int) -> tuple[int, int]:
    """(height, width) of an image after `turned`."""
    return size[::-1] if how in SIDEWAYS else size
