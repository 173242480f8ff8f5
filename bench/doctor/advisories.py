"""Advisories: known holes in installed packages that a file from somebody else can reach."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from bench.doctor.findings import Finding
from bench.doctor.packages import twins_of

LIST = "advisories.toml"


@dataclass(frozen=True)
class Advisory:
    """One hole, and the version of the package that closes it."""

    package: str
    fixed: str
    ids: tuple[str, ...]
    permits: str
    source: str


def advisories() -> tuple[list[Advisory], str]:
    """Those that are shipped, and the day, as in 2026-11-27, on which they were looked up."""
    content: dict[str, Any] = tomllib.loads((files("bench.doctor") / LIST).read_text(encoding="utf-8"))
    found = [Advisory(**entry | {"ids": tuple(entry["ids"])}) for entry in content["advisories"]]
    return found, content["date"].isoformat()


def notes(version_of: Callable[[str], str | None]) -> list[Finding]:
    """A line for each package with known holes, by its installed version; one that closes them all is its remedy."""
    from packaging.version import InvalidVersion, Version

    known, date = advisories()
    open_: dict[str, list[Advisory]] = {}
    for advisory, name in [(one, name) for one in known for name in twins_of(one.package)]:
        version = version_of(name)
        try:
            if version is not None and Version(version) < Version(advisory.fixed):
                open_.setdefault(name, []).append(advisory)
        except InvalidVersion:
            continue  # a build of somebody's own
    return list(_findings(open_, version_of, date))


def _findings(
    open_: dict[str, list[Advisory]], version_of: Callable[[str], str | None], date: str
) -> Iterator[Finding]:
    from packaging.version import Version

    for name, held in open_.items():
        holes = "; ".join(f"{one.permits} ({', '.join(one.ids)})" for one in held)
        fixed = max((one.fixed for one in held), key=Version)
        remedy = f"pip install --upgrade '{name}>={fixed}'"
        yield Finding(f"{name} {version_of(name)} has known holes (as of {date}): {holes}", remedy)
