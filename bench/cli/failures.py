"""Failures: every error as one clear message and an exit code."""

from __future__ import annotations

import errno
import os
import re
import traceback

import click

from bench.base.errors import BenchError
from bench.base.escaping import one_line, printable
from bench.cli.console import echo, emit

_WRONG_PATH = (errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR)
"""The input is wrong, not the machine."""
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free space, and run the same command again."),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Correct the permissions, or name another place."),
    **dict.fromkeys(_WRONG_PATH, "Correct the path."),
}


def explain(error: Exception, debug: bool = False) -> int:
    """Print an error for the user; returns the exit code."""
    if debug:
        emit("".join(traceback.format_exception(error)), err=True)
    code, message = code_and_message(error)
    say(f"error: {message}")
    return code


def explain_usage(error: click.ClickException) -> int:
    """Print an error that click found in the command line, below the command's usage; returns the exit code."""
    context = getattr(error, "ctx", None)
    usage = f"{context.get_usage()}\nTry '{context.command_path} -h' for help.\n\n" if context is not None else ""
    say(f"{usage}Error: {one_line(error.format_message())}")
    return error.exit_code


def in_one_line(error: Exception) -> str:
    """What is wrong and the remedy, in one line."""
    problem, _, remedy = code_and_message(error)[1].partition("\n")
    problem = f"{problem.rstrip('.')}." if remedy else problem
    return one_line(f"{problem} {remedy}")


def code_and_message(error: Exception) -> tuple[int, str]:
    """The exit code of an error, and what the user reads."""
    text = printable(error)
    if isinstance(error, BenchError):
        return error.exit_code, str(error)
    if isinstance(error, MemoryError):
        return 4, "out of memory\n  A smaller --batch-size needs less."
    if isinstance(error, ImportError) and not (error.name or "bench").startswith("bench"):
        return 4, f"{text}\n  `bench doctor` says which packages are missing or broken."
    if isinstance(error, OSError):
        where = f" ({printable(error.filename)})" if error.filename else ""
        remedy = _REMEDIES.get(error.errno or 0, "Check disk space and permissions.")
        return 3 if error.errno in _WRONG_PATH else 4, f"{printable(error.strerror or error)}{where}\n  {remedy}"
    if reason := _of_input(error):
        return 3, f"{reason}\n  --debug shows where it was read."
    return 70, f"a bug in bench: {type(error).__name__}: {text}\n  Run again with --debug and report what it shows."


def _of_input(error: Exception) -> str | None:
    """What Python itself refuses in input that no reader of ours refused; None for other errors."""
    if isinstance(error, RecursionError):
        return "the input is nested too deeply"
    if isinstance(error, UnicodeEncodeError):
        return f"a name in the input is no text: {printable(error.object)[:200]}"
    if isinstance(error, ValueError) and re.search("embedded null (byte|character)", str(error)):
        return "a name in the input has a NUL character"
    return None


def say(message: str) -> None:
    """Print to stderr; under `torchrun`, where several processes fail for the same reason, only once."""
    if _first_to_say(message):
        echo(message, err=True)


def _first_to_say(message: str) -> bool:
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return True
    from bench.pretrain.distributed import first_to_say

    return first_to_say(message)
