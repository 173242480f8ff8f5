"""`bench` as a user calls it, in this process."""

import contextlib
import io
from dataclasses import dataclass

from bench.cli import main


@dataclass
class Done:
    """What a user gets back."""

    returncode: int
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


def said(process, code, *words):
    """The process ended with `code`, a clear line on stderr, no traceback."""
    assert process.returncode == code, process.stderr
    assert "Traceback" not in process.stderr
    for word in words:
        assert word in process.stderr, process.stderr
