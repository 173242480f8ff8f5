"""Card: writes what was found in a folder as a data-set card, with its list files beside it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from bench.base.errors import BadInput, WrongName
from bench.base.files import atomic_write
from bench.base.parallel import Progress
from bench.cards import catalogue
from bench.cards.card import ID_PATTERN, first_problem
from bench.cards.datasets import DatasetCard
from bench.discover.classes import Proposal, id_ranges, propose
from bench.discover.file_words import SPLITS, words_in
from bench.discover.masks import LOOKED_AT, Survey, survey
from bench.discover.masks_taken_for_images import look_like_masks, twin_folders
from bench.discover.names import Names, find_names, of_colour_lines
from bench.discover.opened import EXPLAINED, rgb_of
from bench.discover.tree import WHOLE, Pair, Tree, look_at

SIDES = (64, 512)
"""The proposed input's side, in pixels, lies between these."""
STEP = 32
"""And is a multiple of this."""
CLUSTERS = 20
"""Proposed where no classes are known, if there are ten times as many images."""


@dataclass(frozen=True)
class Findings:
    """What a folder holds, and what a card of it would say."""

    folder: Path
    tree: Tree
    survey: Survey
    names: Names | None
    proposal: Proposal | None
    """None without labels."""
    splits: dict[str, tuple[Pair, ...]]
    """As the list files have them: without what cannot be used."""

    @property
    def default_split(self) -> str:
        """What a run evaluates on: `val`, else `test`, else the first; one with labels before one without.

        A list may be called `val_id` or `validation`.
        """
        roles = {name: [name, *(SPLITS[word] for word in words_in(name) if word in SPLITS)] for name in self.splits}
        order = sorted(self.splits, key=lambda name: (WHOLE not in roles[name], "test" not in roles[name]))
        labelled = [name for name in order if has_masks(self.splits[name])]
        return (labelled or order)[0]


def discover(folder: Path, *, every: bool = False, labels: bool = True, progress: Progress | None = None) -> Findings:
    """Look at a folder; of more than 5000 pairs, so many spread evenly, unless `every` is set.

    Without `labels` the masks are left alone. Raises BadInput where there is nothing to write a card of.
    """
    tree, names, found = _survey(folder, every, labels, progress)
    if labels and tree.side_by_side and found.pictures and not found.encoding:
        tree, names, found = _survey(folder, every, labels, progress, copies=True)
    _require_usable(folder, tree, found, names, labels)
    splits = {
        split: tuple(pair for pair in members if pair.image not in found.left_out)
        for split, members in tree.splits.items()
    }
    splits = {split: members for split, members in splits.items() if members}
    tree.notes += twin_folders(folder, [pair for members in splits.values() for pair in members])
    proposal = propose(found, names) if found.encoding else None
    return Findings(folder, tree, found, names, proposal, splits)


def _survey(
    folder: Path, every: bool, labels: bool, progress: Progress | None, *, copies: bool = False
) -> tuple[Tree, Names | None, Survey]:
    """What a folder holds by its names, what its classes are called, and what is in its pictures."""
    tree = look_at(folder, labels=labels, copies=copies)
    pairs = [pair for members in tree.splits.values() for pair in members]
    names = find_names(folder, tree.texts) if labels and tree.labelled else None
    limit = None if every else LOOKED_AT
    return tree, names, survey(folder, pairs, limit, progress, names.colours if names else ())


def _require_usable(folder: Path, tree: Tree, found: Survey, names: Names | None, labels: bool) -> None:
    """Raises BadInput where masks were meant to be there and none can be used, or no image can."""
    why, files = max(found.unusable.items(), key=lambda entry: len(entry[1]), default=("", []))
    if labels and tree.labelled and not found.encoding:
        unnamed = f" ({names.file} lacks {found.strange})" if names and found.strange else ""
        if names and not names.colours and of_colour_lines(names.file):
            unnamed = f" ({names.file} names no colour: each of its lines should be `R G B name`, or `name R G B`)"
        raise BadInput(
            f"no mask in {folder} can be used; {len(files)} of {found.looked_at} ({files[0]} first): "
            f"{EXPLAINED[why]}{unnamed}",
            "Convert them, or ignore them with --without-labels.",
        )
    if found.looked_at == len(found.left_out):
        raise BadInput(
            f"no image in {folder} can be used; {files[0]} first: {EXPLAINED[why]}",
            "Convert them, or fetch them again.",
        )
    if labels and not tree.labelled:
        _require_no_masks(folder, tree)


