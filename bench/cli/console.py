"""The console: the only way in which commands print. What a name holds acts on no terminal and no log.

A reader who has left, and a stream that was closed before the program began, cost no work and no exit code.
"""

from __future__ import annotations

import codecs
import contextlib
import logging
import os
import re
import select
import shutil
import sys
import textwrap
import warnings
from typing import TextIO

from bench.base.errors import BadEnvironment
from bench.base.escaping import one_line, printable

_ENCODING_ERRORS = "bench-visible"
_QUIET = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
"""What Python itself shows to developers only."""


def echo(text: object = "", *, err: bool = False) -> None:
    """Print lines for people, to stderr with `err`; all but their line ends is made printable.

    What goes to stderr is broken between words where a terminal would break it anywhere.
    """
    lines = [_harmless(line) for line in str(text).split("\n")]
    if err and sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        lines = [part for line in lines for part in _between_words(line, width)]
    _write("".join(f"{line}\n" for line in lines), err=err)


def _between_words(line: str, width: int) -> list[str]:
    """A line in as many as it takes; further ones are indented as the first is, and by two more."""
    if len(line) <= width:
        return [line]
    further = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )


def emit(text: str, *, err: bool = False) -> None:
    """Print a document as it is: JSON, CSV and other forms have rules of their own."""
    _write(text, err=err)


def echo_warning(message: str) -> None:
    """Print a warning."""
    echo(f"warning: {printable(message)}", err=True)


def _harmless(line: str) -> str:
    """A line that no terminal obeys, and that GitHub does not take for one of its commands (`::…::`, `##[…]`)."""
    return re.sub(r"^(\s*):(?=:)", r"\1\\x3a", printable(line)).replace("##[", "#\\x23[")


def _write(text: str, *, err: bool) -> None:
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:  # the reader has seen enough
        _discard(stream)
    except OSError as error:
        _discard(stream)
        if not err:
            raise BadEnvironment(
                f"cannot write the output: {error.strerror or error}",
                "Free space, or send the output elsewhere.",
            ) from error


def _discard(stream: TextIO) -> None:
    """Let all that is still written to a stream go nowhere: what is buffered would fail again when Python ends."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def reader_left() -> bool:
    """Whether stdout or stderr is a pipe that nobody reads any more; true where the system cannot tell."""
    if not hasattr(select, "poll"):  # Windows
        return True
    pipes = select.poll()
    for number in (1, 2):
        pipes.register(number, 0)
    return any(event & select.POLLERR for _, event in pipes.poll(0))


def settle() -> None:
    """End of the program: what libraries printed gets out, or goes nowhere. Raises BadEnvironment for a full disk."""
    for err in (True, False):
        _write("", err=err)


def prepare() -> None:
    """Make the streams fit to be printed to, and send warnings and log messages of libraries the same way."""
    _open_closed_streams()
    codecs.register_error(_ENCODING_ERRORS, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape", "backslashreplace"):
            stream.reconfigure(errors=_ENCODING_ERRORS)  # type: ignore[union-attr]
    _require_no_warning_as_error()
    warnings.formatwarning = lambda message, *_, **__: f"warning: {_harmless(one_line(message))}\n"
    logging.lastResort = _Last(logging.WARNING)
    own = logging.getLogger("bench")  # a library may have given the root logger handlers, which print in their own way
    if not any(isinstance(handler, _Last) for handler in own.handlers):
        own.addHandler(_Last(logging.WARNING))


def _open_closed_streams() -> None:
    """Put the null device where stdin, stdout or stderr is closed: the next file opened would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """`\\u2192` for what a stream's encoding lacks, as JSON too has it."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)), error.end


def _require_no_warning_as_error() -> None:
    """Undo `python -W error` for this process and those that it starts: a library's warning must not end a run."""
    if any(option.startswith("error") for option in sys.warnoptions):
        os.environ.pop("PYTHONWARNINGS", None)
        sys.warnoptions.clear()
        warnings.resetwarnings()
        for kind in _QUIET:
            warnings.simplefilter("ignore", kind)


class _Last(logging.Handler):
    """Takes log messages that no other handler takes, such as those of libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        echo_warning(one_line(record.getMessage()))
