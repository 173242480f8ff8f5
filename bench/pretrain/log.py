"""The log of a training run: a CSV file with a row per epoch, and the same figures as TensorBoard events."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.base.errors import Warn
from bench.base.files import atomic_write
from bench.pretrain.checkpoint import environment_errors

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FILE = "log.csv"
EVENTS = "tensorboard"
COLUMNS = (
    "epoch", "step", "loss", "contrastive", "saliency", "accuracy", "lr", "images_per_second", "seconds",
    "held_out_miou",
)  # fmt: skip
"""`epoch` and `step` count from 1; losses and accuracy are means over the epoch, over all ranks; `seconds` is
this epoch's; `held_out_miou`, in percent, stands where `--eval-every` came round."""

RUN = "run.json"

Row = Mapping[str, float | int | None]


class Log:
    """Appends rows; on resumption, rows after the checkpoint are dropped first."""

    def __init__(self, folder: Path, step: int, warn: Warn) -> None:
        """`step` is the number of steps that are done: rows of later ones are from a run that was killed.

        A file that is no such log is set aside with a warning.
        """
        self._path = folder / FILE
        self._rows = [row for row in _read(self._path, warn) if int(row["step"]) <= step]
        self._events = _open_events(folder / EVENTS, step, warn)

    def add(self, row: Row) -> None:
        """Append a row. Raises BadEnvironment where it cannot be written."""
        self._rows.append({key: _text(row.get(key)) for key in COLUMNS})
        with environment_errors(self._path):
            self._write()
            if self._events is not None:
                for key, value in row.items():
                    if key not in ("epoch", "step") and value is not None:
                        self._events.add_scalar(key, value, row["step"])
                self._events.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._events is not None:
            self._events.close()

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        with atomic_write(self._path) as stream:
            stream.write(text.getvalue().encode())


def write_run(folder: Path, entries: Mapping[str, Any]) -> None:
    """Write `run.json`: what was trained, on what, how and by which version."""
    text = json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
    with environment_errors(folder / RUN), atomic_write(folder / RUN) as stream:
        stream.write(text.encode())


def _read(path: Path, warn: Warn) -> list[dict[str, str]]:
    """The rows of an earlier log; none where it is absent, or damaged and therefore set aside."""
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            header, *lines = csv.reader(stream, strict=True)
        if tuple(header) != COLUMNS:
            raise ValueError("other columns")
        rows = [dict(zip(COLUMNS, line, strict=True)) for line in lines]
        for row in rows:
            int(row["step"])
    except (ValueError, csv.Error):
        names = (path.with_name(f"log.damaged-{n}.csv") for n in itertools.count(1))
        aside = next(name for name in names if not name.exists())
        with environment_errors(aside):
            path.rename(aside)
        warn(f"{path} is not a log of this program: it is kept as {aside.name}, and a new log is started")
        return []
    return rows


def _text(value: float | int | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _open_events(folder: Path, step: int, warn: Warn) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        warn("tensorboard is not installed: the log is written as CSV only (pip install 'maskcontrast-bench[train]')")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