def _require_no_masks(folder: Path, tree: Tree) -> None:
    """Raises BadInput where no image has a mask, although masks are there or pass for images."""
    images, masks = [pair.image for pairs in tree.splits.values() for pair in pairs], tree.lone_masks
    if tree.strangers:
        mask, image = tree.strangers
        raise BadInput(
            f"{folder} holds {len(masks)} masks, and the folders do not tell which image each belongs to: {mask} and "
            f"{image}, for example, have the same name",
            "Put images into images/ and masks into labels/, with the same paths below them, or give --without-labels.",
        )
    if masks:
        raise BadInput(
            f"{folder} holds {len(masks)} masks ({masks[0]} first) and none has the name of an image ({images[0]} "
            "first)",
            "Give each mask the name of its image, or ignore the masks with --without-labels.",
        )
    if look_like_masks(folder, images):
        raise BadInput(
            f"{folder} holds {len(images)} pictures that look like masks ({images[0]} first) and no image",
            "Give the folder above, which holds the images as well. If these are the images, give --without-labels.",
        )


def card_id(folder: Path, given: str | None) -> str:
    """The card's id: as given, else from the folder's name. Raises WrongName for one that cannot be or is taken."""
    if given is not None:
        if not re.fullmatch(ID_PATTERN, given):
            raise WrongName(
                f"'{given}' is not allowed as a card's id", "Use lower case letters, digits and . _ + - only."
            )
        if given in catalogue.datasets():
            raise WrongName(f"'{given}' is a built-in card's id", "Give your card another id with --id.")
        return given
    stem = re.sub(r"[^a-z0-9._+-]+", "-", folder.resolve().name.lower()).strip("-.+_")[:60] or "data"
    return f"my-{stem}" if stem in catalogue.datasets() else stem


def write(found: Findings, path: Path, name: str, *, force: bool = False) -> list[Path]:
    """Write a card to `path` and its list files beside it; returns all paths, the card first.

    Raises BadInput where one is there already, unless `force` is set.
    """
    lists = {split: path.with_name(f"{path.stem}.{split}.tsv") for split in found.splits}
    there = [each for each in (path, *lists.values()) if each.exists()]
    if there and not force:
        raise BadInput(f"{there[0]} exists already", "Give another file with --out, or replace it with --force.")
    text = card_text(found, name, path.parent, {split: each.name for split, each in lists.items()})
    try:
        content = text.encode()
        DatasetCard.model_validate(tomllib.loads(text))
    except UnicodeEncodeError as error:
        raise BadInput(
            f"no card can hold the name of {str(found.folder)!r}: it is no UTF-8", "Rename the folder."
        ) from error
    except ValidationError as error:
        raise BadInput(
            f"no card fits {found.folder}: {first_problem(error)}",
            "Write one by hand: `bench init-dataset --template` explains every key.",
        ) from error
    for split, pairs in found.splits.items():
        rows = ["\t".join((pair.id, pair.image, pair.label or "")) for pair in pairs]
        with atomic_write(lists[split]) as stream:
            stream.write("\n".join(["id\timage\tlabel", *rows, ""]).encode())
    with atomic_write(path) as stream:
        stream.write(content)
    return [path, *lists.values()]


