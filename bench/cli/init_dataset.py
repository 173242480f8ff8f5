"""`bench init-dataset`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.console import echo, emit
from bench.cli.parameters import Deliberate, Place
from bench.cli.settings import echo_table, echo_wrapped

if TYPE_CHECKING:
    from bench.discover.card import Findings

VALUES = 40
"""At most this many label values are printed."""
_FORMS = {"index": "one value a pixel", "rgb": "RGB, id = R + 256·G", "colour": "colours"}
_EPILOG = """\b
Examples:
  bench init-dataset ~/photos                   write a card to the current folder
  bench init-dataset ~/photos --out cards/photos.toml --id photos
  bench init-dataset --template > my-data.toml  a card to fill in, with every key explained
"""


@click.command(name="init-dataset", epilog=_EPILOG)
@click.argument("folder", type=Place(), required=False)
@click.option("--out", type=Place(folder=False, writes=True), help="Path of the card. [default: ./<id>.toml]")
@click.option("--id", "name", help="The card's id. [default: the folder's name]")
@click.option("--every", is_flag=True, help="Open every mask. [default: at most 5000, spread evenly]")
@click.option("--without-labels", is_flag=True, help="Ignore the masks: write a card of images without labels.")
@click.option("--force", cls=Deliberate, is_flag=True, help="Replace an existing card.")
@click.option("--template", is_flag=True, help="Print a card that explains every key, and stop.")
def init_dataset(
    folder: Path | None,
    out: Path | None,
    name: str | None,
    every: bool,
    without_labels: bool,
    force: bool,
    template: bool,
) -> int:
    """Read a FOLDER of images and masks, and write a data-set card.

    It recognises folders (images/ and labels/, masks/, annotations/, …), names (x.jpg beside x.png or x_mask.png),
    train/val/test folders, lists as in PASCAL VOC, exports of labelme, CVAT and Roboflow, and images without masks.
    Lists of ids and paths are written beside the card.
    """
    from bench.base import folders
    from bench.cards.catalogue import TEMPLATE
    from bench.cli.progress import progress_bar
    from bench.discover.card import card_id, discover, write

    if template:
        emit((folders.folder("datasets") / TEMPLATE).read_text(encoding="utf-8"))
        return 0
    if folder is None:
        raise click.UsageError("Missing argument 'FOLDER'.")
    own = card_id(folder, name)
    path = out or Path(f"{own}.toml")
    if path.suffix != ".toml":
        raise click.UsageError("--out must end in .toml")
    with progress_bar() as show:
        step = partial(show, "looking at masks") if show else None
        found = discover(folder, every=every, labels=not without_labels, progress=step)
    written = write(found, path, own, force=force)
    _print(found, written)
    return 0


def _print(found: Findings, written: list[Path]) -> None:
    """Print what was found, what to check, and what to do next."""
    from bench.base.files import display
    from bench.runs.for_photos import MODEL, PROTOCOL

    echo_table(list(_facts(found)))
    checks = list(_checks(found))
    if checks:
        echo("\nto check:")
        for line in checks:
            echo_wrapped(line, "  - ")
    card = display(written[0])
    shown = card if "/" in card else f"./{card}"
    echo(f"\nwrote {', '.join(display(path) for path in written)}")
    echo(f"  bench show {shown} --pictures sheet.png")
    echo(f"  bench download {MODEL}")
    echo(f"  bench run --dataset {shown} --model {MODEL} --protocol {PROTOCOL}")


def _facts(found: Findings) -> Iterator[tuple[str, str]]:
    from bench.discover.opened import rgb_of

    tree, survey, proposal = found.tree, found.survey, found.proposal
    for split, pairs in found.splits.items():
        masked = [pair for pair in pairs if pair.label is not None]
        bare = len(pairs) - len(masked)
        what = f"{len(masked)} pairs of image and mask" if masked else f"{bare} images without masks"
        first = f"{masked[0].image} with {masked[0].label} first" if masked else f"{pairs[0].image} first"
        yield "split", f"{split}: {what}, {first}" + (f"; {bare} images without masks" if masked and bare else "")
    if tree.lists:
        yield "lists", ", ".join(tree.lists)
    yield "sizes", _sizes(found)
    if proposal is None:
        return
    yield "labels", _FORMS[survey.encoding] + (", with a palette" if survey.palette else "")
    names = dict(zip(proposal.values, proposal.classes, strict=True))
    tally = survey.tally
    total = tally.pixels.total()
    by_colour = survey.encoding == "colour"
    known = list(dict.fromkeys([*proposal.values, *tally.pixels]))
    known = known if by_colour else sorted(known)
    spelt = (lambda code: str(rgb_of(code))) if by_colour else str
    for value in known[:VALUES]:
        share = f"{100 * tally.pixels[value] / total:.2f} % of the pixels"
        held = f"{share}, in {tally.masks[value]} of {survey.usable} masks" if tally.pixels[value] else "in no mask"
        yield f"  {spelt(value)}", f"{names.get(value, 'ignored')}: {held}"
    if len(known) > VALUES:
        yield "  …", f"and {len(known) - VALUES} more, up to {spelt(known[-1])}"
    if proposal.mapped:
        yield "map", f"the values become the classes 0 to {len(proposal.classes) - 1}, in this order"
    if found.names:
        yield "names from", found.names.file


def _without_masks(found: Findings) -> Iterator[str]:
    """Of each split in which only some images have a mask, what becomes of the others."""
    from bench.discover.card import examples_of

    for split, pairs in found.splits.items():
        bare = [pair.image for pair in pairs if pair.label is None]
        if 0 < len(bare) < len(pairs):
            yield (
                f"{len(bare)} of {len(pairs)} images of {split} have no mask ({examples_of(bare)}): clusterings are of "
                f"all {len(pairs)}, and the {len(pairs) - len(bare)} with a mask judge them; other protocols see only "
                "these. Delete the lines of images that should have no part from the list beside the card"
            )


def _sizes(found: Findings) -> str:
    sizes = found.survey.sizes
    shown = ", ".join(f"{w}×{h} ({count})" for (h, w), count in sizes.most_common(3))
    return f"{len(sizes)}: {shown}" + (", …" if len(sizes) > 3 else "")


def _checks(found: Findings) -> Iterator[str]:
    from bench.discover.card import examples_of
    from bench.discover.opened import EXPLAINED

    tree, survey = found.tree, found.survey
    if survey.looked_at < survey.of:
        yield (
            f"{survey.looked_at} of {survey.of} were opened: values that only the others have are not in the card "
            "(--every opens all)"
        )
    for why, files in survey.unusable.items():
        yield f"left out: {len(files)}, {EXPLAINED[why]} ({examples_of(files)})"
    yield from _without_masks(found)
    for what, files in (
        ("masks have no image", tree.lone_masks),
        ("images are in no list", tree.unlisted),
    ):
        if files:
            yield f"left out: {len(files)} {what} ({examples_of(files)})"
    if survey.turned:
        yield (
            f"{len(survey.turned)} images have an EXIF orientation ({examples_of(survey.turned)}): they are read "
            "upright, unless the mask has the size that only the stored picture has. Look at the pictures; where that "
            'is wrong, set orientation = "stored" in the card'
        )
    yield from tree.notes
    yield from found.names.notes if found.names else ()
    if survey.strange and survey.encoding == "colour":
        yield f"a colour has no name in {found.names.file if found.names else 'any file'}: {survey.strange}"
    if found.proposal is not None:
        yield from found.proposal.checks
    yield "licence, title, and the number of clusters in the card"
