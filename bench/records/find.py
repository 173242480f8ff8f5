"""Find: a record by the name that a user gives it."""

from __future__ import annotations

from pathlib import Path

from bench.base.errors import WrongName, unknown_name
from bench.base.files import is_ordinary_file
from bench.base.folders import LOCAL
from bench.base.paths import expand
from bench.records.record import Stored, json_files, read

MOST = 20
"""So many names of a model's records are listed."""


def find(name: str, results: Path) -> Stored:
    """A record by its path, as `model/dataset-split/protocol` below `results`, or by its model if it has no other.

    Raises WrongName where there is none, or where the name stands for several, which are listed; BadInput where the
    file is no record.
    """
    given = expand(name)
    file = f"{name.removesuffix('.json')}.json"
    for path in (given, results / LOCAL / file, results / file):
        if is_ordinary_file(path):
            return Stored(path, read(path))
    places = _places(results)
    of_it = _below(name, places)
    if len(of_it) == 1:
        return Stored(of_it[0], read(of_it[0]))
    if of_it:
        raise _several(name, [places[path] for path in of_it])
    raise unknown_name(
        "record", name, list(places.values()), f"bench list results --results {results}", also=_respelled(given)
    )


def is_record_name(name: str, results: Path) -> bool:
    """Whether a name that is no path stands for one record below `results`, or for several."""
    file = f"{name.removesuffix('.json')}.json"
    there = any(is_ordinary_file(path) for path in (results / LOCAL / file, results / file))
    return there or bool(_below(name, _places(results)))


def _places(results: Path) -> dict[Path, str]:
    """Every file below `results` that may be a record, and its name there."""
    names = {path: path.relative_to(results).as_posix() for path in json_files(results)}
    return {path: name.removeprefix(f"{LOCAL}/").removesuffix(".json") for path, name in names.items()}


def _below(name: str, places: dict[Path, str]) -> list[Path]:
    """The records of a model, or of a model on a data set."""
    return [path for path, place in places.items() if place.startswith(f"{name.rstrip('/')}/")]


def _several(name: str, names: list[str]) -> WrongName:
    more = f", and {len(names) - MOST} more (`bench list results` shows them)" if len(names) > MOST else ""
    return WrongName(f"'{name}' has {len(names)} records", f"Name one of them: {', '.join(names[:MOST])}{more}.")


def _respelled(path: Path) -> list[str]:
    """The JSON files that differ from a path only in its first part that is not there."""
    base = next((parent for parent in path.parents if parent.is_dir()), None)
    if base is None:
        return []
    rest = path.relative_to(base).parts[1:]
    files = (entry.joinpath(*rest) for entry in sorted(base.iterdir()))
    return [str(file) for file in files if file.suffix == ".json" and file.is_file()]
