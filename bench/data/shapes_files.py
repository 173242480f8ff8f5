"""The files of the built-in data set `shapes`: written once, verified ever after, drawn again where they are damaged.

Layout under a root folder:

    images/<id>.jpg               JPEG, quality 95, 4:4:4
    SegmentationClass/<id>.png    palette PNG: 0 background, 1..20 classes, 255 void border
    sets/<split>.hashes.json      SHA-256 of each of these files, as written
    sets/<split>.txt              one id per line; written last, so its presence marks a complete split

The hashes are kept and not published: another version of the JPEG encoder may write other bytes.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from PIL import Image

from bench.base.files import display, read_regular, umask
from bench.base.own_files import load_json, save_json
from bench.base.parallel import default_workers
from bench.base.temporaries import temporary_file
from bench.data.palette import voc_palette
from bench.data.shapes import draw

_logger = logging.getLogger("bench")
_LARGEST = 16 << 20
"""Bytes of a file; ours have some ten thousand."""
_STRETCH = 64
"""Files that one task hashes."""


def write_split(root: Path, split: str, count: int, progress: Callable[[int], None] | None = None) -> None:
    """Have `count` images of a split under `root`, each as it was written; what is missing or damaged is drawn again.

    `progress` is called from this thread with the number of images done so far, if any is drawn.
    """
    marker = root / "sets" / f"{split}.txt"
    ids = "".join(f"{name}\n" for name in _names(split, range(count))).encode()
    before, listed = os.path.lexists(marker), _content(marker) == ids
    hashes = _read_hashes(root, split, count)
    damaged = range(count) if hashes is None else _damaged(root, split, hashes)
    changed = 0
    if damaged:
        for folder in ("images", "SegmentationClass", "sets"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        written = _draw_all(root, split, damaged, count, progress)
        changed = sum(changed for _, changed in written)
        known = dict(zip(_files(split, range(count)), hashes or (), strict=False))
        try:
            save_json(
                _receipt(root, split), {"files": known | {k: v for files, _ in written for k, v in files.items()}}
            )
        except OSError:
            if changed or not listed:
                raise
            return  # all is sound, in a cache that cannot be written
    if not listed:
        _put(marker, ids)
    if before and (changed or not listed):
        what = f"{changed} of its {count} images are drawn again" if changed else "its list is written again"
        _logger.warning("the built-in data set at %s was damaged: %s", display(root), what)


def _names(split: str, indices: Iterable[int]) -> list[str]:
    return [f"{split}_{index:05d}" for index in indices]


def _files(split: str, indices: Iterable[int]) -> list[str]:
    """The files of these images, two of each, below the root."""
    return [file for name in _names(split, indices) for file in (f"images/{name}.jpg", f"SegmentationClass/{name}.png")]


def _receipt(root: Path, split: str) -> Path:
    return root / "sets" / f"{split}.hashes.json"


def _read_hashes(root: Path, split: str, count: int) -> list[str] | None:
    """The hash of every file of a split, two an image; None where they are not known."""
    kept = (load_json(_receipt(root, split)) or {}).get("files")
    files = _files(split, range(count))
    if not isinstance(kept, dict) or kept.keys() != set(files):
        return None
    return [str(kept[file]) for file in files]


def _damaged(root: Path, split: str, hashes: Sequence[str]) -> list[int]:
    """The images of which a file is missing, or is not as it was written."""
    files = _files(split, range(len(hashes) // 2))

    def look(start: int) -> list[int]:
        places = range(start, min(start + _STRETCH, len(files)))
        return [place // 2 for place in places if _digest(_content(root / files[place])) != hashes[place]]

    with ThreadPoolExecutor(default_workers()) as pool:
        return sorted({index for found in pool.map(look, range(0, len(files), _STRETCH)) for index in found})


def _content(path: Path) -> bytes | None:
    """A file's bytes; None where it is not there or cannot be read."""
    with suppress(OSError):
        return read_regular(path, _LARGEST)
    return None


def _digest(data: bytes | None) -> str:
    return "" if data is None else hashlib.sha256(data).hexdigest()


Written = tuple[dict[str, str], bool]
"""The hashes of an image's files, and whether one of them was not as it is now."""


def _draw_all(
    root: Path, split: str, indices: Sequence[int], count: int, progress: Callable[[int], None] | None
) -> list[Written]:
    """Draw images and write what is not there yet. Drawing and encoding are mostly code that lets other threads run."""
    found = []
    with ThreadPoolExecutor(default_workers()) as pool:
        try:
            jobs = [pool.submit(partial(_write_image, root, split, index, count)) for index in indices]
            for done, job in enumerate(jobs, start=1):
                found.append(job.result())
                if progress is not None:
                    progress(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # do not draw the rest before failing
            raise
    return found


def _write_image(root: Path, split: str, index: int, count: int) -> Written:
    """Draw one image and write those of its two files that are not so already: a file's time is in the cache's key."""
    image, label = draw(split, index, count)
    picture, mask = io.BytesIO(), io.BytesIO()
    Image.fromarray(image).save(picture, "JPEG", quality=95, subsampling=0)
    paletted = Image.frombytes("P", (label.shape[1], label.shape[0]), label.tobytes())
    paletted.putpalette(voc_palette())
    paletted.save(mask, "PNG")
    hashes, changed = {}, False
    for file, data in zip(_files(split, [index]), (picture.getvalue(), mask.getvalue()), strict=True):
        if _content(root / file) != data:
            _put(root / file, data)
            changed = True
        hashes[file] = _digest(data)
    return hashes, changed


def _put(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, whoever else writes it at the same time.

    Unlike `bench.base.files.write_with` it does not wait for the disk: these are thousands of files, and what a power
    loss leaves of them is found by their hashes.
    """
    handle, temporary = temporary_file(path)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        temporary.chmod(0o666 & ~umask())
        temporary.replace(path)  # atomic, as both lie in one folder
    finally:
        temporary.unlink(missing_ok=True)
