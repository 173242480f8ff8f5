"""Examples: a folder of small pictures beside a record.

`<record's stem>.examples/` holds `examples.json` and what it names: image, label and prediction of the best and the
worst images, and of a few of each cluster. All is of the first seed. The folder is written under another name and
then moved, so a reader sees a whole one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.base.files import atomic_folder, write_with
from bench.base.parallel import Progress, default_workers, prefetch
from bench.base.templating import environment
from bench.data.pictures import (
    Colours,
    Read,
    fitted_in,
    hexadecimal,
    legend_of,
    read_samples,
    small_image,
    small_map,
    write_picture,
)
from bench.data.samples import Samples
from bench.protocols.base import Paint, Result
from bench.protocols.prediction_maps import Map
from bench.records.record import EXAMPLES, Record, dumps
from bench.scoring.cluster_members import MOST, Clusters
from bench.scoring.metric_names import metric_name

SCHEMA = 1
LONGEST = 320
"""Pixels of a picture's longer side, at most."""
PAGE = "index.html"
GROUPS = (("best", "Best by IoU"), ("worst", "Worst by IoU"))
FIGURES = ("mIoU", "JF_mean", "seed_ari", "seed_nmi", "salient_share", "cluster_evenness", "largest_cluster")
"""The metrics on top of the page, of those that the record has."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Chosen:
    """Which images are shown, and why."""

    places: tuple[int, ...]
    """The best first, then the worst, then those of clusters."""
    groups: dict[int, list[str]]
    """Place → `best`, `worst`, `cluster`."""
    of_cluster: tuple[tuple[int, ...], ...]
    """Per cluster the places of its examples."""


def save(
    folder: Path,
    made: Record,
    samples: Samples,
    measured: Result,
    count: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the examples of a run to `folder`, replacing an old one. Returns the record's entry about them.

    `count` images are shown of the best, of the worst and of each cluster. An image's IoU is the mean over the
    classes that occur in its label or its prediction; of a video's frame, J over its objects. A page, `index.html`,
    shows them all.
    """
    clusters = measured.clusters() if measured.clusters is not None else None
    ids = measured.rows.ids
    iou, homes = measured.rows.image_scores()
    chosen = choose(iou, homes, clusters, count)
    names, colours = legend_of(samples, len(clusters.sizes) if clusters else 0)
    assert measured.paint is not None
    with atomic_folder(folder) as new:
        pictured = _write_all(new, chosen.places, measured.paint, read_samples(samples), colours, progress)
        seen = sorted(set().union(*(found for _, found in pictured.values())))
        index = {
            "schema": SCHEMA,
            "seed": made["seeds"][0] if made["seeds"] else None,
            "legend": [{"id": i, "name": names(i), "colour": hexadecimal(colours[i])} for i in seen],
            "images": [
                {
                    "id": ids[place],
                    "iou": None if iou is None or np.isnan(iou[place]) else float(iou[place]),
                    "groups": chosen.groups[place],
                    **pictured[place][0],
                    "clusters": [] if clusters is None else clusters.of_image(place),
                }
                for place in chosen.places
            ],
            "clusters": [] if clusters is None else _cluster_entries(clusters, chosen, ids, samples),
        }
        write_with(new / EXAMPLES, lambda stream: stream.write(dumps(index).encode()))
        page = render_page(made, index).encode()
        write_with(new / PAGE, lambda stream: stream.write(page))
    return {"folder": folder.name, "images": len(chosen.places)}


# --- which images ---


def choose(iou: Floats | None, homes: Sequence[str] | None, clusters: Clusters | None, count: int) -> Chosen:
    """The `count` best and worst images by IoU, and as many of each cluster, the most typical first.

    Of images that share a home (frames of one sequence) a group takes only one. Images without an IoU are neither.
    """
    groups: dict[int, list[str]] = {}
    if iou is not None:
        known = np.flatnonzero(~np.isnan(iou))
        for name, score in (("best", -iou[known]), ("worst", iou[known])):
            order = np.argsort(score, kind="stable")
            for place in _one_per_home(known[order].tolist(), homes)[:count]:
                groups.setdefault(place, []).append(name)
    of_cluster = () if clusters is None else tuple(typical[: min(count, MOST)] for typical in clusters.typical)
    for place in dict.fromkeys(place for places in of_cluster for place in places):
        groups.setdefault(place, []).append("cluster")
    return Chosen(tuple(groups), groups, of_cluster)


