"""Settings: flag before environment before bench.toml, one entry said once."""

from pathlib import Path

import pytest

from bench.cli.settings import data_root_of
from tests.terminal import bench, said


@pytest.fixture(autouse=True)
def configured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bench.toml").write_text('[data_roots]\npascal-voc = "/of-the-file"\n')


@pytest.mark.parametrize(
    "given, root",
    [
        ((), "/of-the-file"),
        (("/bare",), "/bare"),
        (("pascal-voc=/named",), "/named"),
        (("/bare", "pascal-voc=/named"), "/named"),
        (("davis=/other",), "/of-the-file"),
    ],
)
def test_a_data_root_given_goes_before_one_of_the_file(given, root):
    assert data_root_of("pascal-voc", given) == Path(root)


@pytest.mark.parametrize(
    "words", [("run", "--dry-run"), ("score", "."), ("priors", "--method", "boundary", "--out", "p"), ("show",)]
)
@pytest.mark.parametrize("source", ["flag", "variable"])
def test_every_command_looks_where_it_is_told_to(words, source, monkeypatch):
    dataset = ("pascal-voc",) if words[0] in ("priors", "show") else ("--dataset", "pascal-voc")
    if source == "variable":
        monkeypatch.setenv("BENCH_DATA_ROOT", "told here")
    flag = ("--data-root", "told here") if source == "flag" else ()
    said(bench(words[0], *dataset, *words[1:], *flag), 3, "no data root at told here")
