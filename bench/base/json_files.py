"""JSON files of anybody: read if they are ordinary files of a bounded size, and nested no deeper than people write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.base.files import read_regular

DEEPEST = 64
"""Lists and objects within each other. What we write has six."""


def read_json(path: Path, most: int, *, any_number: bool = False) -> Any:
    """The value of a JSON file of at most `most` bytes; NaN and infinity only with `any_number`.

    Raises OSError where it cannot be read, and ValueError, which says why, for what is no JSON or nested too deep.
    """
    data = read_regular(path, most)
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=None if any_number else _no_constant)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except ValueError as error:
        if "int_max_str_digits" in str(error):  # Python's advice is for programmers
            raise ValueError("a number in it has too many digits") from error
        raise
    _require_shallow(value)
    return value


_TOO_DEEP = f"its values are nested more than {DEEPEST} deep"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level if isinstance(outer, (dict, list)) for inner in _inside(outer)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _inside(outer: dict[str, Any] | list[Any]) -> list[Any]:
    """The lists and objects in a list or object."""
    found = outer.values() if isinstance(outer, dict) else outer
    return [inner for inner in found if isinstance(inner, (dict, list))]
