"""Obtain: fetches, verifies and unpacks one item of a card, so that `bench run` finds it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench.base.archives import unpack
from bench.base.errors import BadEnvironment, BadInput
from bench.base.files import atomic_write, locked, sha256_file
from bench.base.json_files import read_json
from bench.cards.pins import BY_HAND, Pin, Pins
from bench.download.fetch import Expected, fetch
from bench.download.http import open_url
from bench.download.items import Item
from bench.download.network import Failure, Network
from bench.download.part_files import LONGEST, Part
from bench.download.soundness import require_sound

RECEIPTS = ".downloads"
"""Folder below a data root: what was unpacked into it."""


@dataclass(frozen=True)
class Obtained:
    """A file that is there now."""

    item: Item
    how: str
    """`fetched`, `found` or `unpacked before`."""
    sha256: str
    verdict: str
    """What its hash was held against, in words."""


def status(item: Item) -> str:
    """How much of it is on this machine, in words."""
    if receipt_of(item) is not None:
        return "there, unpacked"
    if item.path.is_file():
        return "there, to be unpacked" if item.unpack else "there"
    size = Part.of(item.path).size
    return f"{size:,} bytes of it" if size else "missing"


def is_there(item: Item) -> bool:
    """Whether nothing has to be fetched for it."""
    return receipt_of(item) is not None or item.path.is_file()


def size_of(item: Item, network: Network) -> int | None:
    """Its bytes: the card's, else what a server says when asked for the headers; None where none says."""
    if item.bytes is not None:
        return item.bytes
    hasty = replace(network, timeout=min(network.timeout, 10.0), patience=min(network.patience, 10.0))
    for url in item.urls:
        try:
            with open_url(url, {}, hasty, "HEAD") as reply:
                if reply.length is not None and reply.headers.get_content_type() != "text/html":
                    return reply.length
        except Failure:
            continue
    return None


def require_there(items: Sequence[Item]) -> None:
    """Raises BadEnvironment, naming all of them, where files are missing that may not be fetched."""
    missing = [item for item in items if not is_there(item)]
    if missing:
        raise BadEnvironment(
            f"--offline, and not on this machine: {', '.join(item.file for item in missing)}",
            "Leave out --offline to fetch them. By hand: "
            + "; ".join(f"save {item.page} as {item.path}" for item in missing),
        )


def obtain(
    item: Item,
    cache: Path,
    network: Network,
    *,
    fresh: bool = False,
    repin: bool = False,
    keep_archive: bool = False,
) -> Obtained:
    """Have the item in its place; what is there already is verified and not fetched again.

    `fresh` fetches it all the same, `repin` accepts a file whose hash is not the one pinned. Raises BadInput
    for what is not the file, BadEnvironment where the network, the disk or another `bench download` stands in the way.
    """
    lock = cache / "downloads" / f"{re.sub(r'[/:]', '-', item.home)}.lock"
    with locked(lock, 0, f"{item.card} is being downloaded", "Wait for the other `bench download` to end."):
        receipt = receipt_of(item)
        if receipt is not None and not fresh:
            return Obtained(item, "unpacked before", receipt["sha256"], f"verified on {receipt['date'][:10]}")
        pins = Pins(cache)
        pin = None if item.published else pins.find(item.key)
        expected = _expected(item, None if repin else pin)
        if item.path.is_file() and not fresh:
            how, source, digest, vouched = "found", BY_HAND, _check_present(item, expected), True
        else:
            fetched = fetch(item, expected, network)
            how, source, digest, vouched = "fetched", fetched.url, fetched.sha256, fetched.vouched
        staging = _unpack(item, digest, source, network, how) if item.root is not None else None
        if not vouched:
            network.warn(
                f"nothing vouches for the length of {item.file}: neither the card nor the server says it; by its own "
                "format the file is whole"
            )
        verdict = "as published"
        if not item.published:
            verdict = _pin(item, pins, pin, digest, source)
        if staging is not None and item.root is not None:
            _install(staging, item.root)
            if not keep_archive:
                item.path.unlink()
        Part.of(item.path).discard()  # of a download that was broken off before somebody put the file there
        return Obtained(item, how, digest, verdict)


