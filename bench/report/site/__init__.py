"""The leaderboard as a static web site. It opens from a file, without a network and without a build step."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from bench.base.errors import BadInput, Warn
from bench.records.folders import Results, as_folders
from bench.records.published import Published
from bench.records.record import Stored
from bench.report.selection import EVERYTHING, Selection
from bench.report.site.collect import collect
from bench.report.site.content import Site
from bench.report.site.gallery import Gallery, read_gallery
from bench.report.site.pages import Pages
from bench.report.site.write import replacing

EXAMPLES = tuple(f"example-{n}-{what}" for n in (1, 2, 3) for what in ("image.jpg", "prediction.png"))
"""Pictures of `bench run --model maskcontrast-shapes --dataset shapes --save-examples 3`: the first and third best, and
the worst. The first page shows them where no run has pictures."""
ASSETS = ("site.css", "folded.css", "site.js", "matrix.js", "icon.svg", *EXAMPLES)


def write_site(
    target: Path,
    figures: Sequence[Published],
    stored: Sequence[Stored],
    results: Results,
    skipped: Sequence[str],
    warn: Warn,
    only: Selection = EVERYTHING,
) -> int:
    """Write the site to the folder `target`, in place of the one that `bench report` wrote there before.

    `skipped` are lines about files below `results` that are no records; the first page names them, and `only`, what the
    site is limited to. Returns the number of pages.
    Raises WrongName where `target` is not a site of ours, BadEnvironment where it cannot be written.
    """
    below = [as_folders(results).without_folders(line) for line in skipped]
    site = collect(figures, stored, results, below, only)
    galleries = _galleries(site, warn)
    count = 0
    with replacing(target, results) as built:
        for url, content in Pages(site, galleries, figures):
            path = built / url
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            count += url.endswith(".html")
        for name in ASSETS:
            (built / "assets" / name).write_bytes((files("bench.report.site") / "assets" / name).read_bytes())
        for run in site.runs:
            if run.path in galleries:
                galleries[run.path].copy(built / "pictures" / run.slug)
    return count


def _galleries(site: Site, warn: Warn) -> dict[str, Gallery]:
    found = {}
    for run in site.runs:
        try:
            gallery = read_gallery(run.stored)
        except BadInput as error:
            warn(f"pictures skipped: {error.problem}")
            continue
        if gallery is not None:
            found[run.path] = gallery
    return found
