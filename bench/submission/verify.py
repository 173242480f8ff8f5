"""Verify: lists every problem for which the server could not score an archive."""

from __future__ import annotations

import functools
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bench.base.archive_members import CHUNK, DAMAGE, Hostile, Limits, Member, safe_path, zip_members
from bench.base.errors import BadInput, WrongName
from bench.base.files import cache_folder
from bench.base.parallel import default_workers, prefetch
from bench.cards import catalogue
from bench.cards.datasets import DatasetCard
from bench.data.find_samples import find_samples
from bench.protocols.base import Settings
from bench.submission.form import (
    DATASET,
    MATCH,
    METHOD,
    SPLIT,
    read_match,
    read_method,
    require_server,
    takes_submissions,
)
from bench.submission.one_prediction import Wanted, allowed, problem_of

SHOWN = 10
LIMITS = Limits(members=200_000)
TEXT = 1 << 20
"""Bytes of a text file, at most."""
_FOLDER = re.compile(r"n\d{8}")


@dataclass
class Verified:
    """What was found."""

    archive: Path
    dataset: str
    split: str
    predictions: int = 0
    problems: list[str] = field(default_factory=list)
    """The first `SHOWN`, in words."""
    more: int = 0
    """How many others there are."""

    def add(self, problem: str) -> None:
        """One more problem."""
        if len(self.problems) < SHOWN:
            self.problems.append(problem)
        else:
            self.more += 1

    @property
    def lines(self) -> list[str]:
        """The problems, and how many more there are."""
        return self.problems + ([f"and {self.more} more"] if self.more else [])


def verify(archive: Path, dataset: str | None, settings: Settings) -> Verified:
    """Check an archive against a split of a data set.

    With `settings.data_root` against its images, name by name and in size; else for what it must hold in any case, and
    in number. Without `dataset` and `settings.split` they are what `method.txt` says, the split `test` if it says none.
    Raises BadInput for what is no archive or is refused whole: one that leads out, has links, or unpacks to too much;
    WrongName for a `dataset` or a split that is not known.
    """
    if archive.exists() and not archive.is_file():
        raise BadInput(f"{archive} cannot be read: it is no regular file", "Give the zip of a submission.")
    try:
        opened = zipfile.ZipFile(archive)
    except OSError as error:
        raise BadInput(f"{archive} cannot be read: {error.strerror}", "Give the zip of a submission.") from error
    except DAMAGE as error:
        raise BadInput(f"{archive} is damaged or not a zip: {error}", "Write the archive again.") from error
    with opened:
        try:
            return _verify(opened, archive, dataset, settings)
        except Hostile as error:
            raise BadInput(
                f"{archive} is refused: {error}", "Write the archive again, without that. Nothing was unpacked."
            ) from error


def _verify(opened: zipfile.ZipFile, archive: Path, dataset: str | None, settings: Settings) -> Verified:
    found = Verified(archive, dataset or "", settings.split or "")
    members = _members(opened, archive, found)
    about = _method(members, found)
    card = _card(dataset, about, found)
    if card is None:
        return found
    found.dataset, found.split = card.id, _split(settings.split, about, card, found)
    _compare_ids(about.get("ids", ""), MATCH in members, found)
    match = _match(members.pop(MATCH, None), len(card.classes), found)
    names = _images(card, found.split, settings)
    predictions = _predictions(members, card, names, found)
    found.predictions = len(predictions)
    wanted = Wanted(
        names or dict.fromkeys(predictions),
        allowed(match.keys() if match else range(len(card.classes))),
        f"{MATCH} has no such cluster" if match else f"{card.id} has 0..{len(card.classes) - 1}",
    )
    progress = settings.stage("checking")
    check = functools.partial(problem_of, wanted=wanted)
    with ThreadPoolExecutor(default_workers(), "bench-loader") as pool:
        contents = _contents(predictions, LIMITS.of(archive), found)
        for done, problem in enumerate(prefetch(pool, check, contents, depth=2 * default_workers()), start=1):
            if problem:
                found.add(problem)
            if progress:
                progress(done, len(predictions))
    return found


# --- what the archive is said to be ---


def _card(given: str | None, about: dict[str, str], found: Verified) -> DatasetCard | None:
    """The data set as given, else as `method.txt` names it; None where it names none, which is said."""
    said = about.get(DATASET)
    if given is not None:
        card = catalogue.dataset(given)
        require_server(card)
        if said is not None and _plain(said) != _plain(card.id):
            found.add(f"{METHOD} says that the data set is '{said}', not {card.id}")
        return card
    known = {_plain(card.id): card for card in catalogue.datasets().values() if takes_submissions(card)}
    if said is None:
        found.add(f"nothing names the data set: no '{DATASET}' in {METHOD}; give --dataset to check the rest too")
    elif _plain(said) not in known:
        found.add(
            f"{METHOD} says that the data set is '{said}', which takes no submission; name another with --dataset"
        )
    return known.get(_plain(said or ""))


def _split(given: str | None, about: dict[str, str], card: DatasetCard, found: Verified) -> str:
    """The split as given, else as `method.txt` names it, else `test`. One that contradicts or is not there is said."""
    said = about.get(SPLIT)
    if said is not None and said not in card.splits:
        found.add(f"{METHOD} says that the split is '{said}'; {card.id} has {', '.join(card.splits)}")
    elif said is not None and given not in (None, said):
        found.add(f"{METHOD} says that the split is '{said}', not {given}")
    if given is not None and given not in card.splits:
        raise WrongName(f"{card.id} has no split '{given}'", f"Its splits are {', '.join(card.splits)}.")
    return given or (said if said in card.splits else None) or "test"


