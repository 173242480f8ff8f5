"""`bench train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.base.errors import WrongName
from bench.cli.completion import ids, splits
from bench.cli.console import echo, echo_warning
from bench.cli.parameters import DataRoot, NameOrPath, Place
from bench.cli.settings import cache_option, data_root_of, dataset_option, entries_option, warn_of_slow_precision

_EPILOG = """\b
Examples:
  bench train --recipe shapes --dataset shapes --priors DIR --out DIR
  bench train --recipe maskcontrast-unsup --dataset pascal-voc --data-root ~/VOCdevkit --priors DIR --out DIR \\
              --init moco_v2_800ep_pretrain.pth.tar
  torchrun --nproc-per-node 2 -m bench train …    two GPUs, or two processes on a CPU
"""


def _merged(entries: dict[str, str], flags: dict[str, object]) -> dict[str, str]:
    """The entries given by `--set` and by their own options. Raises WrongName if they disagree."""
    given = {key: str(value) for key, value in flags.items() if value is not None}
    for key in given.keys() & entries.keys():
        if given[key] != entries[key]:
            raise WrongName(f"--{key} {given[key]} contradicts --set {key}={entries[key]}", "Give one of the two.")
    return entries | given


@click.command(epilog=_EPILOG)
@click.option(
    "--recipe",
    required=True,
    type=NameOrPath(),
    metavar="ID|CARD",
    shell_complete=ids("models/recipes"),
    help="A recipe's id or a card (see `bench list recipes`).",
)
@dataset_option
@click.option(
    "--priors",
    required=True,
    type=Place(file=False),
    help="Folder of object masks, ID.png of 0 and 255, as `bench priors` makes them.",
)
@click.option(
    "--out",
    required=True,
    type=Place(file=False, writes=True),
    help="Folder for checkpoint, log and network. A checkpoint in it is resumed.",
)
@click.option("--data-root", type=DataRoot(), metavar="PATH", envvar="BENCH_DATA_ROOT", help="Folder of the data.")
@click.option("--split", shell_complete=splits, help="Split to train on. [default: the recipe's]")
@click.option(
    "--init",
    type=NameOrPath(),
    metavar="random|FILE",
    help="First weights of the backbone: random, or a file of torchvision or MoCo v2. The published recipes need the "
    "file.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, …")
@click.option("--workers", type=click.IntRange(1, 1024), help="Loader threads. [default: one per core, at most 8]")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="bfloat16 is mixed precision. [default: the recipe's; the published recipes have float32, on a GPU too]",
)
@click.option("--epochs", type=click.IntRange(1, 10**6), help="Number of epochs. [default: the recipe's]")
@entries_option("recipe", "recipes")
@click.option(
    "--eval-every",
    type=click.IntRange(1),
    metavar="N",
    help="Do not train on a fifth of the split, and evaluate clustering on this fifth every N epochs.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of all random draws."
)
@cache_option
@click.option("--fresh", is_flag=True, help="Start again, even if --out has a checkpoint.")
def train(
    recipe: str,
    dataset: str,
    priors: Path,
    out: Path,
    data_root: str | None,
    split: str | None,
    precision: str | None,
    epochs: int | None,
    entries: dict[str, str],
    eval_every: int | None,
    **settings: Any,
) -> None:
    """Pre-train a network on images and object masks, by the method of MaskContrast.

    After an interruption, the same command continues from the last checkpoint.
    """
    from bench.base.environment import whole_number
    from bench.base.files import display
    from bench.cli.progress import progress_bar
    from bench.pretrain.run import Settings, pretrain

    if whole_number("RANK") == 0:  # it speaks for all
        warn_of_slow_precision(precision, settings["device"])
    entries = _merged(entries, {"split": split, "precision": precision, "epochs": epochs})
    with progress_bar() as progress:
        outcome = pretrain(
            recipe,
            dataset,
            priors,
            out,
            Settings(
                data_root=data_root_of(dataset, (data_root,) if data_root else ()),
                entries=entries,
                eval_every=eval_every or 0,
                progress=progress,
                warn=echo_warning,
                **settings,
            ),
        )
    if whole_number("RANK"):
        return
    since = f", resumed after step {outcome.resumed_at}" if outcome.resumed_at else ""
    echo(f"trained on {outcome.images} images, {outcome.steps} steps{since}")
    echo(f"  checkpoint: {display(outcome.checkpoint)}")
    echo(f"  network:    {display(outcome.network)}   (bench run --model {display(outcome.network)})")
