"""A progress bar on a terminal; nothing anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from bench.base.escaping import printable

Show = Callable[..., None]
"""Called with (what, done, total), and with a note where there is more to say."""


@contextmanager
def progress_bar(unit: Literal["images", "bytes"] = "images") -> Iterator[Show | None]:
    """A function to call with (what, done, total, note=""), or None where stderr is not a terminal.

    `total` is None if it is not known.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Images per second."""

        def render(self, task: object) -> Text:
            speed = getattr(task, "speed", None)
            return Text(f"{speed:.1f} images/s" if speed else "")

    amounts = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(), Rate())
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), *amounts, TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int | None, note: str = "") -> None:
            if what not in tasks:
                # what came from the cache took no time and must not count in the rate
                tasks[what] = int(bar.add_task(printable(what), total=total, completed=done - 1, note=""))
            bar.update(tasks[what], completed=done, note=printable(note))  # type: ignore[arg-type]

        yield show
