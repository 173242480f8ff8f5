"""The console: what is printed acts on nothing, and streams that fail cost neither work nor exit code."""

import errno
import io
import json
import logging
import os
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.base.errors import BadInput
from bench.base.escaping import printable, storable
from bench.cli import cli, console
from bench.cli.failures import explain, explain_usage
from bench.cli.fold import folded
from bench.cli.settings import echo_table
from tests.conftest import ROOT
from tests.terminal import bench, said

LIST = f"{sys.executable} -m bench list models"
HOSTILE = "a\x1b[2Jb\n::error::c\x9bd\u202ee\u2066\ud800\r\x07"


def shell(command, environment, **more):
    """A command as a shell runs it: exit code, stdout and stderr."""
    folder = environment["BENCH_CACHE"]
    done = subprocess.run(["bash", "-c", command], env=environment | more, cwd=folder, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr, done.stderr
    return done


@pytest.fixture
def environment(environment, tmp_path):
    (tmp_path / "cache").mkdir()
    return environment


# --- what is printed ---


@given(st.text())
def test_nothing_printable_acts_on_a_terminal_and_what_has_a_shape_stays(text):
    shown = printable(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    if not [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]:
        assert shown == text


def test_an_escape_says_which_sign_stands_there():
    assert printable(HOSTILE) == r"a\x1b[2Jb\n::error::c\x9bd\u202ee\u2066\ud800\r\x07"
    assert printable("×→± Ä 漢 שלום") == "×→± Ä 漢 שלום"
    assert storable("a\udcffä") == "a\\udcffä"


@pytest.mark.parametrize(
    "say",
    [
        lambda: explain(BadInput(f"no card at {HOSTILE}", f"Look at {HOSTILE}.")),
        lambda: explain(OSError(errno.EIO, "Input/output error", HOSTILE)),
        lambda: explain(ValueError(HOSTILE)),
        lambda: explain(ImportError(HOSTILE, name="faiss")),
        lambda: explain_usage(click.BadParameter(HOSTILE)),
        lambda: explain_usage(click.UsageError(HOSTILE, ctx=click.Context(cli))),
        lambda: console.echo_warning(HOSTILE),
        lambda: console.echo(HOSTILE.replace("\n", " "), err=True),
        lambda: sys.stderr.write(warnings.formatwarning(HOSTILE, UserWarning, "file.py", 1)),
        lambda: logging.getLogger("somebody.else").warning("%s", HOSTILE),
    ],
)
def test_names_are_never_printed_raw(say, capfd, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # without pytest's own
    monkeypatch.setattr(logging, "lastResort", None)
    monkeypatch.setattr(warnings, "formatwarning", None)
    console.prepare()
    say()
    text = capfd.readouterr().err
    assert r"a\x1b[2Jb" in text
    assert not set("\x1b\x9b\u202e\u2066\r\x07") & set(text)
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]


@pytest.mark.parametrize(("line", "shown"), [("::error::x", r"\x3a:error::x"), ("  ::x", r"  \x3a:x")])
def test_a_line_is_no_command_to_github(line, shown, capsys):
    console.echo(line)
    console.echo("a ##[error]x")
    console.emit("::notice::meant\n")
    assert capsys.readouterr().out == f"{shown}\na #\\x23[error]x\n::notice::meant\n"


def test_all_commands_print_through_the_console():
    for path in (ROOT / "bench").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "click.echo(" not in text and "click.secho(" not in text, path
        assert "sys.stderr.write" not in text and "sys.stdout.write" not in text, path


# --- errors that Python has for input ---


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (RecursionError("maximum recursion depth exceeded"), 3, "nested too deeply"),
        (ValueError("embedded null byte"), 3, "NUL character"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"), 3, r"is no text: a\udcff"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "x"), 3, "Correct the path."),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 3, "Correct the path."),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "x"), 3, "Correct the path."),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 4, "Free space"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 4, "Correct the permissions"),
        (OSError(errno.EROFS, "Read-only file system", "x"), 4, "Correct the permissions"),
        (MemoryError(), 4, "out of memory"),
        (ValueError("null and void"), 70, "a bug in bench"),
    ],
)
def test_errors_of_the_system_and_of_input_are_told_from_bugs(error, code, says, capsys):
    assert explain(error) == code
    assert says in capsys.readouterr().err


# --- streams ---


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_costs_nothing(closed, environment):
    done = shell(f"{LIST} {closed}", environment)
    assert done.returncode == 0
    if ">&-" not in closed.replace("2>&-", ""):
        assert b"random-shapes" in done.stdout


def test_a_file_opened_later_does_not_take_the_place_of_a_closed_stream(environment, tmp_path):
    """Or a library that prints to stdout would write into it."""
    code = "import os; from bench.cli import console; console.prepare(); print(os.open(os.devnull, 0))"
    assert int(shell(f'{sys.executable} -c "{code}" 2>&- <&-', environment).stdout) > 2


@pytest.mark.parametrize("command", [LIST, f"{sys.executable} -m bench --help", f"{sys.executable} -m bench run -h"])
def test_a_reader_who_leaves_ends_nothing(command, environment):
    done = shell(f"set -o pipefail; {command} | true; exit ${{PIPESTATUS[0]}}", environment)
    assert done.returncode == 0 and not done.stderr


@pytest.mark.slow
def test_a_check_that_failed_is_not_passed_because_nobody_read_it(environment):
    done = shell(f"{sys.executable} -m bench check --results none | true; exit ${{PIPESTATUS[0]}}", environment)
    assert done.returncode == 1


class Broken(io.StringIO):
    """A stream that fails."""

    def __init__(self, code):
        super().__init__()
        self.code = code

    def write(self, text):
        raise OSError(self.code, os.strerror(self.code))

    def fileno(self):
        raise ValueError("none")


def test_a_broken_pipe_to_somebody_else_is_no_reader_who_left(monkeypatch, capfd):
    def hung_up(*arguments, **more):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("bench.cli.listing._models", hung_up)
    with pytest.raises(SystemExit) as left:
        from bench.cli import main

        main(["list", "models"])
    assert left.value.code == 4 and "the other end of a connection was closed" in capfd.readouterr().err


def test_a_full_disk_behind_stdout_is_said(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdout", Broken(errno.ENOSPC))
    said(type("Done", (), {"returncode": _code("list", "models"), "stderr": capfd.readouterr().err})(), 4,
         "cannot write the output: No space left on device")  # fmt: skip


def test_a_full_disk_behind_stderr_ends_nothing(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stderr", Broken(errno.ENOSPC))
    assert _code("list", "modelz") == 2 and _code("list", "models") == 0


def _code(*arguments):
    from bench.cli import main

    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return left.value.code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_dev_full_is_said_and_python_adds_nothing(environment):
    done = shell(f"{LIST} >/dev/full", environment)
    assert done.returncode == 4 and b"error: cannot write the output: No space left on device" in done.stderr
    assert shell(f"{sys.executable} -m bench --help >/dev/full", environment).returncode == 4


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_signs_that_an_encoding_lacks_are_escaped_and_json_stays_json(encoding, environment):
    command = f"{sys.executable} -m bench list published"
    plain = shell(command, environment, PYTHONIOENCODING=encoding)
    assert plain.returncode == 0 and not plain.stderr
    rows = json.loads(shell(f"{command} --json", environment, PYTHONIOENCODING=encoding).stdout.decode(encoding))
    assert rows == json.loads(shell(f"{command} --json", environment, PYTHONIOENCODING="utf-8").stdout)


def test_what_an_encoding_lacks_is_escaped_as_in_json():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=console._ENCODING_ERRORS)
    stream.write("× → 𝄞 \udcff")
    stream.flush()
    written = stream.buffer.getvalue().decode("ascii")
    assert written == r"\u00d7 \u2192 \ud834\udd1e \udcff" and json.loads(f'"{written}"') == "× → 𝄞 \udcff"


@pytest.mark.parametrize("flag", ["-W error", "-W error::DeprecationWarning"])
def test_warnings_as_errors_end_no_command(flag, environment):
    code = (
        "import warnings, bench.cli.console as c; c.prepare(); "
        "warnings.warn('seen'); warnings.warn('x', DeprecationWarning)"
    )
    done = shell(f'{sys.executable} {flag} -c "{code}"', environment)
    assert done.returncode == 0 and done.stderr == b"warning: seen\n"
    assert shell(f'{sys.executable} -c "{code}"', environment, PYTHONWARNINGS="error").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("way", ["2>&-", "PYTHONWARNINGS=error"])
def test_a_run_comes_to_its_end_all_the_same(way, environment, cache):
    before, after = ("", way) if way.startswith("2") else (way, "")
    run = f"{sys.executable} -m bench run --model random-shapes --limit 30 --num-seeds 1 --json --results r"
    done = shell(f"{before} {run} {after}", environment, BENCH_CACHE=str(cache))
    assert done.returncode == 0 and json.loads(done.stdout)["dataset"]["images"] == 30


def test_completion_answers_a_shell_that_asks_oddly_with_2(environment):
    odd = {"_BENCH_COMPLETE": "bash_complete", "COMP_WORDS": "bench r", "COMP_CWORD": "x"}
    assert shell(f"{sys.executable} -m bench", environment, **odd).returncode == 2
    assert shell(f"{sys.executable} -m bench", environment, _BENCH_COMPLETE="nonsense").returncode == 2


def test_a_name_from_the_command_line_is_shown_with_escapes():
    said(bench("show", HOSTILE), 3, r"'a\x1b[2Jb\n::error::c\x9bd\u202ee\u2066\ud800\r\x07' is no path")
    said(bench("show", HOSTILE.replace("\ud800", "\udcff")), 2, r"unknown model, data set or protocol 'a\x1b[2Jb\n::")
    said(bench("run", f"--{HOSTILE}"), 2, r"--a\x1b[2Jb")
    said(bench(HOSTILE), 2, r"a\x1b[2Jb")
    said(bench("run", "--device", HOSTILE, "--dry-run", "--model", "random-shapes"), 2, r"unknown device 'a\x1b[2Jb\n")


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize(
    "rows",
    [
        [("ID", "WHAT IT IS", "MORE"), ("first-of-all", "some words " * 9, "and others " * 7), ("b", "12.34", "")],
        [tuple(f"COLUMN-{i}" for i in range(9)), tuple(f"a-long-identifier-{i}" for i in range(9)), ("–",) * 9],
        [("KEY", "VALUE"), ("x", "one-word-of-forty-signs-or-less-it-stays")],
    ],
)
def test_a_table_is_broken_between_words_and_columns_alone(rows, width):
    lines = list(folded(rows, width))
    words = sorted(word for row in rows for cell in row for word in cell.split())
    assert sorted(word for line in lines for word in line.split()) == words
    longest = max(map(len, words))
    assert all(len(line) <= max(width, longest + 4) for line in lines) and not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_message_is_broken_between_words_at_a_terminal_only(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "30")
    console.echo("  give its folder with --data-root, or in bench.toml", err=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines == (
        ["  give its folder with", "    --data-root, or in", "    bench.toml"]
        if terminal
        else ["  give its folder with --data-root, or in bench.toml"]
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_the_last_column_of_a_table_is_broken_at_a_terminal_only(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "60")
    echo_table([("one", "a word " * 12), ("three", "  short")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (3 if terminal else 2) and lines[-1] == "three    short"
    assert all(len(line) <= 60 for line in lines) == terminal
    assert " ".join(" ".join(lines[:-1]).split()) == "one " + " ".join(["a word"] * 12)
