"""Predictions as files: writes and reads PNGs of class ids at each image's own size."""

from __future__ import annotations

import functools
import io
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.base.errors import BadInput, WrongName
from bench.base.escaping import one_line
from bench.base.files import write_with
from bench.base.json_files import read_json
from bench.base.parallel import Progress, default_workers, prefetch
from bench.cards.datasets import DatasetCard
from bench.data.palette import palette_of
from bench.protocols.base import Paint
from bench.protocols.prediction_maps import Map
from bench.records.record import Record, dumps

if TYPE_CHECKING:
    from PIL.Image import Image

ABOUT = "predictions.json"
LARGEST_ABOUT = 1 << 20
"""Bytes of it. What we write has some kilobytes."""
IDENTITY: dict[str, tuple[str, ...]] = {
    "model": ("model", "id"),
    "weights' hash": ("model", "weights_sha256"),
    "data set": ("dataset", "id"),
    "split": ("dataset", "split"),
    "number of images": ("dataset", "images"),
    "protocol": ("protocol", "id"),
    "fingerprint": ("protocol", "fingerprint"),
    "list of seeds": ("seeds",),
    "list of variations": ("protocol", "variations"),
}
"""What tells runs apart in a folder of predictions, and where a record has it."""
SEED_FOLDER = re.compile(r"^seed-(\d+)$")


def save(
    folder: Path,
    made: Record,
    card: DatasetCard,
    ids: Sequence[str],
    paint: Paint,
    progress: Progress | None = None,
) -> None:
    """Write one PNG per image, `<id>.png`; of several seeds, each below `seed-<seed>/`, in place of another run's.

    The PNGs are encoded as the data set's labels are: palette indices, or RGB. Without labels they hold cluster ids,
    counted from 1, and 0 for what belongs to none; RGB if there are more than 255. `predictions.json` beside them
    says what made them. Each file is written atomically.
    """
    seeds = made["seeds"]
    about = {key: made[key] for key in ("model", "dataset", "protocol", "seeds")}
    if _difference(read_about(folder) or about, about):
        _clear(folder)
    # first of all, so that even after a kill the folder is known as this run's
    write_with(folder / ABOUT, lambda stream: stream.write(dumps(about).encode()))
    wide = card.labels.encoding == "rgb" or _highest(made) > 255
    encode = encode_rgb if wide else functools.partial(encode_index, palette_of(card))
    total, done = len(ids) * max(1, len(seeds)), 0
    with ThreadPoolExecutor(default_workers(), "bench-writer") as pool:
        for number in range(max(1, len(seeds))):
            below = folder / f"seed-{seeds[number]}" if len(seeds) > 1 else folder
            write = functools.partial(_write, below, encode)
            for _ in prefetch(pool, write, zip(ids, paint(number, None), strict=True), depth=32):
                done += 1
                if progress:
                    progress(done, total)


def _clear(folder: Path) -> None:
    """Remove a run's predictions; an empty `seed-<seed>` left behind would pass for a set of them."""
    for path in folder.rglob("*.png"):
        path.unlink()
    for path in folder.glob("seed-*"):
        with suppress(OSError):  # what else lies there is not ours
            path.rmdir()


def require_free(folder: Path, run: dict[str, Any], fresh: bool) -> None:
    """Make sure that `folder` takes the predictions of this run, whose `IDENTITY` `run` has; `fresh` gives up others.

    Raises WrongName where it holds predictions of another run, or PNG files from elsewhere.
    """
    before = read_about(folder)
    if before is None and next(folder.rglob("*.png"), None) is not None:
        raise WrongName(
            f"{folder} holds PNG files that `bench run` did not write",
            "Give an empty or a new folder with --save-predictions.",
        )
    difference = _difference(before or run, run)
    if difference and not fresh:
        raise WrongName(
            f"{folder} holds predictions of another run: {difference}",
            "Give another folder with --save-predictions, or --fresh to remove them and start again.",
        )


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The first entry in which two runs differ, in words; empty if they are the same."""
    for name, path in IDENTITY.items():
        old, new = (functools.reduce(_entry, path, run) for run in (before, now))
        if old != new:
            return f"its {name} is {_short(old)}, not {_short(new)}"
    return ""


def _entry(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text if len(text) <= 40 else f"{text[:12]}…")


def read_about(folder: Path) -> Record | None:
    """What `predictions.json` says of the run that wrote a folder; None where it is missing or no JSON object."""
    try:
        value = read_json(folder / ABOUT, LARGEST_ABOUT)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _highest(made: Record) -> int:
    """The highest cluster id of a run without labels; 0 with labels."""
    return made["protocol"]["preset"]["clusters"] if made["dataset"].get("labelled") is False else 0


def _write(folder: Path, encode: Callable[[Map], Image], named: tuple[str, Map]) -> None:
    name, classes = named
    data = io.BytesIO()
    encode(classes).save(data, "PNG")
    write_with(folder / f"{name}.png", lambda stream: stream.write(data.getvalue()))


def encode_index(palette: bytes, classes: Map) -> Image:
    """Class ids up to 255 as a palette image."""
    from PIL import Image

    picture = Image.fromarray(classes.astype(np.uint8), mode="P")
    picture.putpalette(palette)
    return picture


def encode_rgb(classes: Map) -> Image:
    """Class ids up to 65535 as an RGB image: (id mod 256, id div 256, 0)."""
    from PIL import Image

    wide = classes.astype(np.uint16)
    return Image.fromarray(np.stack([wide & 255, wide >> 8, np.zeros_like(wide)], axis=-1).astype(np.uint8))


def seed_folders(folder: Path) -> list[tuple[int | None, Path]]:
    """The sets of predictions in a folder: its `seed-<seed>` folders in order, else the folder itself.

    Raises BadInput where it is no folder.
    """
    if not folder.is_dir():
        raise BadInput(f"no folder at {folder}", "Give the folder that holds the predictions.")
    matches = [(SEED_FOLDER.match(path.name), path) for path in folder.iterdir() if path.is_dir()]
    seeds = sorted((int(match[1]), path) for match, path in matches if match)
    return list(seeds) if seeds else [(None, folder)]