def _one_per_home(places: list[int], homes: Sequence[str] | None) -> list[int]:
    if homes is None:
        return places
    first: dict[str, int] = {}
    for place in places:
        first.setdefault(homes[place], place)
    return list(first.values())


# --- what is written of them ---


def _cluster_entries(clusters: Clusters, chosen: Chosen, ids: Sequence[str], samples: Samples) -> list[dict[str, Any]]:
    return [
        {
            "cluster": number,
            "class": None if class_ is None else samples.card.classes[class_],
            "images": size,
            "examples": [ids[place] for place in places],
        }
        for number, (class_, size, places) in enumerate(
            zip(clusters.classes, clusters.sizes, chosen.of_cluster, strict=True)
        )
    ]


Pictured = tuple[dict[str, Any], set[int]]
"""An entry's sizes and file names, and the ids that occur in its maps."""


def _write_all(
    folder: Path, shown: Sequence[int], paint: Paint, read: Read, colours: Colours, progress: Progress | None
) -> dict[int, Pictured]:
    """Write the pictures of the images at these places, in threads; files are numbered in the order given."""
    places = sorted(shown)
    numbers = {place: number for number, place in enumerate(shown)}
    jobs = ((place, numbers[place], ids) for place, ids in zip(places, paint(0, places), strict=True))
    write = functools.partial(_write, folder, read, colours)
    found: dict[int, Pictured] = {}
    with ThreadPoolExecutor(default_workers(), "bench-writer") as pool:
        for place, pictured in zip(places, prefetch(pool, write, jobs, depth=16), strict=True):
            found[place] = pictured
            if progress:
                progress(len(found), len(places))
    return found


def _write(folder: Path, read: Read, colours: Colours, job: tuple[int, int, Map]) -> Pictured:
    """One image's pictures, from its place, its number and its predicted map."""
    place, number, prediction = job
    image, label = read(place)
    size = fitted_in(image.shape, (LONGEST, LONGEST))
    names: dict[str, Any] = {"image": f"{number:04d}-image.jpg", "label": None}
    write_picture(folder / names["image"], small_image(image, size))
    seen: set[int] = set()
    for kind, ids in (("label", label), ("prediction", prediction)):
        if ids is not None:
            names[kind] = f"{number:04d}-{kind}.png"
            seen |= set(np.unique(ids).tolist())
            write_picture(folder / names[kind], small_map(ids, size, colours))
    return {"width": size[1], "height": size[0]} | names, seen


def render_page(made: Record, index: dict[str, Any]) -> str:
    """The page of the best, the worst and those of every cluster; it needs nothing but the pictures beside it."""
    groups = [(title, [image for image in index["images"] if name in image["groups"]]) for name, title in GROUPS]
    sections = [_section(title, shown) for title, shown in groups if shown] + _cluster_sections(index)
    labelled = made["dataset"].get("labelled", True)
    template = environment("runs/templates", escape=True).get_template("examples.html.j2")
    legend = index["legend"] if labelled else []
    figures = [(metric_name(metric), made["metrics"][metric]) for metric in FIGURES if metric in made["metrics"]]
    return template.render(record=made, labelled=labelled, legend=legend, sections=sections, figures=figures)


def _cluster_sections(index: dict[str, Any]) -> list[dict[str, Any]]:
    """The largest first, each in the colour that it is painted in."""
    images = {image["id"]: image for image in index["images"]}
    colours = {entry["name"]: entry["colour"] for entry in index["legend"]}
    found = []
    for entry in sorted(index["clusters"], key=lambda entry: -entry["images"]):
        own = entry["class"] or f"cluster {entry['cluster']}"
        size = f"{entry['images']} image{'s' * (entry['images'] != 1)}"
        note = f"{size}, {own}" if entry["class"] else size
        shown = [images[name] for name in entry["examples"]]
        found.append(_section(f"Cluster {entry['cluster']}", shown, note, colours.get(own)))
    return found


def _section(title: str, images: Sequence[dict[str, Any]], note: str = "", colour: str | None = None) -> dict[str, Any]:
    return {"title": title, "examples": images, "note": note, "colour": colour}