def _compare_ids(said: str, matched: bool, found: Verified) -> None:
    """Whether `method.txt` says of the ids what `match.json`, there or not there, says of them."""
    if said == "clusters" and not matched:
        found.add(f"{METHOD} says that the ids are clusters, but there is no {MATCH} with their classes")
    elif said == "classes" and matched:
        found.add(f"{METHOD} says that the ids are classes, but there is a {MATCH}, as for clusters")


def _plain(name: str) -> str:
    """A name as another program may spell it: ImageNet-S 50."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


# --- what is in the archive ---


def _members(opened: zipfile.ZipFile, archive: Path, found: Verified) -> dict[str, Member]:
    """The files by name. Raises Hostile for what no archive should have."""
    members: dict[str, Member] = {}
    twice: Counter[str] = Counter()
    listed = zip(opened.infolist(), zip_members(opened, archive.stat().st_size), strict=True)
    for number, (entry, member) in enumerate(listed, start=1):
        if number > LIMITS.members:
            raise Hostile(f"it has more than {LIMITS.members:,} members")
        name = str(safe_path(member.name))
        if member.kind == "folder":
            continue
        if member.kind != "file":
            raise Hostile(f"'{member.name}' is {member.kind}")
        twice[name] += name in members
        members[name] = member
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            found.add(f"{name} is compressed by method {entry.compress_type}; it must be stored or deflated (8)")
    for name, count in twice.items():
        if count:
            found.add(f"{name} comes {count + 1} times")
    return members


def _contents(predictions: dict[str, Member], most: int, found: Verified) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every prediction that can be read. Raises Hostile for more than `most` bytes in all."""
    for name, member in predictions.items():
        try:
            data = _read(member, most)
        except DAMAGE as error:
            found.add(f"{name}.png is damaged: {error}")
            continue
        most -= len(data)
        yield name, data


def _read(member: Member, most: int) -> bytes:
    """At most `most` bytes of a member, by what comes and not by what the archive declares."""
    parts, size = [], 0
    with member.open() as stream:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise Hostile(f"'{member.name}' unpacks to more than {most:,} bytes")
            parts.append(chunk)
    return b"".join(parts)


def _method(members: dict[str, Member], found: Verified) -> dict[str, str]:
    """The entries of `method.txt`, which is taken out of the members."""
    member = members.pop(METHOD, None)
    if member is None:
        deeper = next((name for name in members if PurePosixPath(name).name == METHOD), None)
        found.add(f"{METHOD} is missing" + (f": it lies in a folder, as {deeper}" if deeper else ""))
        return {}
    try:
        return read_method(_read(member, TEXT))
    except UnicodeDecodeError:
        found.add(f"{METHOD} is not UTF-8 text")
    except DAMAGE as error:
        found.add(f"{METHOD}: {error}")
    return {}


def _match(member: Member | None, classes: int, found: Verified) -> dict[int, int] | None:
    if member is None:
        return None
    try:
        return read_match(_read(member, TEXT), classes)
    except DAMAGE as error:
        found.add(f"{MATCH}: {error}")
        return None


def _images(card: DatasetCard, split: str, settings: Settings) -> dict[str, Path | None]:
    """The split's images by name; empty without a data root. Warns where the root does not hold all of them."""
    if settings.data_root is None:
        return {}
    samples = find_samples(card, split, settings.data_root, cache_folder(settings.cache))
    if samples.limited and settings.warn:
        size = card.splits[split].size
        settings.warn(
            f"{samples.root} holds {len(samples)} of the {size} {split} images: predictions of the other "
            "images count as problems"
        )
    return {sample.id: sample.image for sample in samples}


def _predictions(
    members: dict[str, Member], card: DatasetCard, names: dict[str, Path | None], found: Verified
) -> dict[str, Member]:
    """The members that are predictions, by name without ending. Those that are not, and those that lack, are said."""
    folders = {PurePosixPath(name).parent.name for name in names}
    homes = {PurePosixPath(name).name: name for name in names}
    predictions = {}
    for path, member in members.items():
        # a member called `.` has no part at all
        name, (folder, *rest) = path.removesuffix(".png"), PurePosixPath(path).parts or ("",)
        known = folder in folders if names else bool(_FOLDER.fullmatch(folder))
        if not (known and len(rest) == 1 and path.endswith(".png")):
            found.add(f"{path} does not belong in a submission")
        elif names and name not in names:
            home = homes.get(PurePosixPath(name).name)
            found.add(f"{path} is in the wrong folder: its image is {home}" if home else f"{path} is not an image")
        else:
            predictions[name] = member
    for missing in sorted(names.keys() - predictions.keys()):
        found.add(f"{missing}.png is missing")
    official = card.splits[found.split].images
    if not names or official not in (None, len(names)):
        _count(predictions, card, official, found)
    return predictions


def _count(predictions: dict[str, Member], card: DatasetCard, official: int | None, found: Verified) -> None:
    """What can be said of the names without the images, or with some of them alone."""
    if official is not None and len(predictions) != official:
        found.add(f"there are {len(predictions)} predictions; {card.id} {found.split} has {official} images")
    folders = {PurePosixPath(name).parent.name for name in predictions}
    if len(folders) != card.class_folders:
        found.add(f"there are {len(folders)} class folders; {card.id} has {card.class_folders}")
    names = Counter(PurePosixPath(name).name for name in predictions)
    for name, count in names.items():
        if count > 1:
            found.add(f"{name}.png is in {count} folders")
