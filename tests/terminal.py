"""`bench` as a user calls it, in this process."""

import contextlib
import io
from dataclasses import dataclass

from bench.cli import main


@dataclass
class Done:
    """What a user gets back."""

    code: int
    stdout: str
    stderr: str


def bench(*arguments) -> Done:
    """Run the command line; its exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as left:
            return Done(int(left.code or 0), out.getvalue(), err.getvalue())
