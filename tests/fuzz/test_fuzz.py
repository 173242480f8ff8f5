"""Every kind of input, a few hundred of each; and that the faults that this looks for are seen.

`python -m tests.fuzz` does the same with thousands, and says how to look at a single one.
"""

import os

import pytest

from tests.fuzz.kinds import KINDS
from tests.fuzz.runner import fuzz

pytestmark = pytest.mark.slow

SEED = 1
INPUTS = int(os.environ.get("FUZZ_INPUTS", "300"))
"""Of each kind. Those of caches are whole runs, so that a third must do."""
FEWER = {"caches": 3}


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_that_nobody_expects_are_read_rightly_or_refused_clearly(kind):
    inputs = INPUTS // FEWER.get(kind, 1)
    tally = fuzz(kind, inputs, SEED)
    assert not tally.failures, "\n".join(tally.lines())
    assert sum(tally.codes.values()) == inputs
    assert tally.codes["0"], "not even the sound input was read"


PLANTED = {
    "Raises": "exit 70",
    "Hangs": "no end after",
    "Dies": "the process ended with -6",
    "TakesMemory": "took 2.",
    "IsOutOfMemory": "out of memory",
    "WritesOutside": "home/.bashrc",
    "ChangesInput": "place/input",
    "LeavesTemporaryFiles": "temporary/x.tmp",
    "PrintsEscapes": "control character",
    "PrintsCommands": "a command to GitHub",
    "EndsInSilence": "without a word",
    "GivesAnotherCode": "exit 130",
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_seen_and_the_inputs_after_it_are_read(fault):
    tally = fuzz(f"planted.{fault}", 3, SEED, seconds=2 if fault == "Hangs" else 60)
    assert sorted(tally.failures) == [1, 2]
    assert all(PLANTED[fault] in what for what in tally.failures.values()), tally.lines()


def test_an_input_is_the_same_again_by_its_seed_and_number(tmp_path):
    for name in ("one", "other"):
        fuzz("planted.Raises", 3, SEED, keep=tmp_path / name)
    fuzz("planted.Raises", 1, SEED, first=2, keep=tmp_path / "alone")
    kept = sorted(tmp_path.glob(f"*/planted.Raises-{SEED}-2/input"))
    assert len(kept) == 3
    assert len({path.read_bytes() for path in kept}) == 1
