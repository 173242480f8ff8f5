"""Pictures: images, label maps, predictions. What a checksum shows to be damaged never gives another picture."""

import io
import json
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from bench.cards import catalogue
from bench.data.decoding import read_image, read_label
from bench.data.palette import voc_palette
from bench.data.shapes import draw
from tests.folders import put_mask
from tests.fuzz import mutators
from tests.fuzz.kind import Done, Kind, call, command
from tests.fuzz.kinds.data import put_data
from tests.fuzz.world import World

SIGNATURE = b"\x89PNG\r\n\x1a\n"
OTHER_FORMATS = ("BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX", "EPS", "PDF", "JPEG", "PNG", "JPEG2000")
DETECTED = ("zero_tail", "truncate", "empty", "append")
"""What can be done to a JPEG that its decoder sees, although it has no checksum: its end is missing."""


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of a PNG's chunks."""
    place = len(SIGNATURE)
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        yield kind, data[place + 8 : place + 8 + length]
        place += 12 + length


def png_of(parts: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks, every checksum in order."""
    made = (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )
    return SIGNATURE + b"".join(made)


def change_chunks(random: Random, data: bytes) -> tuple[str, bytes]:
    """Another PNG whose checksums are right: other fields in its head, chunks left out, repeated, moved, added."""
    parts = list(chunks(data))
    place, other = random.randrange(len(parts)), random.randrange(len(parts))
    kind = parts[place][0].decode()
    way = random.choice(("leave out", "repeat", "move", "add", "add", "head", "head", "content"))
    if way == "leave out":
        del parts[place]
    elif way == "repeat":
        parts.insert(other, parts[place])
    elif way == "move":
        parts[place], parts[other] = parts[other], parts[place]
    elif way == "add":
        kind, content = random.choice(ADDED)
        parts.insert(random.choice((1, 1, len(parts) - 1, len(parts))), (kind.encode(), content))
    elif way == "head":
        kind, parts[0] = "IHDR", (b"IHDR", _head(random, parts[0][1]))
    else:
        how, content = mutators.changed(random, parts[place][1])
        way, parts[place] = f"{how} in", (parts[place][0], content)
    return f"{way} {kind}", png_of(parts)


def _head(random: Random, head: bytes) -> bytes:
    width, height, *rest = struct.unpack(">IIBBBBB", head)
    if random.random() < 0.4:
        size = random.choice(
            ((0, height), (width, 0), (2**31 - 1, 2**31 - 1), (60_000, 60_000), (width + 1, height), (1, 2**31 - 1))
        )
        return struct.pack(">IIBBBBB", *size, *rest)
    rest[random.randrange(5)] = random.choice((0, 1, 2, 3, 4, 6, 8, 16, 32, 255))
    return struct.pack(">IIBBBBB", width, height, *rest)


_BOMB = zlib.compress(bytes(200_000_000), 9)
ADDED = (
    ("tEXt", b"Title\0\x1b[2J\n::error::x"),
    ("tEXt", b"x" * 100_000),
    ("zTXt", b"Bomb\0\0" + _BOMB),
    ("iTXt", b"Bomb\0\1\0\0\0" + _BOMB),
    ("iCCP", b"Bomb\0\0" + _BOMB),
    ("gAMA", bytes(4)),
    ("tRNS", bytes(range(20))),
    ("eXIf", b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    ("PLTE", bytes(3 * 256)),
    ("acTL", struct.pack(">II", 2**31 - 1, 0)),
    ("IDAT", b""),
    ("IEND", b""),
    ("\0\0\0\0", b"abc"),
)  # fmt: skip


def _saved(picture: Image.Image, form: str, **how: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **how)
    return stream.getvalue()


class _Pictures(Kind):
    """A picture in a file of its own, read by the program's own reader; the array is the figure."""

    file: str
    shows = False
    """Whether the damage shows: the picture is then the sound one, or there is an error."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.data = (world.sound / self.file).read_bytes()
        self.shows = True
        self.put()
        self.expected = self._read().value

    def put(self) -> None:
        self.shows = True
        (self.world.place / self.file).write_bytes(self.data)

    def _read(self) -> Done:
        raise NotImplementedError

    def use(self, random: Random) -> Done:
        return self._read()

    def wrong(self, done: Done, how: str) -> str | None:
        if done.value is None or not self.shows or np.array_equal(done.value, self.expected):
            return None
        return "a damaged file gives another picture without a word"

    def _as_another_format(self, random: Random) -> str:
        path = self.world.place / self.file
        form = random.choice(OTHER_FORMATS)
        with Image.open(io.BytesIO(self.data)) as picture:
            try:
                path.write_bytes(_saved(picture.convert("RGB"), form))
            except (OSError, KeyError):
                path.write_bytes(b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x10\0\0\0\x10\0\x08\0\3" + bytes(700))
                form = "PSD"
        self.shows = False
        return f"{form} by the name of {self.file}"


class Png(_Pictures):
    """A label map: a palette PNG. Every part of it but what follows its end has a checksum."""

    name = "png"
    file = "a.png"

    def __init__(self, world: World) -> None:
        self.card = catalogue.dataset("pascal-voc")
        label = Image.fromarray(draw("val", 0, 1)[1], mode="P")
        label.putpalette(voc_palette())
        label.save(world.sound / self.file)
        super().__init__(world)

    def _read(self) -> Done:
        return call(lambda: read_label(Path(self.file), self.card)[0])

    def damage(self, random: Random) -> str:
        path = self.world.place / self.file
        how = random.random()
        if how < 0.5:
            return self.damage_file(random, path)
        self.shows = False
        if how < 0.55:
            return self._as_another_format(random)
        if how < 0.65:
            return self._other_mode(random, path)
        how, data = change_chunks(random, self.data)
        path.write_bytes(data)
        return how

    def _other_mode(self, random: Random, path: Path) -> str:
        mode = random.choice(("1", "L", "LA", "RGB", "RGBA", "I;16", "P"))
        bits = random.choice((1, 2, 4, 8))
        with Image.open(io.BytesIO(self.data)) as picture:
            array = np.asarray(picture)
            other = Image.fromarray(array.astype(np.uint16)) if mode == "I;16" else picture.convert(mode)
            path.write_bytes(_saved(other, "PNG", **({"bits": bits} if mode == "P" else {})))
        return f"mode {mode}, {bits} bits"


class Jpeg(_Pictures):
    """A photograph. It has no checksum, but its decoder knows of a premature end."""

    name = "jpeg"
    file = "a.jpg"

    def __init__(self, world: World) -> None:
        Image.fromarray(draw("val", 0, 1)[0]).save(world.sound / self.file, quality=90)
        super().__init__(world)

    def _read(self) -> Done:
        return call(lambda: read_image(Path(self.file))[0])

    def damage(self, random: Random) -> str:
        path = self.world.place / self.file
        how = random.random()
        if how < 0.05:
            return self._as_another_format(random)
        if how < 0.2:
            self.shows = False
            how, marker = random.choice(MARKERS)
            path.write_bytes(self.data[:2] + marker + self.data[2:])
            return how
        how = self.damage_file(random, path)
        self.shows = how.endswith(tuple(f": {way}" for way in DETECTED))
        return how


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


MARKERS = (
    ("an orientation", _segment(0xE1, b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0")),
    ("an empty Exif", _segment(0xE1, b"Exif\0\0")),
    ("an Exif of garbage", _segment(0xE1, b"Exif\0\0" + bytes(range(256)))),
    ("an ICC profile of garbage", _segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(300))),
    ("a comment", _segment(0xFE, b"\x1b[2J\n::error::x")),
    ("Adobe's CMYK", _segment(0xEE, b"Adobe\0d\0\0\0\0\2")),
    ("a head of 65535×65535", _segment(0xC0, b"\x08\xff\xff\xff\xff\3\1\x11\0\2\x11\1\3\x11\1")),
)


class Predictions(Kind):
    """A folder of PNGs that any program wrote."""

    name = "predictions"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        put_data(world)
        shutil.copytree(world.sound / "data" / "labels", world.sound / "maps")
        shutil.copy(world.sound / "maps" / "a.png", world.sound / "maps" / "b.png")
        self.about = {"schema": 1, "id": "painter", "supervision": "none", "title": "Painter"}
        self.put()
        self.shows = True
        self.figure = self._figure(self.use(Random(0)))

    def put(self) -> None:
        self.shows = True
        self.put_copy()

    def damage(self, random: Random) -> str:
        maps = self.world.place / "maps"
        path, how = maps / "b.png", random.random()
        if how < 0.4:
            return self.damage_file(random, path, special=0.2)
        self.shows = False
        if how < 0.6:
            how, data = change_chunks(random, path.read_bytes())
            path.write_bytes(data)
            return how
        if how < 0.75:
            how, tree = mutators.changed_tree(random, self.about)
            (maps / "predictions.json").write_bytes(mutators.as_json(tree))
            return how
        if how < 0.85:
            (maps / "predictions.json").write_bytes(mutators.as_json(self.about))
            return self.damage_file(random, maps / "predictions.json", mutators.TEXTS, special=0.3)
        ways = {"mode": ("L", "RGB", "RGBA", "I;16", "1"), "size": ((20, 25), (1, 1), (24, 20))}
        mode, size = random.choice(ways["mode"]), random.choice((*ways["size"], (20, 24)))
        put_mask(path, random.choice(((0, 1), (0, 255), (7, 8), (0, 1000))), size, mode)
        return f"mode {mode}, {size[0]}×{size[1]}"

    def use(self, random: Random) -> Done:
        return command("score", "maps", "--dataset", "./data.toml", "--results", self.world.out / "results", "--json")

    def wrong(self, done: Done, how: str) -> str | None:
        if not done.ok or not self.shows or self._figure(done) == self.figure:
            return None
        return f"a damaged file gives another figure without a word: {self._figure(done)} for {self.figure}"

    def _figure(self, done: Done) -> float:
        return json.loads(done.out)["metrics"]["mIoU"]["value"]
