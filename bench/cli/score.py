"""`bench score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.base.errors import WrongName
from bench.cli.completion import splits
from bench.cli.console import echo_warning, emit
from bench.cli.parameters import Place, Prose
from bench.cli.settings import (
    NAMED_BY,
    cache_option,
    data_root_of,
    data_root_option,
    dataset_option,
    entries_option,
    results_folder,
    results_option,
)

if TYPE_CHECKING:
    from bench.runs.score_folder import Matching

_EPILOG = """\b
Examples:
  bench score predictions --dataset pascal-voc --data-root ~/VOCdevkit
  bench score masks --dataset davis --split val-2017 --data-root ~/DAVIS
  bench score maps --dataset ecssd --data-root ~/ECSSD --protocol saliency --set rules=pysodmetrics
  bench score boxes.json --dataset voc2007 --data-root ~/VOCdevkit --protocol discovery
  bench score clusters --dataset pascal-voc --match iou --name my-model --supervision none
"""


@click.command(epilog=_EPILOG)
@click.argument("folder", metavar="DIR", type=Place())
@dataset_option
@click.option("--split", shell_complete=splits, help="Split that was predicted. [default: the data set's own]")
@data_root_option
@click.option(
    "--match",
    "matching",
    type=click.Choice(["none", "iou", "pixels", "images"]),
    default="none",
    show_default=True,
    help="none: the PNGs contain class ids. iou, pixels, images: they contain cluster ids, which are matched to "
    "classes. The matching maximises the summed IoU, the matched pixels, or the images that have both (ImageNet-S; "
    "there 0 must be background, and stays background).",
)
@click.option(
    "--protocol",
    type=click.Choice(["saliency", "discovery"]),
    help="saliency: the PNGs are masks or maps of the foreground, grey values from 0 to 255. discovery: DIR is a JSON "
    "file of a box for each image, holds a boxes.json, or holds masks. [default: the PNGs hold ids]",
)
@entries_option("preset", "protocols")
@click.option("--name", metavar="ID", help=f"The model's id in the record. [default: {NAMED_BY}]")
@click.option(
    "--supervision", type=Prose(), metavar="TEXT", help="The model's supervision: the labels that it has seen."
)
@click.option(
    "--limit", type=click.IntRange(1, 10**9), help="Use only the first N images. The record is marked as limited."
)
@results_option
@cache_option
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
def score(
    folder: Path,
    dataset: str,
    data_root: tuple[str, ...],
    matching: Matching,
    protocol: str | None,
    supervision: str | None,
    results: Path | None,
    as_json: bool,
    **settings: Any,
) -> int:
    """Score a folder of predictions that any program wrote.

    DIR has one PNG per image, <id>.png, at the image's own size: 8-bit palette or greyscale, or RGB
    (id = R + 256·G) if the data set's labels are RGB. For video it has one PNG of object ids per frame,
    <sequence>/<frame>.png. Subfolders seed-1, seed-2, … are scored as seeds.
    """
    from bench.cli.progress import progress_bar
    from bench.cli.summary import print_record
    from bench.protocols.base import Settings
    from bench.records.record import dumps
    from bench.runs.score_folder import score_folder
    from bench.runs.score_foreground import score_foreground

    with progress_bar() as progress:
        chosen = Settings(
            data_root=data_root_of(dataset, data_root),
            progress=progress,
            warn=echo_warning,
            **settings,
        )
        place = results_folder(results)
        if protocol is not None:
            _require_none(matching, protocol)
            stored = score_foreground(folder, dataset, protocol, place, chosen, supervision=supervision)
        else:
            _require_ids(folder, settings["entries"])
            stored = score_folder(folder, dataset, place, chosen, matching=matching, supervision=supervision)
    if as_json:
        emit(dumps(stored.record))
    else:
        print_record(stored)
    return 0


def _require_none(matching: str, protocol: str) -> None:
    if matching != "none":
        raise WrongName(f"--match {matching} is for class ids, not for --protocol {protocol}", "Leave --match out.")


def _require_ids(folder: Path, entries: dict[str, Any]) -> None:
    """Raises WrongName for what only another protocol takes: entries, or a file."""
    if entries:
        raise WrongName("--set has no effect on class ids", "Leave it out, or name the --protocol.")
    if folder.is_file():
        raise WrongName(f"{folder} is a file, and class ids are a folder of PNGs", "Give the folder.")
