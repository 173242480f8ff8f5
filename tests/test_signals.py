"""Signals end a command in order: one line, 128 + the signal's number, and nothing half-written."""

import os
import signal
import subprocess
import sys

import pytest

from bench.cli import main, signals
from tests.conftest import ROOT

KINDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _handlers():
    """Those of the test run come back: after a signal a command keeps its own."""
    before = {kind: signal.getsignal(kind) for kind in KINDS}
    for kind in KINDS:
        signal.signal(kind, signal.default_int_handler if kind is signal.SIGINT else signal.SIG_DFL)
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_that_is_stopped_says_so_and_returns_the_usual_code(kind, monkeypatch, capfd):
    monkeypatch.setattr("bench.cards.catalogue.recipes", lambda: os.kill(os.getpid(), kind))
    with pytest.raises(SystemExit) as left:
        main(["list", "recipes"])
    assert left.value.code == 128 + kind
    err = capfd.readouterr().err.strip().splitlines()
    assert err == ["interrupted; finished work is kept, and the same command continues from there"]


def test_after_a_command_the_handlers_are_those_of_before_and_what_is_ignored_stays_ignored(capfd):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals.handled():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_a_second_signal_ends_the_process_at_once():
    code = (
        "import os, signal\nfrom bench.cli.signals import handled\n"
        "with handled():\n    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally:\n        os.kill(os.getpid(), signal.SIGINT)\n        print('wound up')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == signals._AT_ONCE.decode()
