"""The page of each protocol: what it does in plain words, its entries, and the benchmarks that are measured by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.cards.explained import Explanation, explanation
from bench.cards.presets import describe, meaning
from bench.protocols import registry
from bench.records.published import entry_words
from bench.report.site.benchmarks import Benchmark
from bench.report.site.names import slug
from bench.scoring.metric_names import metric_name


@dataclass(frozen=True)
class About:
    """A protocol, and where its page is."""

    id: str
    title: str
    url: str


def about(name: str) -> About | None:
    """The protocol that a name stands for, variants and runs without labels included; None where none has this name."""
    found = registry.parsed(name.removesuffix(registry.UNLABELLED))
    entry = registry.protocols()[found[0]] if found else None
    return About(entry.id, entry.title, f"protocols/{slug(entry.id)}.html") if entry else None


def every() -> list[About]:
    """All protocols, in the order in which pages list them."""
    return [found for name in registry.protocols() if (found := about(name))]


def protocol_page(one: About, benchmarks: Sequence[Benchmark]) -> dict[str, Any]:
    """All that is shown of a protocol."""
    entry = registry.protocols()[one.id]
    told: Explanation | None = explanation(one.id)
    return {
        "one": one,
        "told": told,
        "probe": registry.probe(one.id, {}),
        "entries": _entries(entry),
        "variants": [(variant.form, _sets(variant)) for variant in entry.variants],
        "uses": [use for benchmark in benchmarks for use in _uses(benchmark, one.id)],
        "command": " ".join(["bench run", *(registry.command_words(one.id) or []), "--dataset DATASET --model MODEL"]),
        "kind": entry.kind,
    }


def _entries(entry: registry.Entry) -> list[tuple[str, str, str]]:
    """Each entry of its preset: name, type with default, meaning."""
    kind = entry.preset_type
    return [(key, describe(kind, key), meaning(field.description)) for key, field in kind.model_fields.items()]


def _sets(variant: registry.Variant) -> str:
    """What a variant's name sets of the preset."""
    words = entry_words(variant.entries)
    numbers = re.findall(r"\{(\w+)\}", variant.form)
    return ", ".join([*(f"{key}: the number in the name" for key in numbers), *words])


def _uses(benchmark: Benchmark, protocol: str) -> list[dict[str, Any]]:
    """The pages of a benchmark that are of a protocol, its variants included."""
    found = []
    for name, metrics in benchmark.metrics.items():
        parsed = registry.parsed(name)
        if parsed and parsed[0] == protocol:
            rows = benchmark.rows(name, metrics[0])
            found.append(
                {
                    "title": benchmark.title,
                    "split": benchmark.split,
                    "name": name,
                    "metric": metric_name(metrics[0]),
                    "url": benchmark.page_of(name, metrics[0]),
                    "rows": len(rows),
                }
            )
    return found
