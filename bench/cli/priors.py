"""`bench priors`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.completion import ids, splits
from bench.cli.console import echo, echo_warning, emit
from bench.cli.parameters import NameOrPath, Place
from bench.cli.settings import cache_option, data_root_of, data_root_option, echo_table

if TYPE_CHECKING:
    from bench.cards.datasets import DatasetCard
    from bench.cli.progress import Show
    from bench.data.samples import Samples
    from bench.priors.evaluate import Evaluation
    from bench.priors.methods import Method
    from bench.priors.propose import Report

_EPILOG = """\b
Methods:
  boundary     estimates the mask from the image alone: no weights, no labels (needs the extra `train`)
  precomputed  takes existing masks: --from FOLDER of <id>.png, where only 255 is foreground

\b
Examples:
  bench priors shapes --method boundary --out priors/shapes --evaluate
  bench priors pascal-voc --split trainaug --data-root ~/PASCAL_VOC --method precomputed \\
        --from saliency_unsupervised_model --no-clean-up --out priors/voc
"""


@click.command(epilog=_EPILOG)
@click.argument("dataset", metavar="DATASET", type=NameOrPath(), shell_complete=ids("datasets"))
@click.option("--method", required=True, help="How the masks are made; see below.")
@click.option("--out", required=True, type=Place(file=False, writes=True), help="Folder for the masks.")
@click.option(
    "--split", shell_complete=splits, help="Split to make masks for. [default: train, else the data set's own]"
)
@data_root_option
@click.option(
    "--from",
    "source",
    type=Place(),
    metavar="FOLDER",
    help="For precomputed: the folder of masks. A path, or the name of a folder beside the images.",
)
@click.option(
    "--clean-up/--no-clean-up",
    default=True,
    help="For precomputed: remove contours under 1 % of the image. Masks that were cleaned up before need no clean-up.",
)
@click.option(
    "--workers", type=click.IntRange(1, 1024), help="Processes or threads. [default: one per core, at most 8]"
)
@click.option("--limit", type=click.IntRange(1, 10**9), help="Use only the first N images.")
@cache_option
@click.option("--evaluate", is_flag=True, help="Compare the masks, and a centred ellipse, with the labels.")
@click.option("--fresh", is_flag=True, help="Remove the masks in --out, and start again.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def priors(
    dataset: str,
    method: str,
    out: Path,
    split: str | None,
    data_root: tuple[str, ...],
    source: Path | None,
    clean_up: bool,
    workers: int | None,
    limit: int | None,
    cache: Path | None,
    evaluate: bool,
    fresh: bool,
    as_json: bool,
) -> int:
    """Propose an object mask for each image of a data set, for contrastive pre-training.

    Writes <id>.png (0 and 255) and a manifest, priors.json, to --out. After an interruption, the same command
    continues. An image whose mask covers less than 1 % of it is skipped.
    """
    from bench.base.parallel import default_workers
    from bench.cards import catalogue
    from bench.cli.progress import progress_bar
    from bench.priors.evaluate import evaluate as compare
    from bench.priors.evaluate import require_labels
    from bench.priors.methods import find_method
    from bench.priors.propose import propose

    card = catalogue.dataset(dataset)
    workers = workers or default_workers()
    with progress_bar() as show:
        samples = _samples(card, split, data_root_of(dataset, data_root), cache, show)
        chosen = find_method(method, source, clean_up, samples)
        if evaluate:
            require_labels(samples)
        report = propose(
            chosen,
            samples,
            out,
            workers=workers,
            limit=limit,
            fresh=fresh,
            progress=partial(show, "proposing masks") if show else None,
            warn=echo_warning,
        )
        step = partial(show, "evaluating") if show else None
        evaluation = compare(out, samples.first(limit), workers, step) if evaluate else None
    (_print_json if as_json else _print)(report, chosen, samples, out, evaluation)
    return 0


def _samples(card: DatasetCard, split: str | None, root: Path | None, cache: Path | None, show: Show | None) -> Samples:
    from bench.base.files import cache_folder
    from bench.data.find_samples import find_samples
    from bench.data.samples import require_images

    require_images(card, "bench priors")
    name = split or ("train" if "train" in card.splits else card.default_split)
    return find_samples(card, name, root, cache_folder(cache), partial(show, "writing shapes") if show else None)


def _print(report: Report, method: Method, samples: Samples, out: Path, evaluation: Evaluation | None) -> None:
    """Print the outcome as text: one line, and the table of an evaluation."""
    from bench.base.files import display

    skipped = sum(report.skipped.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.skipped.items())
    made = report.written + skipped
    echo(
        f"{display(out)}: {report.written} written, {report.kept} kept, {skipped} skipped"
        + (f" ({reasons})" if skipped else "")
        + f"; {report.seconds:.1f} s"
        + (f", {report.images_per_second:.1f} images/s" if made else "")
    )
    if evaluation is None:
        return
    rows = [("MASKS", "IOU %", "F %", "IMAGES")]
    for name, quality in ((method.id, evaluation.proposals), ("centred ellipse", evaluation.ellipse)):
        rows.append((name, f"{quality.iou:.2f}", f"{quality.f_measure:.2f}", str(evaluation.images)))
    echo_table(rows)
    echo(
        f"Means over images of {samples.card.id} {samples.split}, against label > 0; F with β² = 0.3. "
        f"Masks missing and counted as empty: {evaluation.without_mask}; images without foreground, left out: "
        f"{evaluation.without_foreground}.\nThe ellipse is half as wide and half as high as the image."
    )


def _print_json(report: Report, method: Method, samples: Samples, out: Path, evaluation: Evaluation | None) -> None:
    from bench.records.record import dumps

    outcome: dict[str, Any] = {
        "schema": 1,
        "dataset": samples.card.id,
        "split": samples.split,
        "method": method.id,
        "parameters": method.parameters,
        "supervision": method.supervision,
        "folder": str(out),
        "written": report.written,
        "kept": report.kept,
        "skipped": report.skipped,
        "seconds": report.seconds,
        "images_per_second": report.images_per_second,
        "evaluation": evaluation.as_json() if evaluation else None,
    }
    emit(dumps(outcome))
