"""Published names: what the columns of a table of published figures may say beyond what this program itself knows.

They are data, `results/published_names.csv`: protocols and data sets of papers that this program lacks, and the
initialisations and priors of which is known that no label had a part in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from bench.base.errors import BadInput
from bench.base.folders import folder
from bench.records.published_rows import read_rows, require_filled

COLUMNS = ("protocol", "dataset", "init", "prior")
"""Columns of the table that the file has names of."""
_AND = re.compile(r"\s*[,;]\s*|\s+and\s+")
_SUFFIX = "_names.csv"

Names = Mapping[str, frozenset[str]]
"""Column → its names."""


def load(path: Path) -> Names:
    """Read a CSV of names. Raises BadInput naming file, line and column."""
    rows = read_rows(path, ("column", "name", "meaning"), _entry)
    return {column: frozenset(name for where, name in rows if where == column) for column in COLUMNS}


def beside(table: Path) -> Names:
    """The names of a table: those of `<name>_names.csv` beside it, else the catalogue's."""
    path = table.with_name(f"{table.stem}{_SUFFIX}")
    return load(path) if path.is_file() else names()


@cache
def names() -> Names:
    """The catalogue's names."""
    return load(folder("results") / f"published{_SUFFIX}")


def is_label_free(column: Literal["init", "prior"], said: str) -> bool:
    """Whether what a card, a record or a figure says of its initialisation or prior is known to have seen no label.

    Several may be named, with commas, semicolons or `and` between them. What nobody listed is
    not plainly without labels: it may be masks of SAM.
    """
    known = {name.casefold() for name in names()[column]}
    text = said.strip().casefold()
    return text in known or all(part in known for part in _AND.split(text))


def _entry(row: dict[str, str], where: str) -> tuple[str, str]:
    require_filled(row, ("column", "name", "meaning"), where)
    if row["column"] not in COLUMNS:
        raise BadInput(f"{where}: column is '{row['column']}', not {', '.join(COLUMNS)}", "Write one of these.")
    return row["column"], row["name"].strip()
