"""Archives: of data sets (.tar, .tar.gz, .zip), and submissions to a benchmark's server."""

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from bench.base.archives import unpack
from bench.cards.catalogue import dataset
from bench.cards.datasets import Split
from tests.fuzz import mutators
from tests.fuzz.bombs import zip_with_zeros
from tests.fuzz.kind import Done, Kind, call, command
from tests.fuzz.kinds.pictures import change_chunks
from tests.fuzz.world import World

FILES = {"data/list.txt": b"a\nb\n" * 40, "data/images/a.bin": bytes(range(256)) * 8, "data/empty": b""}
ENDINGS = ("tar", "tar.gz", "tgz", "zip")
HOSTILE_NAMES = (
    "../canary/x", "../../canary/new", "/absolute/x", "a/../../x", "..\\x", "C:\\x", "\\\\host\\x", "a\0b", "a\x1b[2Jb",
    "a\n::error::b", "x" * 300, "/".join("x" * 2000), "data", "data/list.txt/x", "", ".", "/", "~/x", "\u202etxt",
    "CON", "é", "e\u0301", "a/./b", "data/list.txt",
)  # fmt: skip
TYPES = (
    tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
    tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.DIRTYPE, b"Z",
)  # fmt: skip
ZEROS = 100_000_000


def tar_of(files: dict[str, bytes], extra: tarfile.TarInfo | None = None, form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if extra is not None:
            archive.addfile(extra, io.BytesIO(bytes(extra.size)))
    return stream.getvalue()


def zip_of(files: dict[str, bytes], level: int = 6) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name or "x"), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


class Archives(Kind):
    name = "archives"
    ending = "tar"
    shows = False
    """Whether a checksum covers what was damaged."""

    def put(self) -> None:
        self.ending, self.shows = "tar", True
        self.path.write_bytes(tar_of(FILES))

    @property
    def path(self) -> Path:
        return self.world.place / f"a.{self.ending}"

    def damage(self, random: Random) -> str:
        self.path.unlink()
        self.ending, self.shows = random.choice(ENDINGS), False
        if random.random() < 0.5:
            self.path.write_bytes(zip_of(FILES) if self.ending == "zip" else self._packed(tar_of(FILES)))
            self.shows = self.ending != "tar"
            return self.damage_file(random, self.path)
        how, data = self._hostile_zip(random) if self.ending == "zip" else self._hostile_tar(random)
        self.path.write_bytes(data)
        return how

    def _packed(self, data: bytes) -> bytes:
        return data if self.ending == "tar" else gzip.compress(data, 1)

    def _hostile_tar(self, random: Random) -> tuple[str, bytes]:
        entry = tarfile.TarInfo(random.choice(HOSTILE_NAMES))
        entry.type = random.choice((tarfile.REGTYPE, *TYPES))
        entry.linkname = random.choice(("", "../canary/x", "/dev/zero", "data/list.txt", *HOSTILE_NAMES))
        entry.size = random.choice((0, 0, 100, ZEROS)) if entry.type == tarfile.REGTYPE else 0
        entry.mode, entry.uid = random.choice((0o644, 0, 0o7777)), random.choice((0, 2**21))
        form = random.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
        if random.random() < 0.3:
            entry.pax_headers = {
                random.choice(("path", "size", "linkpath", "GNU.sparse.major", "x", "mtime")): random.choice(
                    mutators.TEXT_VALUES[:20]
                )
                .encode(errors="replace")
                .decode()
            }
        try:
            data = tar_of(FILES, entry, form)
        except (ValueError, OSError, UnicodeError):
            data = tar_of(FILES, None, form)
        return f"{entry.name!r:.40} of type {entry.type!r}, {entry.size} bytes", self._packed(data)

    def _hostile_zip(self, random: Random) -> tuple[str, bytes]:
        way = random.randrange(4)
        name = random.choice(HOSTILE_NAMES)
        if way == 0:
            return f"{name!r:.40}", zip_of(FILES | {name: b"x"})
        if way == 1:
            honest = random.random() < 0.5
            return "gigabytes of zeros", zip_with_zeros(FILES, "data/zeros", honest=honest)
        if way == 2:
            stream = io.BytesIO(zip_of(FILES))
            with zipfile.ZipFile(stream, "a") as archive:
                entry = zipfile.ZipInfo("data/link")
                entry.external_attr = random.choice((0o120777, 0o010644, 0o020644, 0o140644, 0o104755)) << 16
                archive.writestr(entry, random.choice(("../canary/x", "/dev/zero")))
            return "a link or a special file", stream.getvalue()
        return _change_directory(random, zip_of(FILES))

    def use(self, random: Random) -> Done:
        target = self.world.out / "unpacked"
        return call(lambda: unpack(self.path, target) or contents(target))

    def wrong(self, done: Done, how: str) -> str | None:
        target = self.world.out / "unpacked"
        if not done.ok:
            return f"something is left: {list(target.rglob('*'))[:3]}" if target.exists() else None
        if self.shows and done.value != FILES:
            return "a damaged archive gives other files without a word"
        return None


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _change_directory(random: Random, data: bytes) -> tuple[str, bytes]:
    """A field of a member's entry in the directory says something else."""
    at = random.choice([i for i in range(len(data)) if data.startswith(b"PK\1\2", i)])
    name, (offset, form) = random.choice(
        list({"flags": (8, "<H"), "method": (10, "<H"), "crc": (16, "<I"), "packed": (20, "<I"), "size": (24, "<I"),
              "name length": (28, "<H"), "disk": (34, "<H"), "mode": (38, "<I"), "place": (42, "<I")}.items())
    )  # fmt: skip
    value = random.choice((0, 1, 8, 99, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)) & (0xFFFF if form == "<H" else 0xFFFFFFFF)
    changed = bytearray(data)
    struct.pack_into(form, changed, at + offset, value)
    return f"{name} is {value}", bytes(changed)


