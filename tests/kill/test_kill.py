"""The short version of the kill test; `python -m tests.kill` is the long one."""

import signal

import pytest

from tests.kill.commands import commands
from tests.kill.trial import trials

POINTS, LOSSES = 9, 4
NAMES = ("observe", "report", "download")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the commands are forked, which needs a POSIX system")
def test_a_command_that_is_killed_or_damaged_comes_to_the_same_or_fails(tmp_path):
    found, wrong = trials(tmp_path.resolve(), POINTS, LOSSES, seed=1, names=NAMES)
    assert not wrong, "\n\n".join(wrong)
    assert sum(found.values()) == POINTS + LOSSES
    assert sum(count for (*_, outcome), count in found.items() if outcome == "the same") >= POINTS


def test_every_command_has_a_name_of_its_own():
    names = [command.name for command in commands()]
    assert names == ["observe", "linear", "pre-training", "report", "download", "export"]
