"""What the README says is what the program does."""

import re
import tomllib

import pytest

from bench.base.places import folder
from bench.cards.datasets import DatasetCard
from bench.cards.models import ModelCard
from bench.records.published import figures
from bench.records.record import read_all
from bench.report.formats import as_pwc
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_table_is_what_the_program_prints_for_the_shipped_records():
    stored, problems = read_all(folder("results"))
    assert not problems
    for line in as_pwc(figures(), stored, folder("results")).splitlines()[:10]:
        assert line in README


@pytest.mark.parametrize(("kind", "name"), [(ModelCard, "my-model"), (DatasetCard, "my-data")])
def test_its_example_cards_are_whole(kind, name):
    (text,) = [block for block in re.findall(r"```toml\n(.*?)```", README, re.S) if f'id = "{name}"' in block]
    entries = tomllib.loads(text)
    assert kind.model_validate(entries).id == name


def test_the_layout_names_every_module():
    layout = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in (ROOT / "bench").glob("*.py"):
        if not path.name.startswith("_") and path.name not in ("errors.py", "files.py", "shapes_patterns.py"):
            assert path.name in layout, path.name
    for path in (ROOT / "bench").glob("*/__init__.py"):
        assert f"{path.parent.name}/" in layout, path.parent.name