S50 = "imagenet-s-50"
IMAGES = {f"n{number:08d}/n{number:08d}_0": number for number in range(1, 51)}


class Submissions(Kind):
    """A zip of predictions for ImageNet-S's server, as `bench export --verify` checks it."""

    name = "submissions"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        dataset(S50).splits["test"] = Split(images=len(IMAGES))
        self.files = {f"{name}.png": _ids(number) for name, number in IMAGES.items()}
        self.files["method.txt"] = b"method: mine\ndata set: imagenet-s-50\nsplit: test\nids: clusters\ntrack: free\n"
        pairs = (f'"{i}": {i}' for i in range(51))
        self.files["match.json"] = ("{" + ", ".join(pairs) + "}").encode()
        self.sound = zip_of(self.files)

    @property
    def path(self) -> Path:
        return self.world.place / "a.zip"

    def put(self) -> None:
        self.path.write_bytes(self.sound)

    def damage(self, random: Random) -> str:
        how = random.random()
        if how < 0.3:
            return self.damage_file(random, self.path)
        if how < 0.4:
            how, data = _change_directory(random, self.sound)
            self.path.write_bytes(data)
            return how
        files = dict(self.files)
        name = random.choice(("method.txt", "match.json", "match.json", *random.sample(list(files), 4)))
        if how < 0.6:
            files[random.choice(HOSTILE_NAMES)] = files.pop(name)
            done = f"{name} renamed"
        elif name.endswith(".png") and how < 0.85:
            done, files[name] = change_chunks(random, files[name])
        elif how < 0.9:
            done, files[name] = mutators.changed(random, files[name], mutators.TEXTS)
        else:
            value = random.choice(
                (bytes(ZEROS), b"[" * 100_000, b'{"0": 0, "1": ' + b"9" * 5000 + b"}", b'{"\\ud800": 1}')
            )
            done, files[name] = "other content", value
        self.path.write_bytes(zip_of(files, 1))
        return f"{name}: {done}"

    def use(self, random: Random) -> Done:
        return command("export", "--verify", "a.zip", *random.choice(((), (), ("--json",), ("--dataset", S50))))


def _ids(number: int) -> bytes:
    array = np.zeros((12, 16, 3), np.uint8)
    array[3:9, 4:12, 0] = number
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()
