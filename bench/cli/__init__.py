"""The command line. Modules here import no heavy library, so that `bench --help` answers at once.

Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 a check failed, 2 a wrong name or flag,
3 bad input, 4 the environment, 70 a bug in bench, 128 + the number of the signal that ended it (130: Ctrl-C).
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import NoReturn

import click

from bench._version import __version__
from bench.base.errors import BenchError
from bench.cli.check import check
from bench.cli.compare import compare
from bench.cli.completion import completion
from bench.cli.doctor import doctor
from bench.cli.download import download
from bench.cli.export import export
from bench.cli.init_dataset import init_dataset
from bench.cli.listing import list_, show
from bench.cli.priors import priors
from bench.cli.report import report
from bench.cli.run import run
from bench.cli.score import score
from bench.cli.settings import show_notices
from bench.cli.signals import exit_code, handled
from bench.cli.train import train

EPILOG = """\b
Examples:
  bench run                                     the built-in data set, no download
  bench run --dataset pascal-voc --data-root ~/VOCdevkit --weights FILE --model maskcontrast-sup
  bench run --model ./checkpoint.pth.tar        any checkpoint of this architecture
  bench download pascal-voc                     fetch, verify and unpack the files of a card
  bench score predictions --dataset pascal-voc  score PNGs that any program wrote
  bench init-dataset ~/photos                   write a card for a folder of images and masks
  bench report --format pwc                     the paper's table beside the figures of the records
  bench compare A B                             two records on the same images: difference, interval, p
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Evaluate models of unsupervised semantic segmentation. Each figure says how it was made."""
    from bench.cli.settings import default_map

    try:
        context.default_map = default_map(cli.commands)
    except click.UsageError as error:
        if context.invoked_subcommand != "doctor":
            raise
        context.obj = error  # one of its findings


for _command in (
    run, score, report, check, compare, export, list_, show, init_dataset, download, priors, train, doctor, completion,
):  # fmt: skip
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit. A traceback is shown only with `--debug`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    # Threads of OpenMP that spin while they wait make two runs on one machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        with handled():
            show_notices()
            outcome = cli.main([a for a in arguments if a != "--debug"], prog_name="bench", standalone_mode=False)
            sys.stdout.flush()
        sys.exit(outcome if isinstance(outcome, int) else 0)
    except click.ClickException as error:
        if _first_to_say(error.format_message()):
            error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as stopped:
        _say("interrupted; finished work is kept, and the same command continues from there")
        sys.exit(exit_code(stopped))
    except BrokenPipeError:
        # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the edge of the program
        sys.exit(explain(error, debug))


def explain(error: Exception, debug: bool) -> int:
    """Print an error for the user; returns the exit code."""
    if debug:
        traceback.print_exc()
    if isinstance(error, BenchError):
        _say(f"error: {error}")
        return error.exit_code
    if isinstance(error, MemoryError):
        _say("error: out of memory\n  A smaller --batch-size needs less.")
        return 4
    if isinstance(error, ImportError) and not (error.name or "bench").startswith("bench"):
        _say(f"error: {error}\n  `bench doctor` says which packages are missing or broken.")
        return 4
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        _say(f"error: {error.strerror or error}{where}\n  Check disk space and permissions.")
        return 4
    _say(f"error: a bug in bench: {type(error).__name__}: {error}\n  Run again with --debug and report what it shows.")
    return 70


def _say(message: str) -> None:
    if _first_to_say(message):
        click.echo(message, err=True)


def _first_to_say(message: str) -> bool:
    """Whether this process should print the message: under `torchrun` several processes fail for the same reason."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return True
    from bench.pretrain.distributed import first_to_say

    return first_to_say(message)
