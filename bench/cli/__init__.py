"""The command line. Modules here import no heavy library, so that `bench --help` answers at once.

Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 a check failed, 2 a wrong name or flag,
3 bad input, 4 the environment, 70 a bug in bench, 128 + the number of the signal that ended it (130: Ctrl-C).
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, NoReturn

import click

from bench._version import __version__
from bench.base.errors import BadEnvironment, BenchError, WrongName
from bench.cli import configuration, console
from bench.cli.check import check
from bench.cli.compare import compare
from bench.cli.completion import VARIABLE, completion
from bench.cli.doctor import doctor
from bench.cli.download import download
from bench.cli.export import export
from bench.cli.failures import explain, explain_usage, say
from bench.cli.init_dataset import init_dataset
from bench.cli.listing import list_
from bench.cli.priors import priors
from bench.cli.report import report
from bench.cli.reproduce import reproduce
from bench.cli.rerun import rerun
from bench.cli.run import run
from bench.cli.score import score
from bench.cli.show import show
from bench.cli.signals import exit_code, handled
from bench.cli.train import train

EPILOG = """\b
Examples:
  bench run                              the built-in data set, no download
  bench run --model ./checkpoint.pth     any checkpoint of this architecture
  bench run --model 'timm:resnet18?random=0' --protocol linear
  bench run --dataset pascal-voc --data-root ~/VOCdevkit
  bench download pascal-voc              fetch and verify the files of a card
  bench score masks --dataset mine.toml  score PNGs that any program wrote
  bench init-dataset ~/photos            a card for a folder of images and masks
  bench report --format pwc              the paper's table beside the records
  bench compare A B                      two records: difference, interval, p
  bench rerun RECORD                     does the same run come to the same?
  bench reproduce maskcontrast           what a paper's table needs; --yes runs it
"""


class _Commands(click.Group):
    """All commands. click takes every broken pipe for a reader of stdout who has left, also one to another process."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BrokenPipeError as error:
            if console.reader_left():
                raise
            raise BadEnvironment(
                "the other end of a connection was closed", "Run the same command again; finished work is kept."
            ) from error


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Evaluate models of unsupervised semantic segmentation. Each figure says how it was made."""
    try:
        files = configuration.sources()
        configuration.announce(files)
        context.default_map = configuration.default_map(cli.commands, files)
    except WrongName as error:
        if context.invoked_subcommand != "doctor":
            raise
        context.obj = error  # one of its findings


for _command in (
    run, rerun, reproduce, score, report, check, compare, export, list_, show, init_dataset, download, priors,
    train, doctor, completion,
):  # fmt: skip
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit. A traceback is shown only with `--debug`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Threads of OpenMP that spin while they wait make two runs on one machine ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    console.prepare()
    sys.exit(_code([a for a in arguments if a != "--debug"], debug="--debug" in arguments))


def _code(arguments: list[str], *, debug: bool) -> int:
    """The exit code. All that was printed is out."""
    completing = VARIABLE in os.environ  # then a shell asks, at every key press
    try:
        with handled():
            outcome = cli.main(arguments, prog_name="bench", standalone_mode=False)
            console.settle()
        return outcome if isinstance(outcome, int) else 0
    except SystemExit as left:
        # so click ends completion, and where the reader of a page of help has left
        return 0 if isinstance(left.__context__, BrokenPipeError) else 2 if completing and left.code else 0
    except click.ClickException as error:
        return explain_usage(error)
    except (click.Abort, KeyboardInterrupt) as stopped:
        say("interrupted; finished work is kept, and the same command continues from there")
        return exit_code(stopped)
    except Exception as error:  # noqa: BLE001 - the edge of the program
        return 2 if completing else explain(error, debug)
    finally:
        with contextlib.suppress(BenchError):
            console.settle()
