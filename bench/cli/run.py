"""`bench run`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.completion import ids, protocols, splits
from bench.cli.console import echo, echo_warning, emit
from bench.cli.parameters import Deliberate, NameOrPath, Place, Prose
from bench.cli.settings import (
    cache_option,
    data_root_of,
    data_root_option,
    entries_option,
    network_options,
    require_said_once,
    results_folder,
    results_option,
    warn_of_slow_precision,
)

if TYPE_CHECKING:
    from bench.protocols.base import Run, Settings
    from bench.records.record import Record

Job = tuple[str, str, str]
"""A model, a data set and a protocol, by their names."""
_EPILOG = """\b
Examples:
  bench run
  bench run --dataset pascal-voc --data-root ~/VOCdevkit
  bench run --solver minibatch --set restarts=1 --num-seeds 10
  bench run --clusters 100 --json
  bench run --model ./checkpoint.pth --name my-model --supervision none
  bench run --protocol linear --epochs 2 --save-predictions predictions
  bench run --protocol linear --model timm:vit_small_patch14_dinov2.lvd142m
  bench run --dataset davis --protocol davis --data-root ~/DAVIS --model FILE
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--model",
    "models",
    multiple=True,
    type=NameOrPath(),
    metavar="ID|CARD|FILE|LIB:NAME",
    shell_complete=ids("models"),
    help="A card's id, a card, a checkpoint file, or a network of timm:, torchvision:, hf:, hub: or python:. "
    "Repeatable. [default: the models that the data set's card names]",
)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    type=NameOrPath(),
    default=("shapes",),
    show_default=True,
    metavar="ID|CARD",
    shell_complete=ids("datasets"),
    help="A data set's id or a card. Repeatable.",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    default=("clustering",),
    show_default=True,
    shell_complete=protocols,
    help="A protocol's id (`bench list protocols`); `retrieval` or `stego` for each protocol of that group; `all` for "
    "every protocol with a preset on the data set. Repeatable.",
)
@click.option(
    "--features",
    metavar="LAYER",
    help="What is read of the network: last, last4, block9, key, stage3, … [default: the model's own]",
)
@click.option(
    "--strict-input",
    is_flag=True,
    help="Refuse an input that is no multiple of the network's patch. Without it the nearest multiple is taken.",
)
@click.option(
    "--trust-code", cls=Deliberate, is_flag=True, help="Let the code of a hub's model run. The record says so."
)
@click.option("--split", shell_complete=splits, help="Split to evaluate on. [default: the data set's own]")
@data_root_option
@click.option(
    "--name",
    metavar="ID",
    help="For a checkpoint file: the model's id in the record. [default: the file's name and hash]",
)
@click.option(
    "--supervision",
    type=Prose(),
    metavar="TEXT",
    help="For a checkpoint file: the labels that had a part in its weights.",
)
@network_options
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), help="The first seed. [default: the protocol's, 1234 for most]"
)
@click.option(
    "--num-seeds",
    type=click.IntRange(1, 10_000),
    help="Number of seeds, counting up from --seed. [default: the preset's]",
)
@click.option(
    "--solver", type=click.Choice(["faiss", "minibatch"]), help="Solver of K-means. The authors used minibatch."
)
@click.option("--clusters", type=click.IntRange(2, 32766), help="Number of K-means clusters.")
@entries_option("preset", "protocols")
@click.option("--epochs", type=click.IntRange(1, 10**6), help="Number of epochs to train the linear classifier.")
@click.option("--crf", is_flag=True, help="Refine scores of classes or clusters with a dense CRF.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10**9),
    help="Use only the first N images or sequences. The record is marked as limited.",
)
@results_option
@cache_option
@click.option(
    "--fresh",
    is_flag=True,
    help="Does two things. It computes everything again, without the cache. It lets --save-predictions remove the "
    "predictions of another run.",
)
@click.option(
    "--save-predictions",
    type=Place(file=False, writes=True),
    metavar="DIR",
    help="Write the predicted classes of each image as a palette PNG; `bench score DIR` scores such folders. For one "
    "run only: one model, data set and protocol.",
)
@click.option(
    "--save-examples",
    type=click.IntRange(1, 100),
    metavar="N",
    help="Write a page with pictures, in a folder beside the record: the N best images, the N worst, and N of each "
    "cluster.",
)
@click.option("--dry-run", is_flag=True, help="Print what would run, and stop.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the record as JSON; several runs give an array. (Without --model the built-in data set has several.)",
)
def run(
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    protocols: tuple[str, ...],
    data_root: tuple[str, ...],
    seed: int | None,
    num_seeds: int | None,
    solver: str | None,
    clusters: int | None,
    epochs: int | None,
    crf: bool,
    features: str | None,
    entries: dict[str, str],
    results: Path | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Evaluate models on data sets, and write a record of each run.

    Without options it runs on the built-in data set. This downloads nothing and takes under a minute.
    """
    given = {"solver": solver, "clusters": clusters, "epochs": epochs, "crf": crf or None, "features": features}
    flags = {key: json.dumps(value) for key, value in given.items() if value is not None}
    drawn = {key: value for key, value in {"seed": seed, "num_seeds": num_seeds}.items() if value is not None}
    require_said_once([*flags, *(["seeds"] if num_seeds else [])], entries)
    jobs = [
        (model, dataset, protocol)
        for dataset in datasets
        for model in _models_for(dataset, models)
        for protocol in _protocols_for(dataset, protocols)
    ]
    _require_one(jobs, options)
    _require_takers([*flags, *drawn], [protocol for _, _, protocol in jobs])
    folder = results_folder(results)
    planned = [
        (job, _settings(job[2], flags, drawn, entries, data_root_of(job[1], data_root), options)) for job in jobs
    ]
    warn_of_slow_precision(options["precision"], options["device"])
    made: list[Record] = []

    def carry_out(model: str, dataset: str, protocol: str, settings: Settings) -> None:
        if dry_run:
            _print_plan(model, dataset, protocol, settings, folder)
        else:
            made.append(_run_one(model, dataset, protocol, settings, folder, quiet=as_json))

    # an entry that one protocol lacks is said before another one has run for hours
    failures = _each(planned, _require_entries) or _each(planned, carry_out)
    if as_json and made:
        from bench.records.record import dumps

        emit(dumps(made if len(jobs) > 1 else made[0]))
    return _report_failures(failures)


def _each(planned: Sequence[tuple[Job, Settings]], do: Callable[..., None]) -> list[tuple[str, Exception]]:
    """Call `do` for every run; those that failed, and why. Raises the error where there is only one run."""
    failures: list[tuple[str, Exception]] = []
    for (model, dataset, protocol), settings in planned:
        try:
            do(model, dataset, protocol, settings)
        except Exception as error:
            if len(planned) == 1:
                raise
            failures.append((f"{model} on {dataset}, {protocol}", error))
    return failures


def _require_entries(model: str, dataset: str, protocol: str, settings: Settings) -> None:
    from bench.runs.plan import require_entries

    require_entries(dataset, protocol, settings)


def _require_one(jobs: Sequence[Job], options: Mapping[str, Any]) -> None:
    """Raises UsageError if there are several models or runs, for an option that takes one."""
    if options["save_predictions"] is not None and len(jobs) > 1:
        raise click.UsageError("--save-predictions takes one run; name one model, data set and protocol")
    if len({model for model, _, _ in jobs}) < 2:
        return
    if options["weights"] is not None:
        raise click.UsageError("--weights is for one model; name it with --model")
    if (options["name"], options["supervision"]) != (None, None):
        raise click.UsageError("--name and --supervision are for one model; name it with --model")


def _takes(protocol: str, entry: str) -> bool:
    """Whether a protocol's preset has the entry that an option sets."""
    from bench.protocols import registry

    kind = registry.preset_type(registry.parse(protocol)[0])
    return ("seeds" if entry in ("seed", "num_seeds") else entry) in kind.model_fields


def _require_takers(flags: list[str], protocols: list[str]) -> None:
    """Raises WrongName for an option whose entry none of the protocols has."""
    from bench.base.errors import WrongName
    from bench.protocols import registry

    for flag in flags:
        if not any(_takes(protocol, flag) for protocol in protocols):
            takers = " or ".join(name for name in sorted(registry.protocols()) if _takes(name, flag))
            written = flag.replace("_", "-")
            raise WrongName(
                f"--{written} belongs to --protocol {takers}", "Name such a protocol, or leave the option out."
            )


def _report_failures(failures: list[tuple[str, Exception]]) -> int:
    """Print the runs that failed, at the end; runs with the same error are printed together.

    Returns the exit code.
    """
    from bench.cli.failures import explain

    code = 0
    alike: dict[tuple[type[Exception], str], list[tuple[str, Exception]]] = {}
    for what, error in failures:
        alike.setdefault((type(error), str(error)), []).append((what, error))
    for group in alike.values():
        for what, _ in group:
            echo(f"{what} failed:", err=True)
        code = explain(group[0][1], debug=False)
    return code


def _models_for(dataset: str, models: tuple[str, ...]) -> tuple[str, ...]:
    if models:
        return models
    from bench.base.errors import WrongName
    from bench.cards import catalogue
    from bench.runs.for_photos import advice

    card = catalogue.dataset(dataset)
    if not card.default_models:
        raise WrongName(
            f"{card.id} names no default model",
            f"Name one with --model; `bench list models` shows all. {advice(dataset)}",
        )
    return card.default_models


def _protocols_for(dataset: str, names: tuple[str, ...]) -> list[str]:
    """Protocol ids; a group's name stands for those of its members that the data set has a preset for."""
    from bench.cards import catalogue
    from bench.protocols import registry

    groups = registry.groups()
    ids: dict[str, None] = {}
    for name in names:
        members = groups.get(name)
        if members is None:
            registry.parse(name)  # a mistyped one is said once, not for every model
            ids[name] = None
            continue
        presets = catalogue.dataset(dataset).protocols
        ids |= dict.fromkeys(member for member in members if presets.preset(member) is not None)
    return list(ids)


def _settings(
    protocol: str,
    flags: Mapping[str, str],
    drawn: Mapping[str, int],
    entries: Mapping[str, str],
    data_root: Path | None,
    options: Mapping[str, Any],
) -> Settings:
    """How to run one protocol: of `flags` and of the seeds `drawn` it gets what its preset has."""
    from bench.protocols.base import Settings

    own = {key: value for key, value in flags.items() if _takes(protocol, key)}
    seeds = drawn if _takes(protocol, "seeds") else {}
    return Settings(
        data_root=data_root,
        first_seed=seeds.get("seed"),
        num_seeds=seeds.get("num_seeds"),
        entries={**entries, **own},
        warn=echo_warning,
        **options,
    )


def _run_one(model: str, dataset: str, protocol: str, settings: Settings, folder: Path, *, quiet: bool) -> Record:
    from dataclasses import replace

    from bench.cli.progress import progress_bar
    from bench.cli.summary import print_record
    from bench.runs.run import perform

    with progress_bar() as progress:
        stored = perform(model, dataset, protocol, folder, replace(settings, progress=progress))
    if not quiet:
        print_record(stored)
    return stored.record


def _print_plan(model: str, dataset: str, protocol: str, settings: Settings, folder: Path) -> None:
    """What `--dry-run` says."""
    from bench.base.files import display
    from bench.passes.engine import choose_device
    from bench.protocols import registry
    from bench.runs.plan import make_plan, run_of

    device = choose_device(settings.device)
    plan = make_plan(model, dataset, protocol, settings, echo_warning)
    run = run_of(plan, settings, echo_warning)
    echo(f"model        {plan.subject.id} ({plan.subject.weights_source}, sha256 {plan.subject.weights_sha256[:12]})")
    samples = plan.samples
    echo(f"data set     {plan.card.id} {samples.split}, {samples.images} images at {display(samples.root)}")
    echo(f"protocol     {plan.protocol}, fingerprint {plan.fingerprint[:8]}" + (", modified" if plan.modified else ""))
    echo(f"preset       {json.dumps(plan.preset.resolved())}")
    echo(f"seeds        {', '.join(map(str, plan.seeds)) or 'none: nothing is drawn at random'}")
    echo(f"device       {device}")
    echo(f"done         {registry.load(plan.base).cached(run)}")
    echo(f"cost         {_cost(run)}")
    echo(f"results      {display(folder)}")
    sys.stdout.flush()


def _cost(run: Run[Any]) -> str:
    """Time, memory and cache of the network's part, from two batches that it is run on."""
    from bench.cli.sizes import duration
    from bench.runs.estimate import estimate

    found = estimate(run)
    if found is None:
        return "the network has nothing left to do"
    return (
        f"about {duration(found.seconds)} of the network ({found.forwards} images, {found.seconds_each:.2g} s each, "
        f"{found.batch_size} at once), {found.memory_mb / 1000:.1f} GB of memory, {found.cache_mb:.0f} MB of cache; "
        "reading, clustering and counting come on top"
    )
