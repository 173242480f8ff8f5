"""`bench export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.completion import ids, protocols, splits
from bench.cli.console import echo, echo_warning, emit
from bench.cli.parameters import NameOrPath, Place, Prose
from bench.cli.settings import (
    NAMED_BY,
    cache_option,
    data_root_of,
    data_root_option,
    entries_option,
    network_options,
)

if TYPE_CHECKING:
    from bench.cli.progress import Show
    from bench.protocols.base import Settings

_EPILOG = """\b
The archive:
  n01440764/<name>.png, …   8-bit RGB, (id mod 256, id div 256, 0), at the image's own size
  method.txt                what made the PNGs, one `key: value` per line. The benchmark fixes no form; this is bench's
  match.json                with --ids clusters: {"cluster": class, …}, one-to-one, 0 to 0

\b
Examples:
  bench export imagenet-s-50 --split test --model maskcontrast-unsup --data-root ~/ImageNetS50 --out submission.zip
  bench export imagenet-s-50 --protocol distance-matching --model FILE --data-root ~/ImageNetS50 --out distance.zip
  bench export imagenet-s-50 --from predictions --name my-model --supervision none --data-root … --out mine.zip
  bench export --verify submission.zip --data-root ~/ImageNetS50
"""


@click.command(epilog=_EPILOG)
@click.argument("dataset", metavar="[DATASET]", type=NameOrPath(), required=False, shell_complete=ids("datasets"))
@click.option("--verify", type=Place(), metavar="ZIP", help="Check an archive, and write nothing.")
@click.option("--out", type=Place(folder=False, writes=True), metavar="ZIP", help="The archive to write.")
@click.option(
    "--model",
    metavar="ID|CARD|FILE",
    type=NameOrPath(),
    shell_complete=ids("models"),
    help="The model that predicts: a card's id, a card, or a checkpoint file.",
)
@click.option(
    "--from",
    "source",
    type=Place(file=False),
    metavar="DIR",
    help="Existing predictions: <folder>/<name>.png, as --save-predictions or any program writes them. A match.json "
    "beside them goes into the archive.",
)
@click.option(
    "--dataset",
    "named",
    metavar="ID|CARD",
    type=NameOrPath(),
    shell_complete=ids("datasets"),
    help="With --verify: the data set. [default: the one in method.txt]",
)
@click.option(
    "--split",
    shell_complete=splits,
    help="Split that is predicted. [default: test; with --verify the one in method.txt]",
)
@data_root_option
@click.option(
    "--protocol",
    shell_complete=protocols,
    default="clustering",
    show_default=True,
    help="clustering takes its centres from the split `fit` of the preset, and its classes from `matched_on`.",
)
@click.option(
    "--ids",
    type=click.Choice(["classes", "clusters"]),
    default="classes",
    show_default=True,
    help="Ids in the PNGs. With `clusters` the archive has a match.json.",
)
@click.option(
    "--seed", "first_seed", type=click.IntRange(0, 2**31 - 1), default=1234, show_default=True, help="The seed."
)
@click.option(
    "--track",
    type=click.Choice(["fully unsupervised", "distance matching", "semi-supervised", "free"]),
    help="The benchmark's track, for method.txt. Only the free track allows a saliency map, supervised pre-training, "
    "or other data than ImageNet-S. [default: free if a saliency map is used, else not stated]",
)
@click.option("--name", metavar="ID", help=f"With --from: the method's id. [default: {NAMED_BY}]")
@click.option(
    "--supervision",
    type=Prose(),
    metavar="TEXT",
    help="With --from: the method's supervision, i.e. the labels it has seen.",
)
@network_options
@entries_option("preset", "protocols")
@cache_option
@click.option("--fresh", is_flag=True, help="Compute everything again; use nothing from the cache.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def export(
    dataset: str | None,
    named: str | None,
    verify: Path | None,
    out: Path | None,
    model: str | None,
    source: Path | None,
    data_root: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> int:
    """Write a submission for the server of ImageNet-S, or check one. Only the server has the labels of `test`.

    Predictions come from a model, or from any program (--from). By default the PNGs contain class ids, and there is
    no match.json: the benchmark asks for matched categories on the test images.
    """
    dataset = _one_name(dataset, named)
    _require_one_job(dataset, verify, out, model, source)
    root = data_root_of(dataset or "", data_root)
    from bench.cli.progress import progress_bar

    with progress_bar() as progress:
        settings = _settings(root, progress, options, from_folder=source is not None, verifying=verify is not None)
        if verify is not None:
            return _verify(verify, dataset, settings, as_json)
        assert dataset is not None and out is not None
        return _write(dataset, out, model, source, settings, options, as_json)


def _one_name(dataset: str | None, named: str | None) -> str | None:
    if dataset and named and dataset != named:
        raise click.UsageError(f"two data sets are named: {dataset} and --dataset {named}")
    name = dataset or named
    if name is not None:
        from bench.cards import catalogue

        catalogue.dataset(name)  # a wrong name is reported before what else is missing
    return name


def _require_one_job(
    dataset: str | None, verify: Path | None, out: Path | None, model: str | None, source: Path | None
) -> None:
    if verify is not None:
        if out or model or source:
            raise click.UsageError("--verify only checks an archive: leave out --out, --model and --from")
        return
    if dataset is None or out is None:
        raise click.UsageError("name the data set and --out ZIP, or check an archive with --verify ZIP")
    if (model is None) == (source is None):
        raise click.UsageError("name a model with --model, or predictions with --from: one of the two")


def _settings(
    root: Path | None, progress: Show | None, options: dict[str, Any], *, from_folder: bool, verifying: bool
) -> Settings:
    from bench.protocols.base import Settings

    names = ("split", "first_seed", "weights", "device", "batch_size", "workers", "entries", "cache", "fresh", "name")
    chosen = {key: options[key] for key in names}
    if not verifying:
        chosen["split"] = chosen["split"] or "test"
    if not from_folder and (options["name"] or options["supervision"]):
        raise click.UsageError("--name and --supervision are only for --from; a model's card has both")
    if from_folder and (options["ids"] != "classes" or options["weights"] or options["entries"]):
        raise click.UsageError("--ids, --weights and --set are only for --model; existing predictions do not change")
    return Settings(
        data_root=root,
        progress=progress,
        warn=echo_warning,
        **chosen,
    )


def _write(
    dataset: str,
    out: Path,
    model: str | None,
    source: Path | None,
    settings: Settings,
    options: dict[str, Any],
    as_json: bool,
) -> int:
    from bench.base.files import display, sha256_file
    from bench.records.record import dumps
    from bench.submission.export import export_folder, export_run

    track = options["track"]
    if model is not None:
        done = export_run(model, dataset, out, settings, protocol=options["protocol"], ids=options["ids"], track=track)
    else:
        assert source is not None
        done = export_folder(source, dataset, out, settings, supervision=options["supervision"], track=track)
    if as_json:
        about = {"archive": str(out), "split": done.split, "images": done.images, "track": done.track}
        emit(dumps(about | {"sha256": sha256_file(out)}))
    else:
        echo(f"{display(out)}: {done.images} predictions of {dataset} {done.split}; track: {done.track}")
    return 0


def _verify(archive: Path, dataset: str | None, settings: Settings, as_json: bool) -> int:
    """Exit code 0 for a valid archive, else 3."""
    from bench.records.record import dumps
    from bench.submission.verify import verify

    found = verify(archive, dataset, settings)
    if as_json:
        about = {"archive": str(archive), "dataset": found.dataset, "split": found.split, "ok": not found.problems}
        emit(dumps(about | {"predictions": found.predictions, "problems": found.lines}))
    elif found.problems:
        for line in found.lines:
            echo(line)
    else:
        against = (
            "against the images" if settings.data_root else "without the images; --data-root checks names and sizes too"
        )
        echo(f"{archive}: {found.predictions} predictions of {found.dataset} {found.split}, valid (checked {against})")
    return 3 if found.problems else 0