def card_text(found: Findings, name: str, beside: Path, lists: dict[str, str]) -> str:
    """The card as TOML; `beside` is the folder that it will lie in, `lists` the file of each split."""
    title = found.folder.resolve().name or name
    parts = [
        f"# Written by `bench init-dataset`; `bench init-dataset --template` explains every key.\n"
        f'schema = 1\nid = {quoted(name)}\ntitle = {quoted(title)}\nlicence = "not stated"\n'
        f"root = {quoted(_root(found.folder, beside))}\ndefault_split = {quoted(found.default_split)}\n"
    ]
    if found.proposal:
        parts[0] += _classes(found.proposal)
        parts.append(_labels(found.proposal, found.survey.encoding))
    for split, pairs in found.splits.items():
        masks = sum(pair.label is not None for pair in pairs)
        some = f", {masks} of them with masks," if 0 < masks < len(pairs) else ""
        parts.append(f'[splits.{key(split)}]\nnote = "{len(pairs)} images{some} when this card was written"\n')
    layout = ['[[layouts]]\nname = "as listed"\n']
    for split, pairs in found.splits.items():
        layout.append(f'[layouts.splits.{key(split)}]\nlist = {quoted(lists[split])}\nlisting = "table"\n')
        layout.append('image = "{image}"\n' + ('label = "{label}"\n' if has_masks(pairs) else ""))
    return "\n".join([*parts, "".join(layout), *_protocols(found)])


def _root(folder: Path, beside: Path) -> str:
    """The folder relative to the card's where it lies below it, else its whole path."""
    own, start = folder.resolve(), beside.resolve()
    return os.path.relpath(own, start) if own.is_relative_to(start) else str(own)


def _classes(proposal: Proposal) -> str:
    names = ", ".join(map(quoted, proposal.classes))
    lines = f"classes = [{names}]\n"
    if proposal.palette:
        lines += "palette = [" + ", ".join(f"[{r}, {g}, {b}]" for r, g, b in proposal.palette) + "]\n"
    return lines


def _labels(proposal: Proposal, encoding: str) -> str:
    lines = f'[labels]\nencoding = "{encoding}"\nignore = {proposal.ignore}\n'
    if encoding == "colour":
        void = ", ".join(str(list(rgb_of(code))) for code in proposal.void)
        return lines + (f"ignored_colours = [{void}]\n" if void else "")
    if proposal.mapped:
        void_rows = [((value, value), (proposal.ignore, proposal.ignore)) for value in proposal.void]
        ranges = sorted([*id_ranges(proposal.values), *void_rows])
        rows = [f"    {{ ids = {list(ids)}, classes = {list(classes)} }},\n" for ids, classes in ranges]
        lines += "map = [\n" + "".join(rows) + "]\n"
    return lines


def _protocols(found: Findings) -> list[str]:
    split = found.splits[found.default_split]
    side = proposed_side(found.survey)
    labelled = found.proposal is not None and has_masks(split)
    classes = len(found.proposal.classes) if found.proposal else 0
    wanted = classes - 1 if labelled else min(CLUSTERS, len(split) // 10)
    clusters = max(2, min(wanted, len(split)))
    entries = f"input = [{side}, {side}]\n"
    why = "# one fewer than the classes: what the model's saliency leaves over is the background\n"
    fewer = why if labelled and clusters == classes - 1 else ""
    blocks = [
        f"[protocols.clustering]\n{entries}{fewer}clusters = {clusters}\n",
        f"[protocols.clustering-dense]\n{entries}clusters = {max(2, classes if labelled else clusters)}\n",
    ]
    train = found.splits.get("train", ())
    if labelled and found.default_split != "train" and has_masks(train):
        blocks.append(f'[protocols.linear]\n{entries}train = "train"\n')
    return blocks


def proposed_side(found: Survey) -> int:
    """Half of the images have a longer side of this or less; between 64 and 512, a multiple of 32."""
    longest = sorted(max(size) for size, count in found.sizes.items() for _ in range(count))
    middle = longest[len(longest) // 2]
    return min(SIDES[1], max(SIDES[0], round(middle / STEP) * STEP))


def quoted(text: str) -> str:
    """A TOML string of one line."""
    escaped = {'"': '\\"', "\\": "\\\\"}
    signs = (escaped.get(sign, f"\\u{ord(sign):04x}" if ord(sign) < 32 or ord(sign) == 127 else sign) for sign in text)
    return f'"{"".join(signs)}"'


def key(name: str) -> str:
    """A name as a part of a TOML key."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else quoted(name)


def has_masks(pairs: Sequence[Pair]) -> bool:
    """Whether any image has a mask."""
    return any(pair.label is not None for pair in pairs)


def examples_of(files: Sequence[str], number: int = 3) -> str:
    """The first few of many names."""
    return ", ".join(files[:number]) + (", …" if len(files) > number else "")
