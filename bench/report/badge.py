"""Badges: one figure, or the number of reproduced figures, as JSON for the endpoint badge of shields.io."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.base.errors import WrongName, unknown_name
from bench.base.escaping import one_line
from bench.base.folders import LOCAL
from bench.records.folders import Results, as_folders
from bench.records.published import Published
from bench.records.record import Stored
from bench.report.tables import joined, place_of, records_frame

_COLOURS = {"reproduced": "brightgreen", "below": "red", "above": "orange", "measured": "blue"}


def count_badge(figures: Sequence[Published], stored: Sequence[Stored], part: str = "") -> dict[str, Any]:
    """How many of the published figures are reproduced, and whether any figure missed; `part` is what they are of."""
    status = list(joined(figures, stored)["status"]) if figures else []
    counts = {name: status.count(name) for name in ("reproduced", "below", "above")}
    message = f"{counts['reproduced']} of {len(figures)}"
    message += "".join(f", {counts[name]} {name}" for name in ("below", "above") if counts[name])
    worst = next((name for name in ("below", "above", "reproduced") if counts[name]), None)
    label = f"reproduced figures, {part}" if part else "reproduced figures"
    return _badge(label, message, _COLOURS.get(worst or "", "lightgrey"))


def figure_badge(figures: Sequence[Published], stored: Sequence[Stored], results: Results, name: str) -> dict[str, Any]:
    """One record's figure. `name` is its path below `results` and a metric: `model/dataset-split/protocol[/metric]`.

    The path is as listings show it; `local/` need not be said. The metric is mIoU where there is one, else the record's
    first. Raises WrongName for a record or metric that is not there.
    """
    places = {_place(entry, results): entry for entry in stored}
    named = {place.removeprefix(f"{LOCAL}/"): place for place in places} | {place: place for place in places}
    said = max((one for one in named if name == one or name.startswith(f"{one}/")), key=len, default=None)
    if said is None:
        raise unknown_name("record", name, set(places), f"bench list results {_flags(results)}")
    own = places[named[said]]
    table = records_frame([own], results)
    metric = name.removeprefix(said).removeprefix("/")
    known = list(table["metric"])
    if metric and metric not in known:
        raise WrongName(f"{said} has no {metric}", f"Its metrics are {', '.join(known)}.")
    chosen = metric or ("mIoU" if "mIoU" in known else known[0])
    row = table[table["metric"] == chosen].iloc[0]
    status = _status(figures, stored, own, chosen)
    marks = {
        "limited": row["limited"],
        "modified": row["modified"],
        "claimed": row["claimed"] == "value",
        "in doubt": row["doubts"],
    }
    notes = [text for text, applies in marks.items() if applies]
    notes += [status] if status in ("reproduced", "below", "above") else []
    message = f"{row['value']:.2f}" + (f" ({', '.join(notes)})" if notes else "")
    label = f"{row['title']}, {row['dataset']} {row['split']} {row['protocol']} {chosen}"
    return _badge(label, message, _COLOURS.get(status, _COLOURS["measured"]))


def _place(entry: Stored, results: Results) -> str:
    """Where a record lies below `results`, without its ending, as listings show it."""
    return place_of(entry, results).removesuffix(".json")


def _flags(results: Results) -> str:
    return " ".join(f"--results {folder}" for folder in as_folders(results))


def _status(figures: Sequence[Published], stored: Sequence[Stored], own: Stored, metric: str) -> str:
    """What became of the published figure that a record speaks for; `measured` where it speaks for none."""
    table = joined([figure for figure in figures if figure.metric == metric], stored)
    found = [row["status"] for _, row in table.iterrows() if row["record"] is own]
    return str(found[0]) if found else "measured"


def _badge(label: str, message: str, colour: str) -> dict[str, Any]:
    return {"schemaVersion": 1, "label": one_line(label)[:100], "message": message, "color": colour}
