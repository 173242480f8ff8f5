"""The short version of the kill test; `python -m tests.kill` is the long one."""

import signal

import pytest

from tests.kill.commands import commands
from tests.kill.trial import trials

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the commands are forked, which needs a POSIX system")
@pytest.mark.parametrize(("name", "points", "losses"), [("observe", 5, 3), ("report", 5, 3), ("download", 5, 0)])
def test_a_command_that_is_killed_or_damaged_comes_to_the_same_or_fails(tmp_path, name, points, losses):
    found, wrong = trials(tmp_path.resolve(), points, losses, seed=1, names=(name,))
    assert not wrong, "\n\n".join(wrong)
    assert sum(found.values()) == points + losses
    assert sum(count for (*_, outcome), count in found.items() if outcome == "the same") >= points - 1


def test_every_command_has_a_name_of_its_own():
    names = [command.name for command in commands()]
    assert names == ["observe", "linear", "pre-training", "report", "download", "export"]