def _expected(item: Item, pin: Pin | None) -> Expected | None:
    if item.sha256:
        return Expected(item.sha256, "published")
    if item.md5:
        return Expected(item.md5, "published", md5=True)
    if pin is None:
        return None
    return Expected(
        pin.sha256,
        f"pinned hash (of {pin.date[:10]}, from {pin.source})",
        f"If the publisher has replaced the file and you trust the new one, run bench download {item.card} --repin.",
    )


def _pin(item: Item, pins: Pins, pin: Pin | None, digest: str, source: str) -> str:
    """Keep the hash if it is new; returns what to tell."""
    if pin is not None and pin.sha256 == digest:
        return f"as pinned on {pin.date[:10]}"
    size = item.path.stat().st_size
    pins.keep(item.key, digest, size, source)
    return "no checksum was published; this hash is now pinned, and later files must have it"


def _check_present(item: Item, expected: Expected | None) -> str:
    """The hash of a file that is there already. Raises BadInput unless it can be the one."""
    path, remedy = item.path, "Remove the file, and run the same command again."
    size = path.stat().st_size
    if item.bytes is not None and size != item.bytes:
        raise BadInput(f"{path} has {size:,} bytes, the file has {item.bytes:,}", remedy)
    digest = sha256_file(path)
    if expected is not None and (problem := expected.mismatch(path, digest)):
        raise BadInput(f"{path} is not the file: {problem}", f"{remedy} {expected.remedy}".strip())
    if expected is None and not item.unpack:
        try:
            require_sound(path, item)
        except BadInput as error:
            raise BadInput(error.problem, f"Nothing was pinned. {remedy}") from error
    return digest


def receipt_of(item: Item) -> dict[str, Any] | None:
    """What is kept of an archive that was unpacked; None where it was not, or was another file."""
    if item.root is None:
        return None
    try:
        receipt = read_json(item.root / RECEIPTS / f"{item.file}.json", LONGEST)
    except (OSError, ValueError):
        return None
    if not isinstance(receipt, dict) or not all(isinstance(receipt.get(key), str) for key in ("sha256", "date")):
        return None
    return receipt if item.sha256 in (None, receipt["sha256"]) and item.goal.is_dir() else None


def _unpack(item: Item, digest: str, source: str, network: Network, how: str) -> Path:
    """Unpack beside the data root, receipt included; returns the folder that is to become the root.

    An archive of which nothing can be made is discarded if it was fetched just now: else it would be in the way of a
    better one. What somebody put there stays, and is named.
    """
    assert item.root is not None
    staging = item.root.with_name(f".{item.root.name}.unpacking")
    # whoever left it there is dead: we hold the lock
    shutil.rmtree(staging, ignore_errors=True)
    progress = partial(network.progress, f"unpacking {item.file}") if network.progress else None
    try:
        unpack(item.path, staging / item.into, progress=progress)
        receipt = {
            "sha256": digest,
            "bytes": item.path.stat().st_size,
            "source": source,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "licence": item.licence,
        }
        _clear(staging / RECEIPTS)
        _sync()
        with atomic_write(staging / RECEIPTS / f"{item.file}.json") as stream:
            stream.write(json.dumps(receipt, indent=1).encode())
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        if isinstance(error, BadInput) and how == "fetched":
            item.path.unlink(missing_ok=True)
            raise BadInput(
                error.problem,
                "It was removed, and nothing was pinned: the same command fetches it again. By hand: get a whole one "
                f"elsewhere, save it as {item.path}, and run the same command.",
            ) from error
        raise
    return staging


def _clear(path: Path) -> None:
    """Remove what an archive has in the place of our receipts."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync() -> None:
    """Have what was unpacked reach the disk: the receipt, which is synced, must not be all that a power loss leaves."""
    if hasattr(os, "sync"):
        os.sync()


def _install(staging: Path, root: Path) -> None:
    """Make the unpacked files the data root, or part of it: at once where there is none yet."""
    if not root.exists():
        staging.rename(root)
        return
    try:
        _merge(staging, root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _merge(source: Path, target: Path) -> None:
    """Move files and folders over, the receipt last: it says that all the others are there."""
    for entry in sorted(source.iterdir(), key=lambda path: path.name == RECEIPTS):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _merge(entry, place)
        elif place.exists() and (entry.is_dir() or place.is_dir()):
            raise BadInput(f"{place} is in the way of what was unpacked", "Move it, and run the same command again.")
        else:
            entry.replace(place)
