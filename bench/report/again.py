"""Again: holds a record against one of the same run done again: figures, rows, and what was different around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.base.errors import BadInput
from bench.base.escaping import one_line
from bench.records.record import Record, Stored, check_rows, rows_path
from bench.report.check import Outcome, against_records, verdict
from bench.scoring import rows as rows_of

_SHOWN = 60
"""Characters of a value that are shown."""
_MOST = 60
"""So many differences of the surroundings are told."""
_COST = ("device", "device_name", "batch_size", "workers", "precision")
_SOLVER = ("library", "version", "device", "algorithm", "threads")


@dataclass(frozen=True)
class TwoRuns:
    """What came of holding two records of one run against each other."""

    outcomes: tuple[Outcome, ...]
    """Of each metric, as `bench check --against` has it."""
    passed: bool
    summary: str
    images: int
    changed: int | None
    """How many images have other counts; None where the earlier rows cannot be read."""
    problem: str
    """Why the rows cannot be compared; empty where they can."""
    surroundings: tuple[tuple[str, str, str], ...]
    """What was different: its name, earlier, and now."""

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "agrees": self.passed,
            "summary": self.summary,
            "outcomes": [_plain(outcome) for outcome in self.outcomes],
            "rows": {"images": self.images, "changed": self.changed, "problem": self.problem or None},
            "environment": [{"what": what, "earlier": one, "now": other} for what, one, other in self.surroundings],
        }


def _plain(outcome: Outcome) -> dict[str, Any]:
    """What a metric came to, as plain JSON values."""
    shown = {name: getattr(outcome, name) for name in ("status", "what", "detail", "fails", "clusters")}
    return shown | {"movement": [asdict(one) for one in outcome.movement]}


def hold(earlier: Stored, again: Stored) -> TwoRuns:
    """Hold a record against that of the same run done again. Every metric of the earlier one must agree."""
    model = earlier.record["model"]["id"]
    outcomes = against_records([earlier], [again], [model], run_now=True)
    passed, summary = verdict(outcomes)
    changed, problem = _changed(earlier, again)
    images = again.record["dataset"].get("judges", again.record["dataset"]["images"])
    return TwoRuns(
        tuple(outcomes), passed, summary, images, changed, problem, surroundings(earlier.record, again.record)
    )


def _changed(earlier: Stored, again: Stored) -> tuple[int | None, str]:
    """How many images have other counts, or why that is not known."""
    if problem := check_rows(earlier):
        return None, f"of the earlier record: {problem}"
    try:
        one, other = (rows_of.read(rows_path(stored)) for stored in (earlier, again))
        if type(one) is not type(other):
            return None, "the rows are of two kinds"
        return int(one.changed(other).sum()), ""
    except BadInput as error:
        return None, error.problem
    except (ValueError, ArithmeticError, MemoryError) as error:
        return None, str(error)


def surroundings(earlier: Record, again: Record) -> tuple[tuple[str, str, str], ...]:
    """In what the environments of two runs differ: versions, machine, device, threads. At most `_MOST` are told."""
    before, after = _around(earlier), _around(again)
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return tuple((key, before.get(key, "not said"), after.get(key, "not said")) for key in keys[:_MOST])


def _around(record: Record) -> dict[str, str]:
    """What a record says of where it was made, each by a name."""
    environment = dict(_mapping(record.get("environment")))
    packages = _mapping(environment.pop("packages", None))
    git = _mapping(environment.pop("git", None))
    resizing = _mapping(environment.pop("image_resizing", None))
    cost, solver = _mapping(record.get("cost")), _mapping(record.get("solver"))
    found: dict[str, Any] = {**environment}
    if git.get("commit"):
        found["commit"] = f"{str(git['commit'])[:12]}{' with changes' if git.get('dirty') else ''}"
    found |= packages
    found |= {f"resizing {key}": value for key, value in resizing.items()}
    found |= {key.replace("_", " "): cost[key] for key in _COST if key in cost}
    found |= {f"solver {key}": solver[key] for key in _SOLVER if key in solver}
    return {one_line(key)[:_SHOWN]: one_line(value)[:_SHOWN] for key, value in found.items() if value is not None}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
